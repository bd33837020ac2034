"""Limits on the calls to one model, for the whole process: calls in flight, requests and tokens per minute."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.loops import per_loop

TOO_MANY = 429
MINUTE = 60.0  # seconds


class Throttle:
    """The limits of one model in one event loop.

    A call holds one of `max_concurrency` places while it runs. A 429 halves the number of places, once for all
    requests that were already sent, and each later reply restores a part of one place, as TCP does (additive
    increase, multiplicative decrease). So the throttle finds the capacity of a server that does not state it.
    Rates are leaky buckets (aiolimiter): one minute's amount at once, and the same amount per minute after.
    """

    def __init__(self, config: TeacherModelConfig) -> None:
        from aiolimiter import AsyncLimiter
        from anyio import CapacityLimiter

        self._most = config.max_concurrency
        self._room = float(self._most)
        self._places = CapacityLimiter(self._most)
        self._cut_at = float("-inf")
        requests, tokens = config.requests_per_minute, config.tokens_per_minute
        self._requests = AsyncLimiter(requests, MINUTE) if requests else None
        self._tokens = AsyncLimiter(tokens, MINUTE) if tokens else None

    @property
    def concurrency(self) -> int:
        """Calls allowed in flight now, 1 to `max_concurrency`."""
        return int(self._places.total_tokens)

    def place(self) -> AbstractAsyncContextManager[Any]:
        """Hold a place among the calls in flight until the context ends."""
        return self._places

    async def admit(self, prompt_tokens: int) -> float:
        """Wait until a request of that length may be sent; return that time by the event loop (seconds)."""
        async with self._requests or nullcontext():
            await self._charge(prompt_tokens)
        return asyncio.get_running_loop().time()

    async def settle(self, tokens: int, prompt_tokens: int) -> None:
        """Charge the tokens of a reply beyond its prompt's estimate; wait where that exceeds the rate."""
        await self._charge(tokens - prompt_tokens)

    def answered(self) -> None:
        """Raise the limit a little after a reply."""
        self._resize(min(self._most, self._room + 1 / self._room))

    def refused(self, sent_at: float) -> None:
        """Lower the limit after a 429 to a request sent at that time (see `admit`)."""
        if sent_at > self._cut_at:
            self._cut_at = asyncio.get_running_loop().time()
            self._resize(max(1.0, self._room / 2))

    def _resize(self, room: float) -> None:
        self._room = room
        self._places.total_tokens = int(room)

    async def _charge(self, tokens: int) -> None:
        """Take the tokens from the bucket, in parts that fit into it."""
        if self._tokens is None:
            return
        while tokens > 0:
            part = min(tokens, int(self._tokens.max_rate))
            await self._tokens.acquire(part)
            tokens -= part


_throttles: dict[AbstractEventLoop, dict[tuple[Any, ...], Throttle]] = {}


def throttle_of(config: TeacherModelConfig) -> Throttle:
    """Return the throttle that all gateways to that model share in the running event loop."""
    shared = per_loop(_throttles, dict)
    key = (
        config.model,
        config.base_url,
        config.max_concurrency,
        config.requests_per_minute,
        config.tokens_per_minute,
    )
    if key not in shared:
        shared[key] = Throttle(config)
    return shared[key]
