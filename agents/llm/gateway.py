"""The gateway makes every call to a chat model: it requests items through a tool, keeps the valid ones and
records the failures.

One retry layer per cause: the client retries the transport, tenacity retries a reply without any valid item.
"""

import asyncio
import hashlib
import time
from asyncio import AbstractEventLoop
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.chat_models import (
    SCRIPTED,
    build_chat_model,
    explain,
    has_hooks,
    is_provider_error,
    provider_of,
    takes_seed,
)
from dataenvgym.agents.llm.ledger import CallRecord, Ledger
from dataenvgym.agents.llm.loops import per_loop
from dataenvgym.agents.llm.response_cache import CachedReply, ResponseCache, cache_key
from dataenvgym.agents.llm.salvage import ItemFailure, failure, raw_items
from dataenvgym.agents.llm.spending import UNCAPPED, Caps, Spending, cost, price_of
from dataenvgym.agents.llm.throttle import TOO_MANY, call_bound, throttle_of
from dataenvgym.agents.prompts import Prompt
from dataenvgym.envs.errors import BudgetReachedError, DataEnvGymError, TeacherError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

M = TypeVar("M", bound=BaseModel)

# What clients raise on a reply of the wrong form: no choices, null choices, HTML with status 200.
_CONTENT_ERRORS = (ValueError, IndexError, KeyError, AttributeError, TypeError)
_LONGEST_BACKOFF = 60.0  # seconds; the longest Retry-After that the OpenAI client honours
CHARACTERS_PER_TOKEN = 4  # an estimate, where nothing was counted yet


class Usage(NamedTuple):
    """Tokens of a call over all its attempts; null when the model reported none."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass
class _Tally:
    """Usage and failures of a call so far; the ledger gets them however the call ends."""

    failures: list[ItemFailure] = field(default_factory=list)
    attempts: int = 0
    salvaged: int = 0
    usage: Usage = field(default_factory=lambda: Usage())


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


class _ContentError(Exception):
    """A reply without any valid item; its failures are already recorded."""


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
        domain: str = "math",
    ) -> None:
        """Check the model's name and count the spending in the ledger. Makes no request.

        `domain`: of the task, for the scripted model.

        Raises:
            ConfigError, UnknownNameError: `config.model` names no known provider, or a cap cannot be kept.
        """
        self.spending = Spending(config, caps, ledger.records() if ledger else ())
        self.config, self.seed, self.domain = config, seed, domain
        self._provider = provider_of(config)
        self._cache = cache if config.cache else None
        self._ledger = ledger
        self._models: dict[AbstractEventLoop, asyncio.Future[BaseChatModel]] = {}

    async def items(
        self, prompt: Prompt, item: type[M], *, node: str, iteration: int = 0, sample: int = 0
    ) -> Items[M]:
        """Request a list of `item` through the tool `prompt.tool`.

        Args:
            prompt: the rendered prompt.
            item: the pydantic model of one item; each is validated alone.
            node: the graph node that asks, for the ledger.
            iteration: the iteration, for the ledger.
            sample: another index is another draw of the same prompt, with its own seed and cache entry.

        Returns:
            The valid items and the failures. After `content_attempts` replies without a valid item there are
            only failures.

        Raises:
            TeacherError: the server refused (e.g. 400, 401, 404) or stayed out of reach; the text says how to
                fix it.
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
            found = await self._cached(key, item)
            result = found or await self._ask(prompt, tool, item, sample, key, tally)
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
                    error=error,
                    cost=None if known.cached else cost(price_of(self.config), *known.usage),
                )
                await asyncio.to_thread(self._ledger.append, record)
        return result

    async def ready(self) -> None:
        """Build the client now, so that a missing package or key fails early. Makes no request.

        Raises:
            MissingDependencyError, ConfigError: see `build_chat_model`.
        """
        await self._model()

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        built = self._models.pop(asyncio.get_running_loop(), None)
        client = getattr(await built, "http_async_client", None) if built else None
        if client is not None:
            await client.aclose()

    def close(self) -> None:
        """Close the response cache."""
        if self._cache is not None:
            self._cache.close()

    def _key(self, prompt: Prompt, tool: dict[str, Any], sample: int) -> str:
        config = self.config
        scripted = config.scripted.model_dump() if self._provider == SCRIPTED else None
        return cache_key(
            prompt=[prompt.system, prompt.text],
            tool=tool,
            model=config.model,
            base_url=config.base_url,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            seed=self.seed,
            sample=sample,
            scripted=scripted,
        )

    async def _cached(self, key: str, item: type[M]) -> Items[M] | None:
        found = await asyncio.to_thread(self._cache.get, key) if self._cache else None
        if found is None:
            return None
        valid, failures = _validate(found.values, item)
        if failures:  # the item's validators changed, its schema did not
            return None
        return Items(valid, [], 0, True, Usage(found.prompt_tokens, found.completion_tokens))

    async def _ask(
        self, prompt: Prompt, tool: dict[str, Any], item: type[M], sample: int, key: str, tally: _Tally
    ) -> Items[M]:
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_ContentError),
            stop=stop_after_attempt(self.config.content_attempts),
            reraise=True,
        )
        valid: list[M] = []
        try:
            async for attempt in retrying:
                with attempt:
                    valid = await self._attempt(prompt, tool, item, sample, key, tally)
        except _ContentError:
            pass
        except BudgetReachedError:
            if not tally.attempts:
                raise
        return Items(valid, tally.failures, tally.attempts, False, tally.usage)

    async def _attempt(
        self, prompt: Prompt, tool: dict[str, Any], item: type[M], sample: int, key: str, tally: _Tally
    ) -> list[M]:
        """Get one reply and note its faults in `tally`; raise a content error without a valid item."""
        message = await self._invoke(prompt, tool, sample, tally)
        spent = _usage(message)
        self.spending.add(*spent)
        tally.usage = Usage(*map(_add, tally.usage, spent))
        values, faults = raw_items(message)
        valid, invalid = _validate(values, item)
        tally.failures += faults + invalid
        if not valid:
            if not faults and not invalid:
                tally.failures.append(failure("", "an empty reply: no item, no text"))
            raise _ContentError
        if faults or invalid:
            tally.salvaged = len(valid)
        if self._cache and not faults and not invalid:
            await asyncio.to_thread(self._cache.put, key, CachedReply(values, *spent))
        return valid

    async def _invoke(self, prompt: Prompt, tool: dict[str, Any], sample: int, tally: _Tally) -> "AIMessage":
        from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

        config = self.config
        model = await self._model()
        messages: list[BaseMessage] = [SystemMessage(prompt.system)] if prompt.system else []
        messages.append(HumanMessage(prompt.text))
        # The client's timeout is per read; a server that trickles bytes needs a bound on the whole as well.
        retries = config.transport_retries
        whole = config.timeout * (retries + 1) + _LONGEST_BACKOFF * retries
        throttle, sent_at = throttle_of(config), None
        try:
            async with throttle.place():
                self.spending.begin()
                tally.attempts += 1
                # A retry needs another seed, or a deterministic server repeats its fault.
                extra = {"seed": _draw(self.seed, sample, tally.attempts)} if takes_seed(config) else {}
                bound = model.bind_tools([tool], tool_choice=prompt.tool, **extra)
                async with asyncio.timeout(whole) as limit:
                    call_bound(limit, len(prompt.system + prompt.text) // CHARACTERS_PER_TOKEN)
                    sent_at = None if has_hooks(config) else await throttle.admit()
                    message: AIMessage = await bound.ainvoke(messages)
                throttle.answered()
                await throttle.settle(sum(filter(None, _usage(message))))
                return message
        except DataEnvGymError:
            raise
        except Exception as error:
            if sent_at is not None and getattr(error, "status_code", None) == TOO_MANY:
                throttle.refused(sent_at)
            if is_provider_error(error) or not isinstance(error, _CONTENT_ERRORS):
                raise TeacherError(explain(error, config)) from None  # its cause may show the key
            reason = f"unreadable reply: {type(error).__name__}: {str(error)[:300]}"
            tally.failures.append(failure("", reason))
            raise _ContentError from error

    async def _model(self) -> "BaseChatModel":
        throttle = throttle_of(self.config)
        built = per_loop(
            self._models,
            lambda: asyncio.ensure_future(
                asyncio.to_thread(build_chat_model, self.config, self.seed, throttle, self.domain)
            ),
        )
        try:
            return await asyncio.shield(built)  # shared: one cancelled caller must not take it from the others
        except DataEnvGymError:
            self._models.pop(asyncio.get_running_loop(), None)  # the user may set the key and ask again
            raise


@lru_cache(maxsize=64)
def tool_schema(name: str, item: type[BaseModel]) -> dict[str, Any]:
    """Build the OpenAI schema of a tool `name` that takes `items`, a list of `item`, with references resolved."""
    from langchain_core.utils.json_schema import dereference_refs

    schema = item.model_json_schema()
    parameters = dereference_refs(
        {
            "type": "object",
            "properties": {"items": {"type": "array", "items": schema}},
            "required": ["items"],
            "$defs": schema.pop("$defs", {}),
        }
    )
    del parameters["$defs"]
    description = "Hand in the answer: every item in one list."
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def _validate(values: list[Any], item: type[M]) -> tuple[list[M], list[ItemFailure]]:
    valid: list[M] = []
    failures: list[ItemFailure] = []
    for value in values:
        try:
            valid.append(item.model_validate(value))
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc'])) or 'item'}: {e['msg']}" for e in error.errors()[:3]]
            failures.append(failure(value, "; ".join(faults)))
    return valid, failures


def _usage(message: "AIMessage") -> Usage:
    reported = message.usage_metadata
    return Usage(reported["input_tokens"], reported["output_tokens"]) if reported else Usage()


def _add(a: int | None, b: int | None) -> int | None:
    return b if a is None else a + (b or 0)


def _draw(seed: int, sample: int, attempt: int) -> int:
    """Derive a separate seed below 2**31 for each sample and attempt."""
    digest = hashlib.sha256(f"{seed}:{sample}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
