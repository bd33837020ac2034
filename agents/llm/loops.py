"""Things of an event loop: connections and locks of one loop do not work in another."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, also where a loop is running already, as in a notebook: then in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
