"""What the scripted chat model answers for mathematics.

It reads the plain lines of `prompts/math` and writes items. Rows come from the generators of the
`arithmetic` task, so it can teach that task and no other: for a skill that it does not know it falls back on
one of its own.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from random import Random
from typing import Any

from dataenvgym.agents.apportion import split
from dataenvgym.agents.scripted_solver import solve
from dataenvgym.envs.tasks.arithmetic_skills import SKILLS, problem, recognise

Item = dict[str, Any]

OTHER = "other"
"""The label of a problem that no skill of the generators asks."""

_TRIES = 200
"""Draws in a row without a new problem after which a reply ends short."""


@dataclass
class Line:
    """A line of a prompt that means something: `key: value`, or an instance shown (key `Q`) with its id."""

    key: str
    value: str
    id: str = ""


def items(tool: str, prompt: str, rng: Random) -> list[Item] | None:
    """The items of a reply to `prompt` through the tool `tool`; None for a tool it does not know."""
    writer = _WRITERS.get(tool)
    return None if writer is None else writer(read(prompt), rng)


def wrong_answer(answer: str, rng: Random) -> str:
    """Another answer than the given one."""
    if re.fullmatch(r"-?\d+", answer):
        return str(int(answer) + rng.randint(1, 9))
    return f"{answer} + {rng.randint(1, 9)}"


def read(prompt: str) -> list[Line]:
    """The lines of a prompt, in order. The templates indent what follows a line break within shown text."""
    lines: list[Line] = []
    for raw in prompt.split("\n"):
        if match := re.match(r"\[([^\]]+)\] Q: (.*)", raw):
            lines.append(Line("Q", match[2].strip(), match[1]))
        elif match := re.match(r"([A-Z][A-Za-z ]*): ?(.*)", raw):
            lines.append(Line(match[1], match[2].strip()))
        elif raw.startswith("    ") and lines:
            lines[-1].value = f"{lines[-1].value} {raw.strip()}".strip()
    return lines


def _value(lines: Sequence[Line], key: str, default: str = "") -> str:
    return next((line.value for line in lines if line.key == key), default)


def _number(lines: Sequence[Line], key: str, default: int = 0) -> int:
    value = _value(lines, key)
    return int(value) if re.fullmatch(r"\d+", value) else default


def _error(lines: Sequence[Line]) -> float:
    """1 - accuracy; a half where it is unknown."""
    value = _value(lines, "Accuracy")
    return 1 - float(value) if re.fullmatch(r"[\d.]+", value) else 0.5


def _blocks(lines: Sequence[Line], key: str) -> list[tuple[str, list[Line]]]:
    """(name, the lines up to the next such name) for each line with that key."""
    starts = [i for i, line in enumerate(lines) if line.key == key]
    return [(lines[i].value, list(lines[i + 1 : end])) for i, end in pairwise([*starts, len(lines)])]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _choice_by_hash(name: str) -> str:
    """One of the skills, always the same for a name: `hash` differs between processes."""
    return list(SKILLS)[int(sha256(name.encode()).hexdigest(), 16) % len(SKILLS)]


def _find_skill(skill: str, subskill: str, shown: Sequence[str]) -> str:
    """The generator for a request: by name, else by the problems shown, else by the name's hash."""
    for name in (_plain(skill), _plain(subskill)):
        if name in SKILLS:
            return name
    seen = Counter(found for question in shown if (found := recognise(question)))
    return max(SKILLS, key=lambda name: seen[name]) if seen else _choice_by_hash(f"{skill}/{subskill}")


def _rows(lines: Sequence[Line], rng: Random) -> list[Item]:
    """As many new problems as asked; fewer when the skill has no more."""
    subskill = _value(lines, "Subskill")
    shown = [line.value for line in lines if line.key == "Q"]
    skill = _find_skill(_value(lines, "Skill"), subskill, shown)
    variant = next((v for v in SKILLS[skill].variants if _plain(v) == _plain(subskill)), None)
    seed, index, tries = rng.getrandbits(48), 0, 0
    seen = set(shown)
    rows: list[Item] = []
    count = _number(lines, "Number of problems")
    while len(rows) < count and tries < _TRIES:
        drawn = problem(skill, seed, index, variant)
        index, tries = index + 1, tries + 1
        if drawn.question not in seen:
            seen.add(drawn.question)
            tries = 0
            rows.append({"question": drawn.question, "solution": drawn.solution, "answer": drawn.answer})
    return rows


def _request(skill: str, count: int, reason: str, shown: Sequence[Line]) -> Item:
    ids = [line.id for line in shown[:3]]
    return {"skill": skill, "subskill": "", "count": count, "reason": reason, "exemplars": ids}


def _skill_list_requests(blocks: list[tuple[str, list[Line]]], budget: int) -> list[Item]:
    """In proportion to the error, and two rows for every skill as far as the budget reaches."""
    floor = min(2, budget // len(blocks))
    parts = split(budget - floor * len(blocks), [_error(lines) for _, lines in blocks])
    return [
        _request(
            name,
            floor + part,
            f"accuracy {_value(lines, 'Accuracy', 'unknown')}",
            [line for line in lines if line.key == "Q"],
        )
        for (name, lines), part in zip(blocks, parts, strict=True)
        if floor + part
    ]


def _requests(lines: Sequence[Line], _: Random) -> list[Item]:
    """Per skill where skills are listed, else by the skills of the problems shown; sums to the budget."""
    budget = _number(lines, "Row budget")
    blocks = _blocks(lines, "Skill")
    if blocks:
        return _skill_list_requests(blocks, budget)
    by_skill: dict[str, list[Line]] = {}
    for line in lines:
        if line.key == "Q":
            by_skill.setdefault(recognise(line.value) or _choice_by_hash(line.value), []).append(line)
    if not by_skill:
        by_skill = {name: [] for name in SKILLS}
    parts = split(budget, [len(found) for found in by_skill.values()])
    return [
        _request(name, part, f"{len(found)} of the problems shown", found)
        for (name, found), part in zip(by_skill.items(), parts, strict=True)
        if part
    ]


def _subskills(lines: Sequence[Line], _: Random) -> list[Item]:
    """The skill's variants that are not there yet, then made-up mixtures."""
    shown = [line.value for line in lines if line.key == "Q"]
    skill = SKILLS[_find_skill(_value(lines, "Skill"), "", shown)]
    existing = {_plain(line.value) for line in lines if line.key == "Existing"}
    count = _number(lines, "Number of subskills")
    mixed = [f"mixed {i}" for i in range(1, count + len(existing) + 1)]
    new = [name for name in (*skill.variants, *mixed) if _plain(name) not in existing]
    return [{"name": name, "description": f"{skill.summary}: {name}"} for name in new[:count]]


def _labels(lines: Sequence[Line], _: Random) -> list[Item]:
    return [{"id": line.id, "skill": recognise(line.value) or OTHER} for line in lines if line.key == "Q"]


def _categories(lines: Sequence[Line], _: Random) -> list[Item]:
    """Each name is its own category; with too many names the rarest share the last one."""
    counts = {name: _number(block, "Count") for name, block in _blocks(lines, "Name")}
    names = sorted(counts, key=lambda name: -counts[name])
    most = _number(lines, "Most categories", len(names))
    if len(names) <= most:
        return [{"name": name, "members": [name]} for name in names]
    alone, rest = names[: max(most - 1, 0)], names[max(most - 1, 0) :]
    shared = OTHER if OTHER not in alone else f"{OTHER}_skills"
    return [*({"name": name, "members": [name]} for name in alone), {"name": shared, "members": rest}]


def _actions(lines: Sequence[Line], _: Random) -> list[Item]:
    """The budget by error; a skill without subskills, or with mastered ones, explores, else it exploits."""
    blocks = _blocks(lines, "Skill")
    most = _number(lines, "Most subskills per skill", 1)
    shares = split(_number(lines, "Row budget"), [_error(block) for _, block in blocks])
    actions: list[Item] = []
    for (skill, block), share in zip(blocks, shares, strict=True):
        subskills = _blocks(block, "Subskill")
        action: Item = {"skill": skill, "new_subskills": 0, "rows_each": 0, "subskills": []}
        mastered = all(_error(lines) <= 0.2 for _, lines in subskills)
        new = min(2, most - len(subskills), share)
        if share and mastered and new > 0:
            action |= {"kind": "explore", "new_subskills": new, "rows_each": share // new}
            action["reason"] = "what it lacks is not covered yet"
        elif share and subskills:
            deltas = split(share, [_error(lines) for _, lines in subskills])
            found = [name for name, _ in subskills]
            action["kind"] = "exploit"
            action["subskills"] = [{"name": n, "delta": d} for n, d in zip(found, deltas, strict=True) if d]
            action["reason"] = "known subskills are weak"
        else:
            continue
        actions.append(action)
    return actions


def errors_shown(prompt: str) -> list[Item]:
    """The val problems that a prompt shows as the student's errors, as rows."""
    rows: list[Item] = []
    lines = read(prompt)
    for at, line in enumerate(lines):
        if (
            line.key == "Q"
            and line.id
            and [after.key for after in lines[at + 1 : at + 3]] == ["Student", "Correct"]
        ):
            answer = lines[at + 2].value
            rows.append({"question": line.value, "solution": answer, "answer": answer})
    return rows


def _solutions(lines: Sequence[Line], _: Random) -> list[Item]:
    """The problems that a generator asks, solved from their text; others are left out."""
    solved = ((line.id, solve(line.value)) for line in lines if line.key == "Q")
    return [{"id": name, "solution": "", "answer": str(answer)} for name, answer in solved if answer is not None]


_WRITERS: dict[str, Callable[[Sequence[Line], Random], list[Item]]] = {
    "submit_rows": _rows,
    "submit_solutions": _solutions,
    "submit_requests": _requests,
    "submit_subskills": _subskills,
    "submit_labels": _labels,
    "submit_categories": _categories,
    "submit_actions": _actions,
}
