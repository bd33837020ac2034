"""The gateway makes every call to a chat model: it requests items, keeps the valid ones and records the failures.

One retry layer per cause: `client` sends a request again after a fault of the transport; here a prompt is asked
again after a reply without any valid item. Each request is counted before it is sent.
"""

import asyncio
import hashlib
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.chat_models import SCRIPTED, longest_reply, provider_of
from dataenvgym.agents.llm.client import ModelClient, Reply
from dataenvgym.agents.llm.items import restored, shape_of, tool_schema, validated
from dataenvgym.agents.llm.ledger import CallRecord, Ledger
from dataenvgym.agents.llm.loops import per_loop
from dataenvgym.agents.llm.reply import ItemFailure, failure, raw_items
from dataenvgym.agents.llm.response_cache import CachedReply, ResponseCache, cache_key
from dataenvgym.agents.llm.spending import UNCAPPED, Caps, Spending, cost, price_of
from dataenvgym.agents.prompts import Prompt
from dataenvgym.envs.errors import BudgetReachedError, DataEnvGymError, FruitlessError
from dataenvgym.envs.text import clean

M = TypeVar("M", bound=BaseModel)

_REASONS = 3  # of a call's failures that its record keeps
_FRUITLESS = 4
"""So many first calls, all without a valid item for one reason, show that the next will have none either (for
several reasons, three times as many). Until one has given an item, no more are sent at the same time."""


class Usage(NamedTuple):
    """Tokens of a call over all its attempts; null when no reply came."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass
class _Tally:
    """Usage and failures of a call so far; the ledger gets them however the call ends."""

    failures: list[ItemFailure] = field(default_factory=list)
    attempts: int = 0
    salvaged: int = 0
    repaired: int = 0
    usage: Usage = field(default_factory=lambda: Usage())
    estimated: bool = False


@dataclass
class _Yield:
    """How the first calls of a node in one iteration went."""

    failed: int = 0
    fruitful: bool = False
    reasons: set[str] = field(default_factory=set)
    sample: str = ""
    stopped: str = ""


class Items(NamedTuple, Generic[M]):
    """The result of a call. Without a valid item and with failures it records a failed call.

    `failures` are those of all attempts. `attempts` is 0 and `cached` true for a reply from the cache, whose
    `usage` is what it cost when it was made.
    """

    valid: list[M]
    failures: list[ItemFailure]
    attempts: int
    cached: bool
    usage: Usage


class Gateway:
    """Calls the chat model of `config`. One gateway may serve a whole process and several event loops."""

    def __init__(
        self,
        config: TeacherModelConfig,
        *,
        seed: int,
        cache: ResponseCache | None,
        ledger: Ledger | None,
        caps: Caps = UNCAPPED,
        spending: Spending | None = None,
        domain: str = "math",
    ) -> None:
        """Check the model's name and count the spending in the ledger. Makes no request.

        Args:
            caps: of this model alone.
            spending: what several models share, in place of `caps`.
            domain: of the task, for the scripted model.

        Raises:
            ConfigError, UnknownNameError: `config.model` names no known provider, or a cap cannot be kept.
        """
        records = list(ledger.records()) if ledger else []
        self.spending = spending or Spending([config], caps, records)
        self.config, self.seed = config, seed
        self._provider = provider_of(config)
        same = [record for record in records if record.model == config.model]
        self._client = ModelClient(config, seed, domain, same[-1].left_out if same else ())
        self._cache = cache if config.cache else None
        self._ledger = ledger
        self._yields: dict[tuple[str, int], _Yield] = {}
        self._turns: dict[AbstractEventLoop, asyncio.Condition] = {}
        self._inside = 0
        self._said = len(self.left_out)
        self._fruitful = False

    def news(self) -> list[str]:
        """What the requests have shown of the model since this was asked last, to be said once."""
        fresh, self._said = self.left_out[self._said :], len(self.left_out)
        ways = {"tools": "no tools", "json_schema": "no JSON schema"}
        return [
            f"{self.config.model} takes {ways.get(name, f'no {name}')}: left out from now on" for name in fresh
        ]

    @property
    def left_out(self) -> list[str]:
        """Parameters that the model has refused and that requests leave out since."""
        return list(self._client.left_out)

    async def items(
        self,
        prompt: Prompt,
        item: type[M],
        *,
        node: str,
        iteration: int = 0,
        sample: int = 0,
        useless: Callable[[list[M]], str | None] | None = None,
    ) -> Items[M]:
        """Request a list of `item` through the tool `prompt.tool`.

        Args:
            prompt: the rendered prompt.
            item: the pydantic model of one item; each is validated alone.
            node: the graph node that asks, for the ledger.
            iteration: the iteration, for the ledger.
            sample: another index is another draw of the same prompt, with its own seed and cache entry.
            useless: why valid items are of no use together, or None; such a reply is a failed attempt.

        Returns:
            The valid items and the failures. After `content_attempts` replies without a valid item there are
            only failures.

        Raises:
            TeacherError: the server refused (e.g. 400, 401, 404) or stayed out of reach; the text says how to fix
                it.
            FruitlessError: none of the node's first calls gave a valid item.
            MissingDependencyError: the provider's package or key is absent.
            BudgetReachedError: a cap is used up; replies from the cache are still returned.
        """
        started = time.monotonic()
        tool = tool_schema(prompt.tool, item)
        tally = _Tally()
        result: Items[M] | None = None
        error: str | None = None
        try:
            key = self._key(prompt, tool, sample)
            found = await self._cached(key, item, useless)
            if found is None:
                seen = self._yields.setdefault((node, iteration), _Yield())
                async with self._turn(seen):
                    if seen.stopped:
                        raise FruitlessError(seen.stopped)
                    result = await self._ask(prompt, tool, item, sample, key, tally, useless)
                    self._judge(node, seen, result)
            else:
                result = found
                if not self._fruitful:  # it has given something before
                    self._fruitful = True
                    async with (turn := per_loop(self._turns, asyncio.Condition)):
                        turn.notify_all()
        except DataEnvGymError as problem:
            error = str(problem)
            raise
        except asyncio.CancelledError:
            error = "cancelled"
            raise
        finally:
            if self._ledger is not None:
                known = result or Items([], tally.failures, tally.attempts, False, tally.usage)
                record = CallRecord(
                    node=node,
                    iteration=iteration,
                    model=self.config.model,
                    prompt=prompt.name,
                    prompt_hash=prompt.hash,
                    sample=sample,
                    attempts=known.attempts,
                    cached=known.cached,
                    ok=bool(known.valid),
                    prompt_tokens=known.usage.prompt_tokens,
                    completion_tokens=known.usage.completion_tokens,
                    seconds=round(time.monotonic() - started, 3),
                    valid=len(known.valid),
                    failed=len(known.failures),
                    salvaged=tally.salvaged,
                    repaired=tally.repaired,
                    estimated=tally.estimated,
                    left_out=self.left_out,
                    reasons=[one.reason for one in known.failures[:_REASONS]],
                    error=error,
                    cost=None if known.cached or tally.estimated else cost(price_of(self.config), *known.usage),
                )
                await asyncio.to_thread(self._ledger.append, record)
        return result

    async def ready(self) -> None:
        """Build the client now, so that a missing package or key fails early. Makes no request.

        Raises:
            MissingDependencyError, ConfigError: see `build_chat_model`.
        """
        await self._client.ready()

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        await self._client.aclose()

    def close(self) -> None:
        """Close the response cache."""
        if self._cache is not None:
            self._cache.close()

    def _key(self, prompt: Prompt, tool: dict[str, Any], sample: int) -> str:
        config = self.config
        scripted = config.scripted.model_dump() if self._provider == SCRIPTED else None
        further = {"options": config.options, "structured": config.structured}
        changed = {name: value for name, value in further.items() if value not in ({}, "auto")}
        return cache_key(
            prompt=[prompt.system, prompt.text],
            tool=tool,
            model=config.model,
            base_url=config.base_url,
            temperature=config.temperature,
            max_tokens=longest_reply(config),
            seed=self.seed,
            sample=sample,
            scripted=scripted,
            **changed,
        )

    async def _cached(
        self, key: str, item: type[M], useless: Callable[[list[M]], str | None] | None
    ) -> Items[M] | None:
        found = await asyncio.to_thread(self._cache.get, key) if self._cache else None
        if found is None:
            return None
        valid, failures = validated(found.values, item)
        if failures or (useless and useless(valid)):  # the validators have changed, the schema has not
            return None
        told = [ItemFailure(*one) for one in found.failures]
        return Items(valid, told, 0, True, Usage(found.prompt_tokens, found.completion_tokens))

    async def _ask(
        self,
        prompt: Prompt,
        tool: dict[str, Any],
        item: type[M],
        sample: int,
        key: str,
        tally: _Tally,
        useless: Callable[[list[M]], str | None] | None,
    ) -> Items[M]:
        """Ask until a reply has a valid item, at most `content_attempts` times."""
        from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt

        def begin() -> None:
            self.spending.begin()
            tally.attempts += 1

        number = 0

        async def attempt() -> list[M]:
            nonlocal number
            number += 1
            # Another attempt needs another seed, or a deterministic server repeats its fault.
            reply = await self._client.send(prompt, tool, _draw(self.seed, sample, number), begin)
            return await self._read(reply, item, key, tally, useless)

        again = AsyncRetrying(
            retry=retry_if_result(lambda valid: not valid),
            stop=stop_after_attempt(self.config.content_attempts),
            retry_error_callback=lambda state: [],
        )
        try:
            valid: list[M] = await again(attempt)
        except BudgetReachedError as reached:
            if not tally.attempts:
                raise
            valid = []
            tally.failures.append(failure("", f"{reached} before a reply with a valid item came"))
        return Items(valid, tally.failures, tally.attempts, False, tally.usage)

    async def _read(
        self,
        reply: Reply,
        item: type[M],
        key: str,
        tally: _Tally,
        useless: Callable[[list[M]], str | None] | None,
    ) -> list[M]:
        """The valid items of a reply; its faults are noted in `tally`."""
        if reply.tokens is not None:
            self.spending.add(self.config.model, *reply.tokens)
            tally.usage = Usage(*map(_add, tally.usage, reply.tokens))
            tally.estimated |= reply.estimated
        if reply.message is None:
            tally.failures.append(failure("", reply.refusal or reply.fault))
            return []
        values, faulty = raw_items(reply.message, shape_of(item))
        values, repaired, doubtful = restored(values, item)
        valid, invalid = validated(values, item)
        failures = [*faulty, *doubtful, *invalid]
        reason = useless(valid) if valid and useless else None
        if reason:
            failures.append(failure(values, reason))
            valid = []
        if not valid and (reply.refusal or not failures):
            said = clean(reply.message.text.strip())
            failures.append(failure(said, reply.refusal or "an empty reply: no item, no text"))
        tally.failures += failures
        tally.repaired += repaired
        if valid and failures:
            tally.salvaged = len(valid)
        if valid and self._cache:
            good = [one.model_dump(mode="json") for one in valid]
            prompt, completion = reply.tokens or (None, None)
            cached = CachedReply(good, prompt, completion, [list(one) for one in failures])
            await asyncio.to_thread(self._cache.put, key, cached)
        return valid

    @asynccontextmanager
    async def _turn(self, seen: _Yield) -> AsyncIterator[None]:
        """Hold back all but a node's first calls until one has given an item."""
        turn = per_loop(self._turns, asyncio.Condition)
        async with turn:
            await turn.wait_for(
                lambda: self._fruitful or not self._inside or self._inside + seen.failed < _FRUITLESS
            )
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            async with turn:
                turn.notify_all()

    def _judge(self, node: str, seen: _Yield, result: Items[M]) -> None:
        """Stop a node whose first calls have all failed for one reason.

        Raises:
            FruitlessError: they have; the text has the reason and a sample of the reply.
        """
        if result.valid:
            seen.fruitful = self._fruitful = True
        if seen.fruitful or not result.failures:
            return
        last = result.failures[-1]
        seen.failed += 1
        seen.reasons.add(last.reason)
        seen.sample = last.raw or seen.sample
        if seen.failed >= (_FRUITLESS if len(seen.reasons) == 1 else 3 * _FRUITLESS):
            seen.stopped = fruitless(self.config.model, node, seen.failed, last.reason, seen.sample)
            raise FruitlessError(seen.stopped)


def fruitless(model: str, node: str, calls: int, reason: str, sample: str) -> str:
    """Why a teacher that gives nothing is stopped."""
    shown = f" A reply begins: {clean(sample)[:300]!r}" if sample.strip() else ""
    return (
        f"{model!r} gave no valid item in the first {calls} calls of {node}: {reason}. All is kept; set another "
        f"model, another prompt or `teacher.llm.structured` and resume.{shown}"
    )


def _add(a: int | None, b: int | None) -> int | None:
    return b if a is None else a + (b or 0)


def _draw(seed: int, sample: int, attempt: int) -> int:
    """Derive a separate seed below 2**31 for each sample and attempt."""
    digest = hashlib.sha256(f"{seed}:{sample}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
