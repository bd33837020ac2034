"""Read items from a model's reply. An object that the reply does not close is never completed."""

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

_DECODER = json.JSONDecoder()
_START = re.compile(r"\{|\[(?=\s*[{\]])")
_KEY = re.compile(r'[\s,]*(?=")')
_COLON = re.compile(r"\s*:\s*")
_GAP = re.compile(r"[\s,]*")
_CUT = {"length", "max_tokens", "max_output_tokens", "incomplete", "model_length"}
_RAW_LIMIT = 2000
_ARGUMENTS = ("arguments", "parameters")  # of a tool call written as text


class ItemFailure(NamedTuple):
    """A part of a reply that is not a valid item: its text (shortened) and the reason."""

    raw: str
    reason: str


class Salvage(NamedTuple):
    """The complete objects of a text; `complete` is false when the text ends early or is malformed after them."""

    objects: list[dict[str, Any]]
    complete: bool
    rest: str


class RawItems(NamedTuple):
    """The content of a message before validation: the values meant as items, and the faults of its format."""

    values: list[Any]
    failures: list[ItemFailure]


def salvage(text: str) -> Salvage:
    """The objects closed in `text`: an array of them, an object with an array `items`, or objects in a row.

    Reading stops at the first element that is not a closed JSON object, so nothing is guessed after a fault.
    Text before the first brace (prose, a code fence) is skipped.
    """
    start = _START.search(text)
    if start is None:
        return Salvage([], False, text)
    array = start.end() if start.group() == "[" else _items_array(text, start.start())
    objects: list[dict[str, Any]] = []
    at = start.start() if array is None else array
    while True:
        at = _end(_GAP, text, at)
        if not text.startswith("{", at):
            closed = bool(objects) if array is None else text.startswith("]", at)
            return Salvage(objects, closed, "" if closed else text[at:])
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return Salvage(objects, False, text[at:])
        objects.append(value)


def raw_items(message: "AIMessage") -> RawItems:
    """The values of a reply's tool calls, or of its text when it made none.

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
            take(_from_text(call["function"]["arguments"] or "", cut))
    else:
        for parsed in message.tool_calls:
            take(_from_args(parsed["args"], cut))
        for invalid in message.invalid_tool_calls:
            take(_from_text(invalid["args"] or "", cut))
    text = message.text
    if not (raw_calls or message.tool_calls or message.invalid_tool_calls) and text.strip():
        take(_from_text(text, cut))
    if cut and not failures:
        failures.append(ItemFailure("", "the reply was cut at the token limit"))
    return RawItems(values, failures)


def failure(raw: Any, reason: str) -> ItemFailure:
    """Make an `ItemFailure` from any JSON value or text, shortened to keep records small."""
    text = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
    # A model can escape half a surrogate pair, which no file can hold.
    return ItemFailure(text[:_RAW_LIMIT].encode(errors="replace").decode(), reason)


def _from_text(text: str, cut: bool) -> RawItems:
    found = salvage(text)
    if found.complete:
        return RawItems(list(found.objects), [])
    reason = "cut at the token limit" if cut else "not valid JSON from here on"
    return RawItems(list(found.objects), [failure(found.rest, reason)])


def _from_args(args: dict[str, Any], cut: bool) -> RawItems:
    # A model may put the JSON in a string, or send one item without the list around it.
    items = args.get("items", [args] if args else [])
    if isinstance(items, str):
        return _from_text(items, cut)
    values = items if isinstance(items, list) else [items]
    if cut and values:
        return RawItems(values[:-1], [failure(values[-1], "cut at the token limit")])
    return RawItems(values, [])


def _items_array(text: str, at: int) -> int | None:
    """Position after the `[` of the key `items` in the object at `at`, which may be cut; None without one.

    Servers of open models hand on a tool call that they cannot parse, such as a cut one, as plain text; its
    arguments are looked into.
    """
    at += 1
    try:
        while True:
            key, at = _DECODER.raw_decode(text, _end(_KEY, text, at))
            at = _end(_COLON, text, at)
            if key == "items" and text.startswith("[", at):
                return at + 1
            if key in _ARGUMENTS and text.startswith("{", at):
                at += 1
                continue
            _, at = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _is_cut(message: "AIMessage") -> bool:
    meta = message.response_metadata
    reason = meta.get("finish_reason") or meta.get("stop_reason") or meta.get("status") or ""
    return str(reason).lower() in _CUT
