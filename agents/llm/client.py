"""Send one request to the teacher's model: how it is asked for items, when it is sent again, what it may not hold.

Servers refuse parameters that others demand. What a refusal names is left out from then on, and a model that takes
no tools is asked for JSON by a schema, or in words.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import re
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.bodies import Received, received
from dataenvgym.agents.llm.chat_models import (
    build_chat_model,
    explain,
    is_provider_error,
    speaks_openai,
    takes_seed,
)
from dataenvgym.agents.llm.loops import per_loop
from dataenvgym.agents.llm.throttle import TOO_MANY, throttle_of
from dataenvgym.agents.prompts import Prompt
from dataenvgym.envs.errors import DataEnvGymError, TeacherError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

TOOLS, SCHEMA, TEXT = "tools", "json_schema", "text"
_STEPS = {TOOLS: SCHEMA, SCHEMA: TEXT}
# What clients raise on a reply of the wrong form: no choices, null choices, HTML with status 200.
_CONTENT_ERRORS = (ValueError, IndexError, KeyError, AttributeError, TypeError)
_SENT_AGAIN = {408, 409, TOO_MANY}  # and 5xx, as OpenAI's client does
_LONGEST_WAIT = 60.0  # seconds; a longer Retry-After is not honoured
_TOOLS_REFUSED = re.compile(r"\btools?\b|\bfunction[ _-]?call", re.IGNORECASE)
_SCHEMA_REFUSED = re.compile(r"response[ _]format|json[ _]?schema|structured output|guided", re.IGNORECASE)
CHARACTERS_PER_TOKEN = 4  # an estimate, where nothing was counted


class Reply(NamedTuple):
    """What a request brought. `message` is None, and `fault` says why, where no message can be read.

    `tokens`: prompt and completion, `estimated` from their characters where the server counted none.
    """

    message: AIMessage | None
    fault: str
    refusal: str
    tokens: tuple[int, int] | None
    estimated: bool


class _PassingError(Exception):
    """A fault of the transport, and the seconds after which the request may be sent again."""

    def __init__(self, cause: Exception, wait: float) -> None:
        super().__init__(str(cause))
        self.cause, self.wait = cause, wait


class ModelClient:
    """The model of a config. It serves several event loops, each with connections of its own."""

    def __init__(self, config: TeacherModelConfig, seed: int, domain: str, left_out: Iterable[str] = ()) -> None:
        """`left_out`: what earlier requests have shown the model to refuse (see `left_out`)."""
        self.config, self.seed, self.domain = config, seed, domain
        self.left_out: list[str] = list(left_out)
        """Parameters that the model refuses; `tools` and `json_schema` are ways to ask for items."""
        self._models: dict[AbstractEventLoop, dict[tuple[str, ...], asyncio.Future[BaseChatModel]]] = {}

    @property
    def structured(self) -> str:
        """How items are asked for now: by tools, by a JSON schema or in words."""
        way = TOOLS if self.config.structured == "auto" else self.config.structured
        while way in self.left_out:
            way = _STEPS[way]
        return SCHEMA if way == SCHEMA and speaks_openai(self.config) else TEXT if way == SCHEMA else way

    async def send(self, prompt: Prompt, tool: dict[str, Any], draw: int, begin: Callable[[], None]) -> Reply:
        """Send the prompt until it is answered; after a passing fault again, at most `transport_retries` times.

        Args:
            draw: the seed of this draw.
            begin: is called before each request; what it raises ends the call.

        Raises:
            TeacherError: the server refused or stayed out of reach; the text says how to fix it.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        throttle, length = throttle_of(self.config), _estimate(prompt.system + prompt.text)
        again = AsyncRetrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(self.config.transport_retries + 1),
            wait=lambda state: state.outcome.exception().wait,  # type: ignore[union-attr]
            reraise=True,
        )
        async with throttle.place():
            try:
                reply: Reply = await again(self._send, prompt, tool, draw, begin, length)
            except _PassingError as error:
                requests = again.statistics["attempt_number"]
                raise TeacherError(explain(error.cause, self.config, requests)) from None  # may show the key
            throttle.answered()
            await throttle.settle(sum(reply.tokens or ()), length)
        return reply

    async def _send(
        self, prompt: Prompt, tool: dict[str, Any], draw: int, begin: Callable[[], None], length: int
    ) -> Reply:
        """One request, and another where that one was refused for what it holds.

        Raises:
            _PassingError: a fault that may be over in a while.
        """
        throttle = throttle_of(self.config)
        while True:
            begin()
            into = Received()
            received.set(into)
            sent_at = await throttle.admit(length)
            try:
                async with asyncio.timeout(self.config.timeout):
                    message = await self._invoke(prompt, tool, draw)
                return _reply(message, into, prompt)
            except DataEnvGymError:
                raise
            except Exception as error:
                if getattr(error, "status_code", None) == TOO_MANY:
                    throttle.refused(sent_at)
                if self._learns(error):
                    continue
                wait = _wait(error)
                if wait is not None:
                    raise _PassingError(error, wait) from None
                if is_provider_error(error) or not isinstance(error, _CONTENT_ERRORS):
                    raise TeacherError(explain(error, self.config, 1)) from None  # its cause may show the key
                fault = into.fault or f"unreadable reply: {type(error).__name__}: {str(error)[:300]}"
                return Reply(None, fault, into.refusal, *_tokens(into, None, prompt))

    async def ready(self) -> None:
        """Build the client; see `build_chat_model` for what is raised. Makes no request."""
        await self._model()

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        for built in self._models.pop(asyncio.get_running_loop(), {}).values():
            client = getattr(await built, "http_async_client", None)
            if client is not None:
                await client.aclose()

    async def _invoke(self, prompt: Prompt, tool: dict[str, Any], draw: int) -> AIMessage:
        from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

        model, way = await self._model(), self.structured
        extra: dict[str, Any] = {}
        if takes_seed(self.config) and "seed" not in self.left_out:
            extra["seed"] = draw
        text = prompt.text if way == TOOLS else f"{prompt.text}\n\n{_in_words(tool)}"
        messages: list[BaseMessage] = [SystemMessage(prompt.system)] if prompt.system else []
        messages.append(HumanMessage(text))
        if way == TOOLS:
            if "tool_choice" not in self.left_out:
                extra["tool_choice"] = tool["function"]["name"]
            return await model.bind_tools([tool], **extra).ainvoke(messages)
        if way == SCHEMA:
            schema = {"name": tool["function"]["name"], "schema": tool["function"]["parameters"]}
            extra["response_format"] = {"type": "json_schema", "json_schema": schema}
        message: AIMessage = await (model.bind(**extra) if extra else model).ainvoke(messages)
        return message

    def _learns(self, error: Exception) -> bool:
        """Note what a refused request may not hold; whether that leaves something to try."""
        if not speaks_openai(self.config):
            return False
        refused = self._refused(error)
        if refused is None or refused in self.left_out:
            return False
        self.left_out.append(refused)
        return True

    def _refused(self, error: Exception) -> str | None:
        """What a refusal names of the request: a parameter, or the way in which items are asked for."""
        status = getattr(error, "status_code", None)
        if status is None or not (status in (400, 404, 415, 422) or status >= 500):
            return None
        said = str(getattr(error, "message", "") or error)
        way, auto = self.structured, self.config.structured == "auto"
        if status in (400, 415, 422):
            sent = [name for name in self._sent() if name not in self.left_out]
            named = getattr(error, "param", None)
            mentioned = [
                name for name in sent if re.search(rf"\b{name.replace('_', '[ _]')}\b", said, re.IGNORECASE)
            ]
            found = named if named in sent else mentioned[0] if mentioned else None
            if found is not None:
                return str(found)
        if way == TOOLS and auto and _TOOLS_REFUSED.search(said):
            return TOOLS
        if way == SCHEMA and auto and status < 500 and _SCHEMA_REFUSED.search(said):
            return SCHEMA
        return None

    def _sent(self) -> list[str]:
        """The names of the parameters that requests hold and can do without, as servers call them."""
        names = ["tool_choice"] if self.structured == TOOLS else []
        names += ["temperature"] if self.config.temperature is not None else []
        names += ["seed"] if takes_seed(self.config) else []
        names += ["max_completion_tokens"]
        names += ["max_tokens"] if "max_completion_tokens" in self.left_out else []
        return [*names, *self.config.options]

    async def _model(self) -> BaseChatModel:
        """The model without what it refuses, built once for an event loop."""
        built, key = per_loop(self._models, dict), tuple(self.left_out)
        if key not in built:
            building = asyncio.to_thread(build_chat_model, self.config, self.seed, self.domain, key)
            built[key] = asyncio.ensure_future(building)
        try:
            return await asyncio.shield(built[key])  # shared: a cancelled caller must not take it from the others
        except DataEnvGymError:
            built.pop(key, None)  # the user may set the key and ask again
            raise


def _reply(message: AIMessage, into: Received, prompt: Prompt) -> Reply:
    if into.calls:
        message.additional_kwargs["tool_calls"] = into.calls  # their arguments untouched by LangChain
    return Reply(message, into.fault, into.refusal, *_tokens(into, message, prompt))


def _tokens(into: Received, message: AIMessage | None, prompt: Prompt) -> tuple[tuple[int, int] | None, bool]:
    """(prompt, completion) tokens of a reply, and whether they are an estimate."""
    if into.usage is not None:
        return into.usage, False
    reported = message.usage_metadata if message is not None else None
    if reported and min(reported["input_tokens"], reported["output_tokens"]) >= 0:
        return (reported["input_tokens"], reported["output_tokens"]), False
    if message is None:
        return (_estimate(prompt.system + prompt.text), 0), True
    parsed = [json.dumps(call["args"], default=str) for call in message.tool_calls]
    calls = "".join([call["function"]["arguments"] for call in into.calls] or parsed)
    return (_estimate(prompt.system + prompt.text), _estimate(message.text + calls)), True


def _estimate(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _in_words(tool: dict[str, Any]) -> str:
    """What a tool's schema says, for a model that takes no tools."""
    schema = json.dumps(tool["function"]["parameters"])
    return f"Answer with JSON alone, with no word around it. It fits this JSON schema:\n{schema}"


def _wait(error: Exception) -> float | None:
    """Seconds until a request may be sent again; None for a fault that does not pass."""
    import openai

    status = getattr(error, "status_code", None)
    lost = isinstance(error, openai.APIConnectionError | TimeoutError | OSError)
    if status is None and not lost:
        return None
    if status is not None and status not in _SENT_AGAIN and status < 500:
        return None
    headers = getattr(getattr(error, "response", None), "headers", {})
    if str(headers.get("x-should-retry", "")).lower() == "false":
        return None
    asked = _retry_after(headers)
    if asked is not None and asked <= _LONGEST_WAIT:
        return asked
    return random.uniform(0.5, 2.0)


def _retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait, by `retry-after-ms` or `retry-after` (seconds or a date)."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / scale)
        except ValueError:
            date = email.utils.parsedate_tz(value)
            if date is not None:
                return max(0.0, email.utils.mktime_tz(date) - time.time())
    return None
