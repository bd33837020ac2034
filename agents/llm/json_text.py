"""JSON as chat models write it: read leniently where it is whole, never completed where it is cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_STRICT = json.JSONDecoder()
_LENIENT = json.JSONDecoder(strict=False)  # takes raw line breaks within strings
_CLOSER = {"{": "}", "[": "]"}
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt]|.)', re.DOTALL)
_LEGAL = re.compile(r'u[0-9a-fA-F]{4}|["\\/bfnrt]')
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|(?<![:\\])//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:\\.|[^"\\])*")|,(\s*[}\]])', re.DOTALL)
_NOTHING = ("", "None")
_EMPTY = re.compile(r"""""|''|null|None""")
_SAID = re.compile(r"[\w+\-*/^=<>%$\\]")
DEEPEST = 60
"""Brackets within brackets; no item of ours is nested deeper, and deeper ones exhaust Python's stack."""


class Value(NamedTuple):
    """A JSON value found in a text: what it is, and where it stands (`text[start:end]`)."""

    value: Any
    start: int
    end: int


def read_value(text: str, start: int) -> Value | None:
    """The object or array that begins at `start`; None when it is not closed, or not JSON.

    Beyond strict JSON it takes what models write by mistake: backslashes that are no escapes (`\\(`), raw line
    breaks in strings, comments, trailing commas, single quotes and Python's literals. Whatever is read holds every
    letter, digit and operator of the text, in order, or it is refused.
    """
    try:
        value, end = _STRICT.raw_decode(text, start)
        return Value(value, start, end)
    except (ValueError, RecursionError):
        pass
    closed = closed_at(text, start)
    if closed is None:
        return None
    return next((Value(value, start, closed) for value in _readings(text[start:closed])), None)


def _readings(text: str) -> Iterator[Any]:
    """The ways to read a closed text that is not strict JSON, mildest first."""
    text = _ESCAPE.sub(lambda found: found[0] if _LEGAL.fullmatch(found[1]) else "\\" + found[0], text)
    for candidate in (text, _without(_TRAILING, _without(_COMMENT, text))):
        try:
            yield _LENIENT.decode(candidate)
        except (ValueError, RecursionError):
            continue
    repaired = _repaired(candidate)
    if repaired is not None:
        yield repaired


def _repaired(text: str) -> Any:
    """What json-repair makes of a text, if it neither adds nor leaves out a letter, digit or operator."""
    from json_repair import repair_json

    try:
        value = repair_json(text, return_objects=True, skip_json_loads=True)
    except (ValueError, RecursionError, IndexError):
        return None
    if not value or not isinstance(value, dict if text.startswith("{") else list):
        return None
    texts = _texts(value)
    if sum(one in _NOTHING for one in texts) > len(_EMPTY.findall(text)):
        return None  # a value was left out, and json-repair has put an empty one in its place
    return value if _letters(texts) == _letters([_ESCAPE.sub(_meant, text)]) else None


def _meant(escape: re.Match[str]) -> str:
    what = escape[1]
    return chr(int(what[1:], 16)) if len(what) == 5 else " " if what in "bfnrt" else what


def _letters(texts: list[str]) -> str:
    """Letters, digits and operators alone; JSON's literals as Python's."""
    return "".join(_SAID.findall(" ".join(texts))).lower().replace("null", "none")


def _texts(value: Any) -> list[str]:
    """Every key and value in the order in which they are written."""
    texts: list[str] = []
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            stack += [part for key, inner in reversed(one.items()) for part in (inner, key)]
        elif isinstance(one, list):
            stack += reversed(one)
        else:
            texts.append(str(one))
    return texts


def _without(pattern: re.Pattern[str], text: str) -> str:
    """The text without what the pattern matches outside strings (its first group matches a string)."""
    return pattern.sub(lambda found: found[1] or (found[2] if found.re.groups > 1 else " ") or "", text)


def closed_at(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed, one past it; None when it is not, or nested too deep."""
    expected: list[str] = []
    at, size = start, len(text)
    while at < size:
        char = text[at]
        if char == '"':
            at = _string_end(text, at)
            continue
        if char in _CLOSER:
            expected.append(_CLOSER[char])
            if len(expected) > DEEPEST:
                return None
        elif char in "}]":
            if not expected or char != expected.pop():
                return None
            if not expected:
                return at + 1
        at += 1
    return None


def _string_end(text: str, at: int) -> int:
    """One past the quote that ends the string at `at`, or the end of the text."""
    at += 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == '"':
            return at + 1
        else:
            at += 1
    return len(text)
