"""Answers that are JSON objects, some fields of which must agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

LONGEST = 20_000
"""Characters of an answer that is looked through for an object."""
_MOST_TRIES = 200
_ABSENT = object()


def last_object(text: str) -> dict[str, Any] | None:
    """The last JSON object in a text, whatever stands around it; None where there is none."""
    decoder, text = json.JSONDecoder(), text[-LONGEST:]
    found: dict[str, Any] | None = None
    at = text.find("{")
    for _ in range(_MOST_TRIES):
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found = value if isinstance(value, dict) else found
        at = text.find("{", end)
    return found


def field(value: Any, path: str) -> Any:
    """What stands at a dotted path in an object, e.g. `person.name`; a mark of its own where nothing does."""
    if isinstance(value, dict) and path in value:
        return value[path]
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def has_field(value: Any, path: str) -> bool:
    """Whether anything, also null, stands at a dotted path in an object."""
    return field(value, path) is not _ABSENT


def same_value(gold: Any, value: Any) -> bool:
    """Whether two JSON values agree: texts without regard to case and blanks, numbers by value, lists in order."""
    if isinstance(gold, str) and isinstance(value, str):
        return gold.casefold().split() == value.casefold().split()
    if isinstance(gold, dict) and isinstance(value, dict):
        return gold.keys() == value.keys() and all(same_value(gold[key], value[key]) for key in gold)
    if isinstance(gold, list) and isinstance(value, list):
        return len(gold) == len(value) and all(map(same_value, gold, value))
    return gold == value and (type(gold) is type(value) or _numbers(gold, value))


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def same_fields(gold: str, answer: str, fields: Sequence[str] | None) -> bool:
    """Whether the objects in two texts agree in the fields; None: in all fields that the gold one has."""
    wanted, found = last_object(gold), last_object(answer)
    if wanted is None or found is None:
        return False
    return all(
        has_field(wanted, name) and same_value(field(wanted, name), field(found, name))
        for name in (fields or list(wanted))
    )
