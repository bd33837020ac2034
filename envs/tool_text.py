"""Tools in a prompt: a block in front of the request, which a student puts into the form that its model knows.

A tool is `{"name", "description", "parameters"}` with a JSON schema of its arguments, as in OpenAI's API. A prompt
stays one text, so that it is cached, sent to servers and stored like any other. Only a domain puts the block in
front; what comes after it, e.g. a model's words, is never read as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Tool = Mapping[str, Any]
OPEN, CLOSE = "<tools>\n", "\n</tools>\n"
FORM = 'Answer with a JSON list of calls, [{"name": ..., "arguments": {...}}], or [] if no tool fits.'
"""What a model without a form of its own is told of the answer."""
_PLAIN = {"type", "description", "enum", "default"}


def with_tools(tools: Sequence[Tool], text: str) -> str:
    """Put tools in front of a request.

    Raises:
        ValueError: a tool that JSON cannot hold, such as one with NaN.
    """
    lines = [json.dumps(dict(tool), ensure_ascii=False, allow_nan=False) for tool in tools]
    return f"{OPEN}{chr(10).join(lines)}{CLOSE}{text}"


def split_tools(prompt: str) -> tuple[list[dict[str, Any]] | None, str]:
    """Take the tools off a prompt: (tools, request), or (None, prompt) for a prompt without them."""
    # JSON holds no raw line break, so that no text of a tool can end the block.
    block, end, text = prompt.removeprefix(OPEN).partition(CLOSE)
    if not prompt.startswith(OPEN) or not end:
        return None, prompt
    try:
        tools = [json.loads(line) for line in block.split("\n")] if block else []
    except ValueError:
        return None, prompt
    return (tools, text) if all(isinstance(tool, dict) for tool in tools) else (None, prompt)


def as_text(tools: Sequence[Tool], text: str) -> str:
    """Write a prompt for a model whose template knows no tools: signatures, the answer's form, the request."""
    return "\n".join(["Tools:", *map(signature, tools), FORM, text])


def signature(tool: Tool) -> str:
    """Write a tool in a line, `name(text: string, n: integer = 5)`, with its description, then each argument's.

    One whose schema such a line cannot hold, e.g. with objects in it, stays JSON.
    """
    schema = tool.get("parameters") or {}
    properties, required = _arguments(schema)
    if properties is None or required is None or {*tool} - _OF_TOOL:
        return json.dumps(dict(tool), ensure_ascii=False)
    arguments = ", ".join(_argument(name, value, name in required) for name, value in properties.items())
    lines = [f"{tool.get('name', '')}({arguments})", str(tool.get("description") or "")]
    told = [f"  {name}: {value['description']}" for name, value in properties.items() if value.get("description")]
    return "\n".join([": ".join(filter(None, lines)), *told])


_OF_TOOL = {"name", "description", "parameters"}


def _arguments(schema: Any) -> tuple[Mapping[str, Any] | None, Sequence[str] | None]:
    """The arguments and the required ones of a schema, None where a line cannot hold them."""
    if not isinstance(schema, Mapping):
        return None, None
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    plain = isinstance(properties, Mapping) and all(_plain(value) for value in properties.values())
    return properties if plain else None, required if isinstance(required, list) else None


def _plain(schema: Any) -> bool:
    """Whether the type of an argument is a word, or a list of such."""
    if not isinstance(schema, Mapping) or schema.get("type") in (None, "object"):
        return False
    if schema["type"] != "array":
        return isinstance(schema["type"], str) and {*schema} <= _PLAIN
    items = schema.get("items")
    return (
        isinstance(items, Mapping) and {*schema} <= {*_PLAIN, "items"} and {*items} == {"type"} and _plain(items)
    )


def _argument(name: str, schema: Mapping[str, Any], required: bool) -> str:
    kind = f"list of {schema['items']['type']}" if "items" in schema else schema["type"]
    if schema.get("enum"):
        kind = " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    default = f" = {json.dumps(schema['default'], ensure_ascii=False)}" if "default" in schema else ""
    return f"{name}{'' if required or default else '?'}: {kind}{default}"
