"""When two lists of calls are the same plan, and how near one comes to another.

A plan is a graph: `$1` in an argument is the result of the first call. Calls that do not depend on each other may
stand in any order, a number is what it is worth (`1` is `1.0`), and an argument that has the schema's default may
be left out. Everything else must be equal, the type too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from dataenvgym.envs.domains.tool_use.calls import Call
from dataenvgym.envs.domains.tool_use.schemas import Tool, properties

REFERENCE = re.compile(r"\$(\d{1,4})(?!\d)(\.\w[\w\[\]]*)?")
"""The result of an earlier call, counted from 1, or a field of it."""
SCORES = ("tool_precision", "tool_recall", "tool_f1", "argument_f1")


def prepared(calls: Sequence[Call], tools: Mapping[str, Tool]) -> list[Call]:
    """The calls with every argument under its name, and without those that have the schema's default."""
    return [_prepared(call, tools.get(call.name)) for call in calls]


def _prepared(call: Call, tool: Tool | None) -> Call:
    known = {} if tool is None else properties(tool)
    call = call.bound(list(known))
    kept = {
        name: value
        for name, value in call.arguments.items()
        if not (name in known and "default" in known[name] and _code(known[name]["default"]) == _code(value))
    }
    return Call(call.name, kept, call.positional)


def plan_key(calls: Sequence[Call]) -> str:
    """A text that is equal for two lists of calls when they are the same plan."""
    return " ".join(sorted(_keys(calls)))


def _keys(calls: Sequence[Call]) -> list[str]:
    """Per call a digest of its name, its arguments, and the digests of the calls that it refers to."""
    found: list[str] = []
    for call in calls:
        said = _code([call.name, call.arguments, list(call.positional)], found)
        found.append(sha256(said.encode()).hexdigest()[:32])
    return found


def _code(value: Any, results: Sequence[str] = ()) -> str:
    """A value as a text in which equal values are equal; references become the digests of their calls."""
    return json.dumps(_plain(value, results), sort_keys=True)


def _plain(value: Any, results: Sequence[str]) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        match = REFERENCE.fullmatch(value.strip())
        if match and 1 <= int(match[1]) <= len(results):
            return {"$": results[int(match[1]) - 1], "field": match[2] or ""}
        return " ".join(value.split())
    if isinstance(value, list | tuple):
        return [_plain(one, results) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one, results) for key, one in value.items()}
    return value


def difference(gold: Sequence[Call], other: Sequence[Call]) -> str:
    """Why the other is not the gold plan, without what would be right; "" where it is. Both are `prepared`."""
    if plan_key(gold) == plan_key(other):
        return ""
    ours, theirs = Counter(call.name for call in gold), Counter(call.name for call in other)
    if not gold:
        return "it calls a tool where none fits"
    if not other:
        return "it calls no tool where one fits"
    if wrong := sorted((theirs - ours).keys()):
        return f"a call too many: {', '.join(wrong)}"[:200]
    if ours - theirs:
        return f"it makes {len(other)} of {len(gold)} calls"
    for name in sorted(ours):
        named = [[call for call in calls if call.name == name] for calls in (gold, other)]
        given, expected = ({key for call in calls for key in call.arguments} for calls in reversed(named))
        if given != expected:
            return f"{name} has other arguments than it needs"
        if Counter(map(_own, named[0])) != Counter(map(_own, named[1])):
            return f"{name} has a wrong value"
    return "a call uses the result of another call than it should"


def _own(call: Call) -> str:
    return _code([call.arguments, list(call.positional)])


def partial_scores(gold: Sequence[Call], other: Sequence[Call]) -> dict[str, float]:
    """Precision, recall and F1 of the tools named, and F1 of the arguments (tool, name and value together).

    One whose denominator is zero is left out: there is no recall where nothing is to be called.
    """
    tools = [Counter(call.name for call in calls) for calls in (gold, other)]
    arguments = [Counter(_arguments(calls)) for calls in (gold, other)]
    both, (wanted, given) = (tools[0] & tools[1]).total(), (counter.total() for counter in tools)
    found = {
        "tool_precision": (both, given),
        "tool_recall": (both, wanted),
        "tool_f1": (2 * both, wanted + given),
        "argument_f1": (2 * (arguments[0] & arguments[1]).total(), sum(c.total() for c in arguments)),
    }
    return {name: of / total for name, (of, total) in found.items() if total}


def _arguments(calls: Sequence[Call]) -> list[str]:
    keys = _keys(calls)
    return [
        _code([call.name, name, value], keys[:at])
        for at, call in enumerate(calls)
        for name, value in [*call.arguments.items(), *((str(n), v) for n, v in enumerate(call.positional))]
    ]
