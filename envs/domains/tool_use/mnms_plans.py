"""Plans of M&Ms: read from the data set and from a student's code, written as code, and scored.

Source of the scores: https://github.com/RAIVNLab/mnms (`evaluation/`), copied by the released DataEnvGym. Plans
are kept as calls; `$1.text` is the output `text` of the first step, `<node-0>.text` in the data set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dataenvgym.envs.domains.tool_use.calls import Call, read_calls, write_calls
from dataenvgym.envs.domains.tool_use.marks import fenced
from dataenvgym.envs.domains.tool_use.mnms_tools import TOOLS
from dataenvgym.envs.domains.tool_use.python_calls import python_literal
from dataenvgym.envs.thinking import without_thinking

SCORES = ("plan_tool_accuracy", "tool_precision", "tool_recall", "tool_f1", "argname_f1", "argvalue_f1")
"""`plan_tool_accuracy` is the released number, by the gold plan alone. The others take the plan that fits best."""

_NODE = re.compile(r"<node-(\d{1,4})>(\.\w+)?")
_REFERENCE = re.compile(r"\$(\d{1,4})(?:\.(\w+))?")


def read_plan(text: str) -> str | None:
    """The plan in a student's text as one line of calls; None where there is none.

    Of several code blocks the first that holds calls counts, as in the released code; arguments without a name
    get the tool's names for them. The code is parsed, never run.
    """
    text = without_thinking(text)
    read = next((calls for block in fenced(text) if (calls := read_calls(block))), None) or read_calls(text)
    return write_calls([_bound(call) for call in read]) if read else None


def _bound(call: Call) -> Call:
    return call.bound(list(TOOLS[call.name].arguments)) if call.name in TOOLS else call


def plan_of(text: str) -> list[Call]:
    """The calls of a plan in the data set's form: a Python literal, `[{"id", "name", "args"}, ...]`.

    Raises:
        ValueError: it is anything else; the text says what.
    """
    plans = plans_of(f"[{text}]")
    if not plans:
        raise ValueError("expected a plan, found none")
    return plans[0]


def plans_of(text: str) -> list[list[Call]]:
    """The calls of several plans in the data set's form, a list of such literals.

    Raises:
        ValueError: it is anything else; the text says what.
    """
    found = python_literal(text)
    if not isinstance(found, list):
        raise ValueError(f"expected a Python list of plans, found {text!r:.80}")
    return [_calls(plan) for plan in found]


def _calls(plan: Any) -> list[Call]:
    if not isinstance(plan, list) or not plan or not all(_is_step(step) for step in plan):
        raise ValueError(f"expected steps {{'id', 'name', 'args'}}, found {plan!r:.80}")
    number = {step["id"]: at for at, step in enumerate(plan, 1)}

    def value(given: Any) -> Any:
        if isinstance(given, list):
            return [value(one) for one in given]
        if not isinstance(given, str):
            return given
        return _NODE.sub(lambda match: f"${number.get(int(match[1]), match[1])}{match[2] or ''}", given)

    return [
        Call(
            step["name"].strip().replace(" ", "_"),
            {name: value(one) for name, one in (step["args"] or {}).items()},
        )
        for step in plan
    ]


def _is_step(step: Any) -> bool:
    return (
        isinstance(step, Mapping)
        and isinstance(step.get("id"), int)
        and isinstance(step.get("name"), str)
        and isinstance(step.get("args"), Mapping | None)
        and bool(step["name"].strip())
    )


def write_code(calls: Sequence[Call]) -> str:
    """The plan as the code that M&Ms shows: a function `solve` that assigns each output and returns them all."""
    lines = []
    for at, call in enumerate(calls):
        given = ", ".join(f"{name}={_source(value, at)}" for name, value in call.arguments.items())
        lines.append(f"    output{at} = {call.name}({given})")
    returned = ", ".join(f"{at}: output{at}" for at in range(len(calls)))
    return "\n".join(["def solve():", *lines, f"    result = {{{returned}}}", "    return result"])


def _source(value: Any, at: int) -> str:
    """A value as Python at a step of a plan: earlier steps alone can be referred to."""
    if not isinstance(value, str):
        return repr(value)
    known = [match for match in _REFERENCE.finditer(value) if 1 <= int(match[1]) <= at]
    if not known:
        return json.dumps(value, ensure_ascii=False)
    if known[0][0] == value:
        return _output(known[0])
    parts, end = [], 0
    for match in known:
        parts += [_literal(value[end : match.start()]), f"{{{_output(match)}}}"]
        end = match.end()
    return f'f"{"".join(parts)}{_literal(value[end:])}"'


def _output(match: re.Match[str]) -> str:
    name = f"output{int(match[1]) - 1}"
    return f"{name}['{match[2]}']" if match[2] else name


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("{", "{{").replace("}", "}}")


def tool_names(calls: Sequence[Call]) -> list[str]:
    """The tools of a plan in order, which is all that tool accuracy compares."""
    return [call.name for call in calls]


def is_right(plans: Sequence[Sequence[Call]], calls: Sequence[Call]) -> bool:
    """Whether calls name the tools of one of the plans, in its order."""
    return tool_names(calls) in [tool_names(plan) for plan in plans]


def partial_scores(plans: Sequence[Sequence[Call]], calls: Sequence[Call]) -> dict[str, float]:
    """The `SCORES` of calls; the first plan is the gold one.

    As in the release, labels are counted once however often they stand in a plan. A label is a tool; a tool with
    the names of its arguments; or one with names and values, case aside. The plan that fits best is the one with
    the highest F1 of tools, of equals the first (`use_best_match` in M&Ms). A number is equal to its text.
    """
    best = max(plans, key=lambda plan: _prf(_tools(plan), _tools(calls))[2])
    precision, recall, f1 = _prf(_tools(best), _tools(calls))
    return {
        "plan_tool_accuracy": float(tool_names(plans[0]) == tool_names(calls)),
        "tool_precision": precision,
        "tool_recall": recall,
        "tool_f1": f1,
        "argname_f1": _prf(_named(best), _named(calls))[2],
        "argvalue_f1": _prf(_valued(best), _valued(calls))[2],
    }


def macro_scores(golds: Sequence[Sequence[Call]], answers: Sequence[Sequence[Call]]) -> dict[str, float]:
    """The released `tool_macro` precision, recall and F1 of a whole set, 0 to 1: means over the tools that occur.

    Per tool it counts the plans that should have it and those that do. Tools that do not exist count for none.
    """
    pairs = [(_tools(gold), _tools(answer)) for gold, answer in zip(golds, answers, strict=True)]
    occurring = [name for name in TOOLS if any(name in gold or name in answer for gold, answer in pairs)]
    each = []
    for name in occurring:
        wanted = {at for at, (gold, _) in enumerate(pairs) if name in gold}
        given = {at for at, (_, answer) in enumerate(pairs) if name in answer}
        each.append(_prf(wanted, given))
    names = ("tool_macro_precision", "tool_macro_recall", "tool_macro_f1")
    return {name: sum(one[at] for one in each) / len(each) if each else 0.0 for at, name in enumerate(names)}


def _prf(wanted: set[Any], given: set[Any]) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 where there is nothing to divide by, as scikit-learn has it."""
    both = len(wanted & given)
    precision = both / len(given) if given else 0.0
    recall = both / len(wanted) if wanted else 0.0
    return precision, recall, 2 * both / (len(wanted) + len(given)) if both else 0.0


def _tools(calls: Sequence[Call]) -> set[Any]:
    return set(tool_names(calls))


def _named(calls: Sequence[Call]) -> set[Any]:
    return {(call.name, *sorted(call.arguments)) for call in calls}


def _valued(calls: Sequence[Call]) -> set[Any]:
    return {(call.name, *sorted((name, _text(value)) for name, value in call.arguments.items())) for call in calls}


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, sort_keys=True)).strip().lower()
