"""Objects bound to one event loop, such as connections and locks; no other loop can use them."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def per_loop(table: dict[AbstractEventLoop, T], make: Callable[[], T]) -> T:
    """Return the running loop's entry of the table, made on first use; remove the entries of closed loops."""
    loop = asyncio.get_running_loop()
    if loop not in table:
        for other in list(table):
            if other.is_closed():
                table.pop(other, None)
        table[loop] = make()
    return table[loop]


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and return its result; where a loop is already running (a notebook), in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
