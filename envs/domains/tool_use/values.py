"""Values of arguments as JSON has them, whatever a model writes."""

from __future__ import annotations

import math
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
