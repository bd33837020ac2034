"""Find the items in the text of a reply. What the text does not close is never completed. Thinking is not read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataenvgym.agents.llm.json_text import closed_at, read_value
from dataenvgym.envs.thinking import CLOSING, OPENING, end_of_thinking

_START = r'\{|\[(?=\s*[{\]"])'
_FENCE = r"```+[\w.-]*"
_NEXT = re.compile(
    f"(?P<fence>{_FENCE})|(?P<start>{_START})|(?P<open>{OPENING.pattern})|(?P<close>{CLOSING.pattern})",
    OPENING.flags,
)
_RESUMES = re.compile(f"{_FENCE}|(?:{CLOSING.pattern})", CLOSING.flags)
_JSON_OBJECT = re.compile(r"""\{\s*["']""")
_BETWEEN = re.compile(r"(?:[\s,;]|</?[\w|:.=-]+>|\[/?[A-Z_]+\])*")
_KEY = re.compile(r'[\s,]*(?=")')
_COLON = re.compile(r"\s*:\s*")
_GAP = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(strict=False)
_ITEMS = "items"
_ARGUMENTS = ("arguments", "parameters", "args", "input", "tool_input")
_CALL_NAMES = ("name", "tool", "tool_name", "recipient_name")
_ENCODED = 3  # times that JSON may stand in a string of JSON
_WRAPPED = 8  # wrappers around items, such as a list of calls with a function with arguments
_DOTS = {"...", "…"}
_PLACEHOLDER = re.compile(
    r"\.{3}|…|<[a-z][\w -]*>|string|str|text|(the |your |a )?(question|answer|solution|problem)( here)?",
    re.IGNORECASE,
)


class Salvage(NamedTuple):
    """The complete items of a text; `complete` is false when the text ends early or is malformed among them."""

    objects: list[Any]
    complete: bool
    rest: str


class Shape(NamedTuple):
    """The keys of an item, which tell it from what is wrapped around it. Without any, every object is one."""

    keys: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()

    def fits(self, value: Any) -> bool:
        """Whether a value has all keys that an item needs, and is no example of the format."""
        return (
            isinstance(value, dict) and bool(value) and self.required <= set(value) and not _is_placeholder(value)
        )

    def resembles(self, value: Any) -> bool:
        """Whether a value has keys of an item."""
        return isinstance(value, dict) and bool(self.keys & set(value))


ANY = Shape()


@dataclass
class _Part:
    """A JSON value of a text, `text[start:end]`: the items in it, and the first text in it that cannot be read."""

    start: int
    end: int
    fence: int | None
    values: list[Any] = field(default_factory=list)
    unread: str | None = None


def salvage(text: str, shape: Shape = ANY) -> Salvage:
    """The items in a text: of the last JSON value that has some, or of all fenced blocks where it stands in one.

    A value is an array of items, an object with an array `items`, either wrapped as a tool call, or objects in a
    row. An object that is not closed is left out with all that follows it. What stands in thinking is not read.
    """
    text = _once_decoded(text)
    parts, rest = _parts(text, shape)
    chosen = _chosen(parts, text, shape)
    if not chosen:
        return Salvage([], False, text if rest is None else rest)
    unread = [part.unread for part in chosen if part.unread is not None]
    if rest is not None and not unread:
        unread = [rest]
    return Salvage([value for part in chosen for value in part.values], not unread, "\n".join(unread))


def items_of(value: Any, shape: Shape = ANY, depth: int = 0) -> tuple[list[Any], str | None]:
    """The values meant as items in a JSON value, and the text within it that cannot be read, or None."""
    if depth > _WRAPPED:
        return [value], None
    if isinstance(value, str):
        found = salvage(value, shape)
        return list(found.objects), None if found.complete else found.rest
    if isinstance(value, list):
        if not any(_is_wrapper(one, shape) for one in value):
            return list(value), None
        inner = [items_of(one, shape, depth + 1) for one in value]
        return [one for values, _ in inner for one in values], next((rest for _, rest in inner if rest), None)
    if not isinstance(value, dict):
        return [], None
    if _ITEMS in value and not shape.resembles(value):
        items = value[_ITEMS]
        if not isinstance(items, dict):
            return items_of(items, shape, depth + 1)
        numbered = items and not shape.resembles(items) and all(isinstance(one, dict) for one in items.values())
        return (list(items.values()) if numbered else [items]), None
    within = _wrapped(value, shape)
    return ([value] if value else [], None) if within is None else items_of(within, shape, depth + 1)


def _wrapped(value: dict[str, Any], shape: Shape) -> Any:
    """What is wrapped in an object that is no item: a tool call's arguments, or its one list of objects."""
    if shape.resembles(value):
        return None
    if isinstance(call := value.get("function"), dict):
        return call
    if isinstance(calls := value.get("tool_calls"), list):
        return calls
    for key in _ARGUMENTS:
        if isinstance(value.get(key), dict | list | str) and any(name in value for name in (*_CALL_NAMES, "type")):
            return value[key]
    if not shape.keys:
        return None
    if len(value) == 1 and isinstance(only := next(iter(value.values())), dict | list | str):
        return only
    lists = [
        one for one in value.values() if isinstance(one, list) and any(isinstance(each, dict) for each in one)
    ]
    return lists[0] if len(lists) == 1 else value.get("arguments")


def _is_wrapper(value: Any, shape: Shape) -> bool:
    """Whether an element of a list holds items rather than being one."""
    if isinstance(value, str):
        return value.lstrip().startswith(("{", "["))
    if not isinstance(value, dict) or shape.resembles(value):
        return False
    return bool(shape.keys and _ITEMS in value) or _wrapped(value, shape) is not None


def _once_decoded(text: str) -> str:
    """The text within, where the whole of it is a JSON string, also one that is cut."""
    for _ in range(_ENCODED):
        stripped = text.strip()
        if not stripped.startswith('"'):
            break
        for whole in (stripped, stripped.rstrip("\\") + '"'):
            try:
                inner = json.loads(whole, strict=False)
            except ValueError:
                continue
            text = inner
            break
        else:
            break
    return text


def _parts(text: str, shape: Shape) -> tuple[list[_Part], str | None]:
    """The JSON values of a text outside its thinking, and a text that is not closed and holds no item."""
    parts: list[_Part] = []
    rest: str | None = None
    fence: int | None = None
    blocks = at = 0
    while found := _NEXT.search(text, at):
        start, at = found.start(), found.end()
        if found["close"] is not None:  # its opening stands in the prompt, or was written as plain text
            parts, rest = [], None
        elif found["open"] is not None:
            at = end_of_thinking(text, found)
        elif found["fence"] is not None:
            blocks += 1
            fence = blocks if fence is None else None
        elif value := read_value(text, start):
            values, unread = items_of(value.value, shape)
            parts.append(_Part(start, value.end, fence, values, unread))
            at, rest = value.end, None
        elif part := _open_part(text, start, fence):
            parts.append(part)
            at = part.end
            if part.unread is not None and not (at := _resumes_at(text, at)):
                break
        elif closed_at(text, start) is None and _JSON_OBJECT.match(text, start):
            rest = text[start:]
            if not (at := _resumes_at(text, start)):
                break
    return parts, rest


def _resumes_at(text: str, at: int) -> int:
    """Where a reply may begin anew after a value that it does not close; 0 for nowhere.

    What is nested in the value is no answer, so only a fence or the end of thinking begins another.
    """
    found = _RESUMES.search(text, at)
    return found.start() if found else 0


def _open_part(text: str, start: int, fence: int | None) -> _Part | None:
    """The closed objects of an array of items that cannot be read as a whole; None where there is no array."""
    at = start + 1 if text[start] == "[" else _items_array(text, start)
    if at is None:
        return None
    part = _Part(start, at, fence)
    while True:
        at = part.end = _end(_GAP, text, at)
        if text.startswith("]", at):
            part.end = at + 1
            return part
        value = read_value(text, at) if text.startswith("{", at) else None
        if value is not None:
            part.values.append(value.value)
            at = value.end
            continue
        end = closed_at(text, at) if text.startswith("{", at) else None
        part.unread = text[at:end] if part.unread is None else part.unread
        if end is None:
            return part
        at = end  # closed and unreadable: the objects after it are whole


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
            if key == _ITEMS and text.startswith("[", at):
                return at + 1
            if key in (*_ARGUMENTS, "function") and text.startswith("{", at):
                at += 1
                continue
            _, at = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None


def _chosen(parts: list[_Part], text: str, shape: Shape) -> list[_Part]:
    """The parts that are the answer: see `salvage`."""
    groups: list[list[_Part]] = []
    for part in parts:
        if groups and _is_beside(groups[-1][-1], part, text):
            groups[-1].append(part)
        else:
            groups.append([part])
    fitting = [group for group in groups if any(shape.fits(value) for part in group for value in part.values)]
    if not fitting:
        return _without_examples(groups[-1] if groups else [])
    last = fitting[-1]
    kept: list[list[_Part]] = [last]
    if last[0].fence is not None:
        for group in reversed([group for group in fitting[:-1] if group[0].fence is not None]):
            later = {_first_text(value) for one in kept for part in one for value in part.values}
            if not any(_first_text(value) in later for part in group for value in part.values):
                kept.insert(0, group)  # else a later block writes it anew
    return _without_examples([part for group in kept for part in group])


def _without_examples(parts: list[_Part]) -> list[_Part]:
    for part in parts:
        part.values = [value for value in part.values if not _is_placeholder(value)]
    return parts


def _is_beside(before: _Part, after: _Part, text: str) -> bool:
    """Whether nothing but commas, blanks and the tags around tool calls stands between two parts."""
    return before.fence == after.fence and bool(_BETWEEN.fullmatch(text, before.end, after.start))


def _is_placeholder(value: Any) -> bool:
    """Whether an object shows the format of an item, with dots or names for its texts."""
    if not isinstance(value, dict):
        return False
    texts = [text.strip() for text in value.values() if isinstance(text, str) and text.strip()]
    return any(text in _DOTS for text in texts) or (bool(texts) and all(map(_PLACEHOLDER.fullmatch, texts)))


def _first_text(value: Any) -> Any:
    """What tells one item from another: its first text."""
    texts = value.values() if isinstance(value, dict) else []
    return next((text for text in texts if isinstance(text, str)), id(value))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
