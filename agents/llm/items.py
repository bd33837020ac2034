"""Items: how a tool asks for them, and which values of a reply are some."""

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dataenvgym.agents.llm.latex import restore_all
from dataenvgym.agents.llm.reply import ItemFailure, failure
from dataenvgym.agents.llm.salvage import Shape
from dataenvgym.envs.text import clean, faults, texts_in

M = TypeVar("M", bound=BaseModel)


@lru_cache(maxsize=64)
def tool_schema(name: str, item: type[BaseModel]) -> dict[str, Any]:
    """Build the OpenAI schema of a tool `name` that takes `items`, a list of `item`, with references resolved."""
    from langchain_core.utils.json_schema import dereference_refs

    schema = item.model_json_schema()
    parameters = dereference_refs(
        {
            "type": "object",
            "properties": {"items": {"type": "array", "items": schema}},
            "required": ["items"],
            "$defs": schema.pop("$defs", {}),
        }
    )
    del parameters["$defs"]
    description = "Hand in the answer: every item in one list."
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def validated(values: list[Any], item: type[M]) -> tuple[list[M], list[ItemFailure]]:
    """The values that are items, and the others with what is wrong."""
    valid: list[M] = []
    failures: list[ItemFailure] = []
    for value in values:
        try:
            valid.append(item.model_validate(value))
        except ValidationError as error:
            reasons = [f"{'.'.join(map(str, e['loc'])) or 'item'}: {e['msg']}" for e in error.errors()[:3]]
            failures.append(failure(value, "; ".join(reasons)))
    return valid, failures


def restored(values: list[Any], item: type[BaseModel]) -> tuple[list[Any], int, list[ItemFailure]]:
    """The values with their LaTeX as it was meant and without hostile characters; the rest with the reason."""
    kept: list[Any] = []
    failures: list[ItemFailure] = []
    count = 0
    code: frozenset[str] = getattr(item, "code_fields", frozenset())
    for value in values:
        value_meant, repaired, doubt = restore_all(value, code)
        found = faults("\n".join(texts_in(value_meant)))
        if doubt:
            place = clean(doubt.replace("\n", "\\n").replace("\t", "\\t"))
            failures.append(
                failure(value, f"a line break or tab, or a LaTeX command without its backslash: {place!r}")
            )
        elif found:
            failures.append(failure(value, f"holds what no text should: {', '.join(found)}"))
        else:
            kept.append(value_meant)
            count += repaired
    return kept, count, failures


@lru_cache(maxsize=64)
def shape_of(item: type[BaseModel]) -> Shape:
    """The keys by which an item is known in a reply."""
    fields = item.model_fields
    return Shape(frozenset(fields), frozenset(name for name, one in fields.items() if one.is_required()))
