"""Write the replies of the scripted chat model, for any curriculum.

It reads the plain lines of the prompts and writes items. Rows come from the generators of a curriculum, so it can
teach nothing else: for an unknown skill it falls back on one of the curriculum.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise, takewhile
from random import Random

from dataenvgym.agents.policies.budget import split
from dataenvgym.envs.domains.base import Curriculum, Fields

OTHER = "other"
"""The label of a problem that belongs to no skill of the generators."""

_TRIES = 200
"""After so many draws without a new problem, a reply ends with fewer rows than requested."""


@dataclass
class Line:
    """A line of a prompt that the model understands: `key: value`, or an instance (key `Q`) with its id."""

    key: str
    value: str
    id: str = ""
    more: list[str] = field(default_factory=list)
    """Its further lines, which `value` has too, after blanks."""


def items(tool: str, prompt: str, rng: Random, curriculum: Curriculum) -> list[Fields] | None:
    """Write the items of a reply to `prompt` through the tool `tool`; None for an unknown tool."""
    writer = _WRITERS.get(tool)
    return None if writer is None else writer(read(prompt), rng, curriculum)


def read(prompt: str) -> list[Line]:
    """Parse the lines of a prompt, in order. Templates indent the continuation lines of shown text."""
    lines: list[Line] = []
    for raw in prompt.split("\n"):
        if match := re.match(r"\[([^\]]+)\] Q: (.*)", raw):
            lines.append(Line("Q", match[2].strip(), match[1]))
        elif match := re.match(r"([A-Z][A-Za-z ]*): ?(.*)", raw):
            lines.append(Line(match[1], match[2].strip()))
        elif raw.startswith("    ") and lines:
            lines[-1].value = f"{lines[-1].value} {raw.strip()}".strip()
            lines[-1].more.append(raw.strip())
    return lines


def _value(lines: Sequence[Line], key: str, default: str = "") -> str:
    return next((line.value for line in lines if line.key == key), default)


def _number(lines: Sequence[Line], key: str, default: int = 0) -> int:
    value = _value(lines, key)
    return int(value) if re.fullmatch(r"\d+", value) else default


def _error(lines: Sequence[Line]) -> float:
    """Return 1 - accuracy; 0.5 if it is unknown."""
    value = _value(lines, "Accuracy")
    return 1 - float(value) if re.fullmatch(r"[\d.]+", value) else 0.5


def _blocks(lines: Sequence[Line], key: str) -> list[tuple[str, list[Line]]]:
    """Return (name, lines up to the next such name) for each line with that key."""
    starts = [i for i, line in enumerate(lines) if line.key == key]
    return [(lines[i].value, list(lines[i + 1 : end])) for i, end in pairwise([*starts, len(lines)])]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _choice_by_hash(name: str, curriculum: Curriculum) -> str:
    """Pick a skill that depends only on the name; the built-in `hash` differs between processes."""
    return list(curriculum.skills)[int(sha256(name.encode()).hexdigest(), 16) % len(curriculum.skills)]


def _find_skill(skill: str, subskill: str, shown: Sequence[str], curriculum: Curriculum) -> str:
    """Find the generator for a request: by name, else by the problems shown, else by the name's hash."""
    for name in (_plain(skill), _plain(subskill)):
        if name in curriculum.skills:
            return name
    seen = Counter(found for question in shown if (found := curriculum.recognise(question)))
    if not seen:
        return _choice_by_hash(f"{skill}/{subskill}", curriculum)
    return max(curriculum.skills, key=lambda name: seen[name])


def _rows(lines: Sequence[Line], rng: Random, curriculum: Curriculum) -> list[Fields]:
    """Write the requested number of new problems; fewer if the skill has no more."""
    subskill = _value(lines, "Subskill")
    shown = [line.value for line in lines if line.key == "Q"]
    skill = _find_skill(_value(lines, "Skill"), subskill, shown, curriculum)
    variants = curriculum.skills[skill].variants
    variant = next((v for v in variants if _plain(v) == _plain(subskill)), None)
    seed, index, tries = rng.getrandbits(48), 0, 0
    seen = {curriculum.identity(question) for question in shown}
    count = _number(lines, "Number of problems")
    if curriculum.vary is not None and (solved := _solved(lines)):
        numbers = rng.sample(range(1000, 10_000), count)
        return [curriculum.vary(*solved[at % len(solved)], number) for at, number in enumerate(numbers)]
    rows: list[Fields] = []
    while len(rows) < count and tries < _TRIES:
        question, finish = curriculum.draw(skill, seed, index, variant)
        index, tries = index + 1, tries + 1
        if (identity := curriculum.identity(question)) not in seen:
            seen.add(identity)
            tries = 0
            rows.append(finish())
    return rows


def _solved(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return (question, answer) of the problems shown with their answer, without the student's errors."""
    found = []
    for at, line in enumerate(lines):
        after = list(takewhile(lambda other: other.key not in ("Q", "Student"), lines[at + 1 :]))
        correct = next((other for other in after if other.key == "Correct"), None)
        if line.key == "Q" and correct is not None:
            found.append((_as_it_is(line), _as_it_is(correct)))
    return found


def _as_it_is(line: Line) -> str:
    """Return the text of a line and its further lines, with the line breaks."""
    first = line.value.removesuffix(" ".join(line.more)).strip()
    return "\n".join(filter(None, [first, *line.more]))


def _request(skill: str, count: int, reason: str, shown: Sequence[Line]) -> Fields:
    ids = [line.id for line in shown[:3]]
    return {"skill": skill, "subskill": "", "count": count, "reason": reason, "exemplars": ids}


def _skill_list_requests(blocks: list[tuple[str, list[Line]]], budget: int) -> list[Fields]:
    """Request rows in proportion to the error, and two rows per skill as far as the budget allows."""
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


def _requests(lines: Sequence[Line], _: Random, curriculum: Curriculum) -> list[Fields]:
    """Request rows per listed skill, else by the skills of the problems shown; the counts sum to the budget."""
    budget = _number(lines, "Row budget")
    blocks = _blocks(lines, "Skill")
    if blocks:
        return _skill_list_requests(blocks, budget)
    by_skill: dict[str, list[Line]] = {}
    for line in lines:
        if line.key == "Q":
            skill = curriculum.recognise(line.value) or _choice_by_hash(line.value, curriculum)
            by_skill.setdefault(skill, []).append(line)
    if not by_skill:
        by_skill = {name: [] for name in curriculum.skills}
    parts = split(budget, [len(found) for found in by_skill.values()])
    return [
        _request(name, part, f"{len(found)} of the problems shown", found)
        for (name, found), part in zip(by_skill.items(), parts, strict=True)
        if part
    ]


def _subskills(lines: Sequence[Line], _: Random, curriculum: Curriculum) -> list[Fields]:
    """Name the skill's variants that do not exist yet, then invented mixtures."""
    shown = [line.value for line in lines if line.key == "Q"]
    skill = curriculum.skills[_find_skill(_value(lines, "Skill"), "", shown, curriculum)]
    existing = {_plain(line.value) for line in lines if line.key == "Existing"}
    count = _number(lines, "Number of subskills")
    mixed = [f"mixed {i}" for i in range(1, count + len(existing) + 1)]
    new = [name for name in (*skill.variants, *mixed) if _plain(name) not in existing]
    return [{"name": name, "description": f"{skill.summary}: {name}"} for name in new[:count]]


def _labels(lines: Sequence[Line], _: Random, curriculum: Curriculum) -> list[Fields]:
    shown = [line for line in lines if line.key == "Q"]
    return [{"id": line.id, "skill": curriculum.recognise(line.value) or OTHER} for line in shown]


def _categories(lines: Sequence[Line], _: Random, __: Curriculum) -> list[Fields]:
    """Make each name a category; with too many names, the rarest share the last category."""
    counts = {name: _number(block, "Count") for name, block in _blocks(lines, "Name")}
    names = sorted(counts, key=lambda name: -counts[name])
    most = _number(lines, "Most categories", len(names))
    if len(names) <= most:
        return [{"name": name, "members": [name]} for name in names]
    alone, rest = names[: max(most - 1, 0)], names[max(most - 1, 0) :]
    shared = OTHER if OTHER not in alone else f"{OTHER}_skills"
    return [*({"name": name, "members": [name]} for name in alone), {"name": shared, "members": rest}]


def _actions(lines: Sequence[Line], _: Random, __: Curriculum) -> list[Fields]:
    """Split the budget by error; a skill with no subskills, or only mastered ones, explores, others exploit."""
    blocks = _blocks(lines, "Skill")
    most = _number(lines, "Most subskills per skill", 1)
    shares = split(_number(lines, "Row budget"), [_error(block) for _, block in blocks])
    actions: list[Fields] = []
    for (skill, block), share in zip(blocks, shares, strict=True):
        subskills = _blocks(block, "Subskill")
        action: Fields = {"skill": skill, "new_subskills": 0, "rows_each": 0, "subskills": []}
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


def errors_shown(prompt: str, curriculum: Curriculum) -> list[Fields]:
    """Copy the val problems that a prompt shows as the student's errors, as rows."""
    rows: list[Fields] = []
    lines = read(prompt)
    for at, line in enumerate(lines):
        after = lines[at + 1 :]
        block = {other.key: other.value for other in takewhile(lambda other: other.key != "Q", after)}
        if line.key == "Q" and line.id and {"Student", "Correct"} <= set(block):
            rows.append(curriculum.copy(line.value, block["Correct"]))
    return rows


def spoiled(item: Fields, prompt: str, rng: Random, curriculum: Curriculum) -> Fields:
    """Give a row, or a solution to a problem of the prompt, a wrong answer."""
    shown = {line.id: line.value for line in read(prompt) if line.key == "Q"}
    question = item.get("question") or shown.get(item.get("id", ""), "")
    return {**item, "answer": curriculum.wrong(question, item["answer"], rng)}


def _solutions(lines: Sequence[Line], _: Random, curriculum: Curriculum) -> list[Fields]:
    """Solve the problems of the generators from their text; leave out others."""
    solved = ((line.id, curriculum.solve(line.value)) for line in lines if line.key == "Q")
    return [{"id": name, "solution": "", "answer": answer} for name, answer in solved if answer is not None]


def _diagnoses(lines: Sequence[Line], _: Random, curriculum: Curriculum) -> list[Fields]:
    """Say of each skill shown what the student wrote in place of what is right."""
    named = _blocks(lines, "Skill")
    groups: dict[str, list[Line]] = {name: [] for name, _ in named}
    skill = ""
    for line in lines:
        skill = line.value if line.key == "Skill" else skill
        if line.key == "Q" and not named:
            skill = curriculum.recognise(line.value) or OTHER
        groups.setdefault(skill, []).append(line)
    return [
        {
            "skill": skill,
            "problem": f"Writes {_value(shown, 'Student', 'nothing')[:60]!r} where "
            f"{_value(shown, 'Correct', 'something else')[:60]!r} is right.",
            "practice": f"More problems of {skill}.",
            "examples": [line.id for line in shown if line.key == "Q"],
        }
        for skill, shown in groups.items()
        if any(line.key == "Q" for line in shown)
    ]


_WRITERS: dict[str, Callable[[Sequence[Line], Random, Curriculum], list[Fields]]] = {
    "submit_rows": _rows,
    "submit_diagnoses": _diagnoses,
    "submit_solutions": _solutions,
    "submit_requests": _requests,
    "submit_subskills": _subskills,
    "submit_labels": _labels,
    "submit_categories": _categories,
    "submit_actions": _actions,
}
