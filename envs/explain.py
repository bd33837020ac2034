"""What is wrong with a value of a config, in words for its user."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel


def explain(error: Any, model: type[BaseModel], prefix: str = "", moved: Mapping[str, str] | None = None) -> str:
    """One line per fault: the key, what is allowed, and the nearest valid name for an unknown one.

    `error`: one of pydantic's. `prefix`: the section that the model is, e.g. "task.options.". `moved`: keys that
    stand elsewhere now, and where.
    """
    path = [str(part) for part in error["loc"]]
    key = prefix + ".".join(path)
    if error["type"] != "extra_forbidden":
        allowed = re.findall(r"'([^']*)'", error["msg"]) if error["type"] == "literal_error" else []
        meant = get_close_matches(str(error["input"]), allowed, n=1, cutoff=0.4)
        hint = f". Did you mean {meant[0]!r}?" if meant else ""
        return f"  {key}: {error['msg']}, got {error['input']!r}{hint}"
    if moved and key in moved:
        return f"  {key}: unknown key. It is {moved[key]} now."
    known = _keys_at(model, path[:-1])
    near = get_close_matches(path[-1], known, n=1, cutoff=0.5)
    hint = f"Did you mean {prefix + '.'.join([*path[:-1], near[0]])!r}? " if near else ""
    return f"  {key}: unknown key. {hint}Known here: {', '.join(known) or 'none'}."


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return sorted(model.model_fields)
