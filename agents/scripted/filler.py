"""Fill the parameters of a tool that the scripted model does not know, from their JSON schema.

An own graph with own tools runs offline this way from its first minute. The values are of the right type and
range and mean nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

MANY = 3
"""Entries of a list whose length neither its schema nor the prompt tells."""
_DEEPEST = 8


class Shown(NamedTuple):
    """What a prompt shows that an answer can name: the ids of problems, and the skills."""

    ids: Sequence[str]
    skills: Sequence[str]


def shown(prompt: str) -> Shown:
    """Read the ids and the skills that a prompt shows, each once, in order."""
    ids = re.findall(r"^\[([^\]]+)\] Q: ", prompt, re.M)
    skills = re.findall(r"^Skill: (.+)$", prompt, re.M)
    return Shown(list(dict.fromkeys(ids)), list(dict.fromkeys(skills)))


def fill(parameters: Mapping[str, Any], prompt: str, rng: Random) -> dict[str, Any]:
    """Return arguments for a tool with these parameters (the JSON schema of an object, references resolved).

    A list `items` has an entry per problem shown where its entries have an `id`, and `MANY` otherwise.
    """
    seen = shown(prompt)
    found: dict[str, Any] = _value(parameters, "", 0, seen, rng, 0)
    return found if isinstance(found, dict) else {}


def _value(schema: Mapping[str, Any], name: str, number: int, seen: Shown, rng: Random, depth: int) -> Any:
    if "const" in schema:
        return schema["const"]
    for choices in (schema.get("enum"), schema.get("examples")):
        if choices:
            return rng.choice(list(choices))
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            kinds = [one for one in schema[several] if one.get("type") != "null"]
            return _value(kinds[0], name, number, seen, rng, depth + 1) if kinds and depth < _DEEPEST else None
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, number, seen, rng, depth)
    if kind == "array":
        return _array(schema, name, seen, rng, depth)
    if kind in ("integer", "number"):
        return _number(schema, kind, rng)
    if kind == "boolean":
        return rng.random() < 0.5
    return None if kind == "null" else _text(schema, name, number, seen)


def _object(schema: Mapping[str, Any], number: int, seen: Shown, rng: Random, depth: int) -> dict[str, Any]:
    fields, required = schema.get("properties", {}), schema.get("required", [])
    kept = [name for name in fields if name in required or depth < _DEEPEST]
    return {name: _value(fields[name], name, number, seen, rng, depth + 1) for name in kept}


def _array(schema: Mapping[str, Any], name: str, seen: Shown, rng: Random, depth: int) -> list[Any]:
    of = schema.get("items") or {}
    if of.get("type") == "string" and seen.ids and re.search(r"ids$|exampl|exemplar", name):
        found: list[Any] = list(seen.ids[:MANY])
    else:
        by_id = seen.ids if name == "items" and "id" in of.get("properties", {}) else None
        count = len(by_id) if by_id else MANY
        found = [_value(of, name.rstrip("s"), number, seen, rng, depth + 1) for number in range(count)]
    least, most = schema.get("minItems", 0), schema.get("maxItems", len(found))
    while len(found) < least:
        found.append(_value(of, name.rstrip("s"), len(found), seen, rng, depth + 1))
    return found[:most]


def _number(schema: Mapping[str, Any], kind: str, rng: Random) -> float:
    if isinstance(schema.get("default"), int | float):
        return float(schema["default"]) if kind == "number" else int(schema["default"])
    low = float(schema.get("minimum", schema.get("exclusiveMinimum", 0)))
    high = float(schema.get("maximum", schema.get("exclusiveMaximum", low + 10)))
    if kind == "number":
        return round(low + (high - low) * (0.25 + 0.5 * rng.random()), 3)
    above = "exclusiveMinimum" in schema and "minimum" not in schema
    least = math.floor(low) + 1 if above else math.ceil(low)
    return rng.randint(least, max(least, math.floor(high) - (1 if "exclusiveMaximum" in schema else 0)))


def _text(schema: Mapping[str, Any], name: str, number: int, seen: Shown) -> str:
    if name == "id" and seen.ids:
        return seen.ids[number % len(seen.ids)]
    if name == "skill" and seen.skills:
        return seen.skills[number % len(seen.skills)]
    text = f"{name.replace('_', ' ') or 'text'} {number + 1}"
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength", None)]
