"""What a tool is, and whether arguments fit its schema: a small part of JSON Schema, with BFCL's names for types.

A check by rules of ours, since a schema comes from a model or a data file: it is bounded in depth, resolves no
reference, and says in words what does not fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Tool = Mapping[str, Any]
"""`{"name", "description", "parameters"}`; the parameters are a JSON schema of an object."""

DEEPEST = 20
"""Levels of a schema or a value that are looked at; a deeper one does not fit."""
LONGEST_TOOL = 8_000
"""Characters of a tool as JSON."""
_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,63}")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "tuple": (list, tuple),
    "list": (list, tuple),
    "object": (Mapping,),
    "dict": (Mapping,),
    "null": (type(None),),
    "any": (object,),
}


def properties(tool: Tool) -> dict[str, Mapping[str, Any]]:
    """The schemas of a tool's arguments by name; none where its schema does not say them."""
    parameters = tool.get("parameters")
    found = parameters.get("properties") if isinstance(parameters, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(name): one if isinstance(one, Mapping) else {} for name, one in found.items()}


def required(tool: Tool) -> list[str]:
    """The names of the arguments that a call must have."""
    parameters = tool.get("parameters")
    found = parameters.get("required") if isinstance(parameters, Mapping) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list | tuple) else []


def tool_fault(tool: Any) -> str:
    """Why a value is no tool, or ""."""
    if not isinstance(tool, Mapping):
        return f"a tool must be an object with name, description and parameters, not {_kind(tool)}"
    name = tool.get("name")
    if not isinstance(name, str) or not name.strip():
        return "a tool has no name"
    if not _NAME.fullmatch(name):
        return f"{name[:40]!r} is no name of a tool: letters, digits, _ . and - only, at most 64"
    if not isinstance(tool.get("description", ""), str):
        return f"the description of {name} is no text"
    if fault := _schema_fault(tool.get("parameters", {}), 0):
        return f"the parameters of {name}: {fault}"
    if len(json.dumps(dict(tool))) > LONGEST_TOOL:
        return f"{name} is longer than {LONGEST_TOOL:,} characters"
    known = properties(tool)
    if missing := [one for one in required(tool) if one not in known]:
        return f"{name} requires {missing[0]!r}, which is none of its parameters"
    return ""


def _schema_fault(schema: Any, depth: int) -> str:
    if depth > DEEPEST:
        return f"nested more than {DEEPEST} deep"
    if not isinstance(schema, Mapping):
        return f"a schema must be an object, not {_kind(schema)}"
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            return f"{str(kind)[:40]!r} is no type; types are {', '.join(_TYPES)}"
    if not isinstance(schema.get("enum", []), list):
        return "enum must be a list"
    if not isinstance(schema.get("required", []), list) or not isinstance(schema.get("properties", {}), Mapping):
        return "properties must be an object and required a list of names"
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return next((fault for one in inner if (fault := _schema_fault(one, depth + 1))), "")


def arguments_fault(tool: Tool, arguments: Mapping[str, Any], results: Sequence[str] = ()) -> str:
    """Why arguments do not fit a tool, or "".

    Args:
        results: texts that stand for a result, of which nobody knows the type, such as `$1`.
    """
    known = properties(tool)
    for name in required(tool):
        if name not in arguments:
            return f"{tool['name']} needs the argument {name!r}"
    for name, value in arguments.items():
        if name not in known:
            return f"{tool['name']} has no argument {name[:40]!r}; it has {', '.join(known) or 'none'}"
        if fault := value_fault(value, known[name], results):
            return f"{tool['name']}, argument {name!r}: {fault}"
    return ""


def value_fault(value: Any, schema: Mapping[str, Any], results: Sequence[str] = (), depth: int = 0) -> str:
    """Why a value does not fit a schema, or ""; see `arguments_fault`."""
    if depth > DEEPEST:
        return f"nested more than {DEEPEST} deep"
    if isinstance(value, str) and value in results:
        return ""
    kinds = [kind.lower() for kind in _listed(schema.get("type"))]
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{_short(value)} is not of the type {' or '.join(kinds)}"
    if isinstance(schema.get("enum"), list) and schema["enum"] and value not in schema["enum"]:
        return f"{_short(value)} is none of {', '.join(map(_short, schema['enum'][:8]))}"
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return next((f for one in value if (f := value_fault(one, schema["items"], results, depth + 1))), "")
    if isinstance(value, Mapping) and isinstance(schema.get("properties"), Mapping) and schema["properties"]:
        inner = {"name": "it", "parameters": schema}
        known = properties(inner)
        if missing := [name for name in required(inner) if name not in value]:
            return f"it needs {missing[0]!r}"
        for name, one in value.items():
            if name not in known:
                return f"it has no {name[:40]!r}"
            if fault := value_fault(one, known[name], results, depth + 1):
                return f"{name!r}: {fault}"
    return ""


def _listed(kinds: Any) -> list[str]:
    return [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):  # a bool is an int to Python, and not to a schema
        return kind in ("boolean", "any")
    if isinstance(value, float) and kind == "integer":
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,)))


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
