"""Values of arguments as JSON has them, whatever a model writes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from dataenvgym.envs.text import storable

DEEPEST = 100
"""Levels of lists and objects in a value."""
MOST_DIGITS = 300
"""Digits of a whole number: any float is in that range, and Python itself refuses some thousand."""
_LARGEST = 10**MOST_DIGITS


class NotAValueError(ValueError):
    """A value that is nested too deep, or of a kind that JSON does not have."""


def number(text: str, kind: Callable[[str], int | float]) -> int | float | str:
    """The number in a text, or the text where JSON has no such number."""
    if kind is int:
        return int(text) if len(text) <= MOST_DIGITS else text
    value = kind(text)
    return value if math.isfinite(value) else text


def plain(value: Any, depth: int = 0) -> Any:
    """A value with what JSON and files can hold: texts without lone surrogates, finite numbers.

    Raises:
        NotAValueError: it is nested over `values.DEEPEST` deep, or is of another kind.
    """
    if depth > DEEPEST:
        raise NotAValueError(f"nested over {DEEPEST} deep")
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_LARGEST < value < _LARGEST else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [plain(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {storable(str(key)): plain(one, depth + 1) for key, one in value.items()}
    raise NotAValueError(f"a {type(value).__name__} is no JSON value")


_DECODER = json.JSONDecoder(
    parse_constant=str, parse_int=lambda text: number(text, int), parse_float=lambda text: number(text, float)
)
_BETWEEN = re.compile(r"[\s,;]*")


def decoded(text: str, at: int = 0) -> tuple[Any, int] | None:
    """The JSON value that begins at a place of a text, and where it ends; None where there is none."""
    try:
        value, end = _DECODER.raw_decode(text, at)
        return plain(value), end
    except (ValueError, RecursionError):
        return None


def json_value(text: str) -> tuple[Any] | None:
    """The JSON value that a text is, alone in a tuple; None where it is none."""
    text = text.strip()
    found = decoded(text)
    return (found[0],) if found is not None and found[1] == len(text) else None


def json_values(text: str) -> list[Any] | None:
    """The lists and objects in a row that a text consists of; None where it is anything else."""
    values, at = [], 0
    while at < len(text):
        if text[at] not in "{[" or (found := decoded(text, at)) is None:
            return None
        values.append(found[0])
        between = _BETWEEN.match(text, found[1])
        at = between.end() if between else found[1]
    return values or None
