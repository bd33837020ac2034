"""The columns of a record: named, found by a path or a template, or guessed by their usual names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dataenvgym.envs.errors import DataError
from dataenvgym.envs.text import clean

COLUMNS = ("question", "answer", "solution", "skill", "choices", "split", "id")
"""What a column may be for, as the options name it."""
USUAL: Mapping[str, tuple[str, ...]] = {
    "question": (
        "question", "problem", "prompt", "input", "query", "instruction", "text", "sentence", "review", "document",
        "passage", "content", "message",
    ),
    "answer": (
        "answer", "label", "target", "output", "expected", "gold", "response", "completion", "result", "class",
        "category", "sentiment", "answerkey",
    ),
    "solution": ("solution", "working", "rationale", "explanation", "reasoning", "cot", "worked"),
    "skill": ("skill", "topic", "subject"),
    "choices": ("choices", "options"),
    "split": ("split", "fold"),
    "id": ("id", "uid", "idx", "qid"),
}  # fmt: skip
"""Names that a column is guessed by, in the order they are looked for, in any case."""
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
_ABSENT = object()


def is_template(spec: str) -> bool:
    """Whether a column is a template over the record, no name."""
    return "{{" in spec or "{%" in spec


@lru_cache(256)
def template(spec: str) -> Template | None:
    """The template that a column is; None for a name. ValueError: it is none that Jinja can read."""
    if not is_template(spec):
        return None
    try:
        return _ENVIRONMENT.from_string(spec)
    except TemplateError as error:
        raise ValueError(f"not a Jinja template ({error})") from error


def value_at(data: Mapping[str, Any], spec: str, option: str) -> Any:
    """What a record has in a column: by name, by dotted path or by template.

    Raises:
        DataError: no such column; the text names the nearest. It has no place yet: the caller knows it.
    """
    if (made := template(spec)) is not None:
        try:
            return made.render({str(key): value for key, value in data.items()})
        except (TemplateError, SecurityError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise DataError(f"task.options.{option}: {spec!r:.80} fails: {error}") from error
    found = _walk(data, spec)
    if found is not _ABSENT:
        return found
    known = [name for name in map(str, data) if name]
    near = get_close_matches(spec, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise DataError(
        f"no column {spec!r:.80} (task.options.{option}).{hint} Found the columns "
        f"{clean(', '.join(known)) or 'none'}"
    )


def _walk(data: Mapping[str, Any], path: str) -> Any:
    if path in data:
        return data[path]
    value: Any = data
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def guessed(columns: Iterable[str], option: str, taken: Iterable[str]) -> str | None:
    """The column that is usually named so; None where there is none. `taken`: those that are something else."""
    by_name = {name.strip().casefold(): name for name in reversed([c for c in columns if c not in set(taken)])}
    return next((by_name[name] for name in USUAL[option] if name in by_name), None)


def as_text(value: Any, what: str, *, numbers: bool = False) -> str:
    """A value as cleaned text.

    `numbers`: whether a finite number is taken as its text.

    Raises:
        DataError: it is something else or holds nothing but blanks. It has no place yet.
    """
    if numbers and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)
    if isinstance(value, str):
        if text := clean(value).strip():
            return text
        raise DataError(f"the {what} is empty")
    if value is None:
        raise DataError(f"the {what} is missing (null)")
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    kind = kinds.get(type(value), type(value).__name__)
    raise DataError(f"the {what} is {kind}, no text: {value!r:.80}. A template can make a text of it")
