"""Tool calls in a student's text: read in every form that models write, written in one. Nothing is evaluated.

Sources of the forms: those of `marks`, the OpenAI API, and BFCL's prompts (`[f(a=1)]`, `[{"f": {"a": 1}}]`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataenvgym.envs.domains.tool_use.marks import fenced, marked
from dataenvgym.envs.domains.tool_use.python_calls import (
    LONGEST_SOURCE,
    PythonReader,
    python_calls,
    python_literal,
)
from dataenvgym.envs.domains.tool_use.values import decoded, json_values
from dataenvgym.envs.text import storable
from dataenvgym.envs.thinking import without_thinking

LONGEST = 1_000_000
"""Characters of a text that are read; a longer one has no calls."""
MOST_BLOCKS = 1_000
"""Marked or fenced blocks of a text that are read."""
MOST_FAILURES = 20
"""Values or calls that begin in a text and cannot be read, after which no more are looked for."""


@dataclass(frozen=True)
class Call:
    """One call of a tool.

    `positional`: arguments without a name, as Python allows. `bound` names them where the tool is known.
    """

    name: str
    arguments: dict[str, Any]
    positional: tuple[Any, ...] = field(default=())

    def bound(self, names: Sequence[str]) -> Call:
        """The call with its positional arguments under the tool's parameter names, as Python binds them.

        Arguments that are too many or given twice stay positional: a rule then says that they are wrong.
        """
        if not self.positional:
            return self
        fits = len(self.positional) <= len(names) and not set(names[: len(self.positional)]) & set(self.arguments)
        if not fits:
            return self
        return Call(self.name, {**dict(zip(names, self.positional, strict=False)), **self.arguments})


_NAMES = ("name", "tool_name", "function_name", "tool", "function", "action", "recipient_name")
_ARGUMENTS = ("arguments", "parameters", "args", "kwargs", "params", "input", "action_input", "tool_input")
_LISTS = ("tool_calls", "function_calls", "tool_uses", "calls")
_BESIDE = {"id", "type", "index", "call_id", "tool_call_id"}

_NOTHING = re.compile(
    r"(?:null|none|\{\s*\}|\[\s*\]"
    r"|no (?:tool|function)s?(?: calls?)?(?: (?:fits?|appl(?:y|ies)|(?:is|are) needed))?)[.!]?",
    re.IGNORECASE,
)
_VALUE = re.compile(r"\{(?=\s*[\"}])|\[(?=\s*[\[{\]])")
_START = re.compile(
    r"(?:^[ \t>*\-\d.)]*|[:`][ \t]*)(?P<call>(?:[A-Za-z_]\w*[ \t]*=[ \t]*)?(?P<name>(?:\[\s*)?[A-Za-z_][\w.]*\())",
    re.MULTILINE,
)
_PIECE = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[(\[{]|[)\]}]", re.DOTALL)


def read_calls(text: str) -> list[Call] | None:
    """The calls that a text makes, in order. `[]`: it says that no tool is called. None: it says neither.

    The first of these that holds calls counts, and all of its blocks are one answer: marks of tool calls
    (`<tool_call>`), fenced blocks, the whole text, JSON values in it, Python calls or assignments of them that
    begin a line or follow a colon or a backtick. Thinking is not read. A call within a call, and a variable that
    holds a result, become the reference `$1` to the first call (`$2` to the second, `$1.text` to a field of it).

    Values are JSON. A number that JSON does not have (NaN, Infinity, more than 300 digits) is kept as text.
    Never raises; text over `LONGEST` characters or values nested over `values.DEEPEST` deep hold no call.
    """
    if len(text) > LONGEST:
        return None
    text = storable(text).strip()
    if (found := _block(text)) is not None:  # nothing but calls, whatever marks stand in their arguments
        return found
    text = without_thinking(text).strip()
    empty = bool(_NOTHING.fullmatch(text))
    for blocks in (marked(text), fenced(text), [text]):
        found = _joined(blocks)
        if found:
            return found
        empty = empty or found == []
    for looked in (_embedded_json(text), _embedded_python(text)):
        if looked:
            return looked
        empty = empty or looked == []
    return [] if empty else None


def write_calls(calls: Sequence[Call]) -> str:
    """The calls as a JSON list on one line: the form that a student is trained to write, `[]` for no call."""
    return json.dumps([as_json(call) for call in calls], ensure_ascii=False)


def as_json(call: Call) -> dict[str, Any]:
    """A call as an object; positional arguments, if it has some, stand under `positional`."""
    more = {"positional": list(call.positional)} if call.positional else {}
    return {"name": call.name, "arguments": call.arguments, **more}


def calls_of(value: Any) -> list[Call] | None:
    """The calls that a JSON value is, or None where it is none. `[]`: an empty list."""
    if isinstance(value, list):
        each = [calls_of(one) for one in value]
        return None if any(not one for one in each) else [call for one in each for call in one or ()]
    if not isinstance(value, dict):
        return None
    for key in _LISTS:
        if isinstance(value.get(key), list):
            return calls_of(value[key])
    if isinstance(inner := value.get("function"), dict):
        return calls_of(inner)
    if (call := _named(value)) is not None:
        return [call]
    if value and all(isinstance(one, dict) for one in value.values()) and not any(k in value for k in _ARGUMENTS):
        return [Call(name, arguments) for name, arguments in value.items() if name.strip()] or None
    return None


def _named(value: Mapping[str, Any]) -> Call | None:
    """A call whose object says its name and its arguments."""
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "").strip()
    if not name:
        return None
    positional = value.get("positional", [])
    key = next((key for key in _ARGUMENTS if key in value), None)
    if key == "parameters" and "description" in value:
        return None  # a tool that was shown, said again
    if key is None:
        return Call(name, {}) if set(value) <= {*_NAMES, *_BESIDE} else None
    arguments = value[key]
    if isinstance(arguments, str):
        inner = json_values(arguments.strip()) if arguments.strip() else [{}]
        arguments = inner[0] if inner is not None and len(inner) == 1 else arguments
    if isinstance(arguments, list):
        return Call(name, {}, tuple(arguments))
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict) or not isinstance(positional, list):
        return None
    return Call(name, arguments, tuple(positional))


def _joined(blocks: Sequence[str]) -> list[Call] | None:
    """The calls of all blocks in order; None where no block is calls."""
    calls: list[Call] | None = None
    for block in blocks[:MOST_BLOCKS]:
        read = _block(block.strip(), len(calls or ()))
        if read is not None:
            calls = [*(calls or ()), *read]
    return calls


def _block(text: str, before: int = 0) -> list[Call] | None:
    """A text that is calls and nothing else: JSON values in a row, or Python. `before`: calls ahead of it."""
    if not text:
        return None
    if (calls := _json_calls(text)) is not None:
        return calls
    if (calls := calls_of(python_literal(text))) is not None:
        return calls
    read = python_calls(text, before)
    return None if read is None else [Call(*one) for one in read]


def _json_calls(text: str) -> list[Call] | None:
    values = json_values(text)
    each = [calls_of(value) for value in values or ()]
    return [call for one in each for call in one or ()] if values and None not in each else None


def _embedded_json(text: str) -> list[Call] | None:
    """The calls of the JSON values in prose; values that are no calls are passed over."""
    calls: list[Call] | None = None
    failures = at = 0
    while failures < MOST_FAILURES and (start := _VALUE.search(text, at)):
        found = decoded(text, start.start())
        if found is None:
            failures, at = failures + 1, start.end()
            continue
        at = found[1]
        if (read := calls_of(found[0])) is not None:
            calls = [*(calls or []), *read]
    return calls


def _embedded_python(text: str) -> list[Call] | None:
    """The Python calls in prose."""
    reader = PythonReader(0)
    failures = at = 0
    while failures < MOST_FAILURES and (start := _START.search(text, at)):
        begin = start.start("call")
        end = _closed(text, start.start("name"))
        if end is not None and reader.read(text[begin:end]):
            at = end
        else:
            failures, at = failures + 1, start.end()
    return [Call(*one) for one in reader.calls] or None


def _closed(text: str, start: int) -> int | None:
    """Where the brackets are closed that open from a place of a text; None where they are not."""
    depth = 0
    for piece in _PIECE.finditer(text, start, start + LONGEST_SOURCE):
        if piece[0] in "([{":
            depth += 1
        elif piece[0] in ")]}":
            depth -= 1
            if depth <= 0:
                return piece.end()
    return None
