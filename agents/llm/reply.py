"""Read a chat model's message: the values meant as items, from its tool calls or its text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.agents.llm.salvage import ANY, Shape, items_of, salvage

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

_CUT = {"length", "max_tokens", "max_output_tokens", "incomplete", "model_length"}
_RAW_LIMIT = 2000


class ItemFailure(NamedTuple):
    """A part of a reply that is not a valid item: its text (shortened) and the reason."""

    raw: str
    reason: str


class RawItems(NamedTuple):
    """The content of a message before validation: the values meant as items, and the faults of its format."""

    values: list[Any]
    failures: list[ItemFailure]


def raw_items(message: AIMessage, shape: Shape = ANY) -> RawItems:
    """The values of a reply's tool calls, or of its text when those hold none.

    Arguments that are not strict JSON are read by `salvage`. Where only parsed arguments are left of a reply
    cut at the token limit, its last item is dropped: a client may have repaired it.
    """
    cut = _is_cut(message)
    values: list[Any] = []
    failures: list[ItemFailure] = []

    def take(found: RawItems) -> None:
        values.extend(found.values)
        failures.extend(found.failures)

    raw_calls = message.additional_kwargs.get("tool_calls") or []
    if raw_calls:  # the untouched strings, where the client keeps them
        for call in raw_calls:
            take(_from_arguments((call.get("function") or call).get("arguments"), cut, shape))
    else:
        for parsed in message.tool_calls:
            take(_from_value(parsed["args"], cut, shape))
        for invalid in message.invalid_tool_calls:
            take(_from_arguments(invalid["args"], cut, shape))
    if message.text.strip() and not any(map(shape.fits, values)):
        said = _from_text(message.text, cut, shape)
        if said.values or not (values or failures):
            values, failures = said.values, said.failures
    if cut and not failures:
        failures.append(ItemFailure("", "the reply was cut at the token limit"))
    return RawItems(values, failures)


def failure(raw: Any, reason: str) -> ItemFailure:
    """Make an `ItemFailure` from any JSON value or text, shortened to keep records small."""
    text = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
    # A model can escape half a surrogate pair, which no file can hold.
    return ItemFailure(text[:_RAW_LIMIT].encode(errors="replace").decode(), reason)


def _from_arguments(arguments: Any, cut: bool, shape: Shape) -> RawItems:
    """Arguments as a string (OpenAI) or as an object (Ollama)."""
    if not isinstance(arguments, str):
        return _from_value(arguments, cut, shape)
    return _from_text(arguments, cut, shape) if arguments.strip() else RawItems([], [])


def _from_text(text: str, cut: bool, shape: Shape) -> RawItems:
    found = salvage(text, shape)
    return RawItems(found.objects, [] if found.complete else [_unread(found.rest, cut)])


def _from_value(value: Any, cut: bool, shape: Shape) -> RawItems:
    values, rest = items_of(value, shape)
    if rest is not None:
        return RawItems(values, [_unread(rest, cut)])
    if cut and values:
        return RawItems(values[:-1], [failure(values[-1], "cut at the token limit")])
    return RawItems(values, [])


def _unread(rest: str, cut: bool) -> ItemFailure:
    return failure(rest, "cut at the token limit" if cut else "not valid JSON from here on")


def _is_cut(message: AIMessage) -> bool:
    meta = message.response_metadata
    reason = meta.get("finish_reason") or meta.get("stop_reason") or meta.get("status") or ""
    return str(reason).lower() in _CUT
