"""Things of an event loop: connections and locks of one loop do not work in another."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def per_loop(table: dict[AbstractEventLoop, T], make: Callable[[], T]) -> T:
    """The running loop's entry of the table, made at its first use; entries of closed loops go."""
    loop = asyncio.get_running_loop()
    if loop not in table:
        for other in list(table):
            if other.is_closed():
                table.pop(other, None)
        table[loop] = make()
    return table[loop]
