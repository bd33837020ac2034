"""The bodies of OpenAI-compatible servers: makes of what they send what OpenAI's would have sent.

LangChain refuses a whole reply for a detail, and its usage is lost with it. So the body is put in order before
LangChain reads it, and what is no reply is given a reason.
"""

from __future__ import annotations

import json
import math
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

_SAMPLE = 200  # characters of a body that is no reply


@dataclass
class Received:
    """What one request brought, beside the message.

    `usage`: (prompt, completion) tokens, None where the server gave none that can be true. `calls`: the tool calls
    with their untouched arguments. `fault`: why the body is no reply. `refusal`: why the model gave none.
    """

    usage: tuple[int, int] | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    fault: str = ""
    refusal: str = ""


received: ContextVar[Received | None] = ContextVar("received", default=None)
"""Set by the caller before a request; the client fills it."""


def tidy(content: bytes, content_type: str, into: Received) -> dict[str, Any]:
    """The body of a chat completion, in order; `into` gets its usage, its calls and its faults."""
    text = content.decode("utf-8-sig", errors="replace")
    try:
        body = json.loads(text)
    except RecursionError:
        return _no_reply("JSON that is nested too deep", into)
    except ValueError:
        return _no_reply(_not_json(text, content_type), into)
    if not isinstance(body, dict):
        return _no_reply(f"JSON that is no completion: {text[:_SAMPLE]}", into)
    into.usage = _usage(body.pop("usage", None))
    if into.usage is not None:
        prompt, completion = into.usage
        body["usage"] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": sum(into.usage)}
    if error := body.get("error"):
        said = error.get("message") if isinstance(error, dict) else error
        return _no_reply(f"an error with status 200: {str(said)[:_SAMPLE]}", into, body)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return _no_reply(f"no message in it: {text[:_SAMPLE]}", into, body)
    reason = choice.get("finish_reason")
    if refusal := message.get("refusal"):
        into.refusal = f"the model refuses: {str(refusal)[:_SAMPLE]}"
    elif reason == "content_filter":
        into.refusal = "the server's content filter kept the reply back"
    into.calls = _calls(message)
    tidied: dict[str, Any] = {"role": "assistant", "content": _text(message.get("content"))}
    if into.calls:
        # LangChain wants arguments to be an object and refuses the whole reply where they are not.
        tidied["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": "{}"}} for call in into.calls
        ]
    body["choices"] = [
        {"index": 0, "finish_reason": reason if isinstance(reason, str) else None, "message": tidied}
    ]
    return body


def _no_reply(fault: str, into: Received, body: dict[str, Any] | None = None) -> dict[str, Any]:
    into.fault = f"no reply: {fault}"
    kept = {key: body[key] for key in ("usage",) if body and key in body}
    return {**kept, "id": "", "object": "chat.completion", "created": 0, "model": "", "choices": []}


def _not_json(text: str, content_type: str) -> str:
    start = text.lstrip()[:_SAMPLE]
    if not start:
        return "an empty body"
    if "event-stream" in content_type or start.startswith(("data:", "event:")):
        return f"an event stream, though none was asked for: {start}"
    if "html" in content_type or start.lower().startswith(("<!doctype", "<html")):
        return f"a web page: {start}"
    return f"no JSON: {start}"


def _usage(reported: Any) -> tuple[int, int] | None:
    """(prompt, completion) tokens, where both are counts."""
    if not isinstance(reported, dict):
        return None
    prompt, completion = (_count(reported.get(key)) for key in ("prompt_tokens", "completion_tokens"))
    if prompt is None or completion is None or prompt + completion == 0:
        return None
    return prompt, completion


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return int(value) if value < 1e12 else None


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls in OpenAI's form, also where the arguments are an object (Ollama) or of the older form."""
    raw = message.get("tool_calls")
    found = [call for call in raw if isinstance(call, dict)] if isinstance(raw, list) else []
    if not found and isinstance(message.get("function_call"), dict):
        found = [{"function": message["function_call"]}]
    calls = []
    for number, call in enumerate(found):
        inner = call.get("function")
        function: dict[str, Any] = inner if isinstance(inner, dict) else call
        arguments = function.get("arguments", function.get("parameters"))
        text = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
        named = {"name": str(function.get("name") or "call"), "arguments": text}
        calls.append({"id": str(call.get("id") or f"call_{number}"), "type": "function", "function": named})
    return calls


def _text(content: Any) -> str | None:
    """The text of a content that is a string or a list of parts."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None
