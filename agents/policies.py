"""Policies: from feedback to a plan. A policy is a function registered for the structures it can plan for."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from dataenvgym.agents.apportion import split
from dataenvgym.agents.asking import Asker
from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.feedback_reader import Feedback, Shown
from dataenvgym.agents.schemas import ActionItem, RequestItem, SubskillItem
from dataenvgym.envs.errors import TeacherError, UnknownNameError
from dataenvgym.envs.observation import SkillState
from dataenvgym.envs.types import DataRequest, Plan, SkillAction

MASTERED = 0.9
# Weight of a skill whose accuracy is not known, as if half of it were wrong.
UNKNOWN_ERROR = 0.5


@dataclass(frozen=True)
class Policy:
    """A registry entry: the function, what it does, and the structures it plans for (first: the default)."""

    name: str
    summary: str
    structures: tuple[str, ...]
    plan: Callable[[Feedback, Asker, int], Awaitable[Plan]]


async def plan_with_llm(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """The model writes data requests from the errors (open_ended) or per skill (skill_list)."""
    if feedback.skills:
        prompt = asker.prompt(
            "plan_skill_list",
            budget=feedback.budget,
            history=_dump(feedback.history),
            skills=[
                {**skill.model_dump(), "errors": _dump([e for e in feedback.errors if e.skill == skill.name])}
                for skill in feedback.skills
            ],
        )
    else:
        prompt = asker.prompt(
            "plan_open_ended",
            budget=feedback.budget,
            errors=_dump(feedback.errors),
            examples_correct=feedback.correct,
            n=feedback.n,
            accuracy=feedback.accuracy or 0.0,
            history=_dump(feedback.history),
        )
    answer = await asker.items(prompt, RequestItem)
    wanted = [item for item in answer.valid if item.count > 0]
    if not wanted:
        reasons = "; ".join(f.reason for f in answer.failures[:3]) or "it asked for no rows"
        raise TeacherError(f"the planner's model gave no data request after {answer.attempts} attempts: {reasons}")
    counts = _within(feedback.budget, [item.count for item in wanted])
    shown = {e.id for e in feedback.errors}
    requests = [
        DataRequest(
            id=f"r{number}",
            skill=item.skill,
            subskill=item.subskill,
            count=count,
            reason=item.reason,
            exemplars=[i for i in item.exemplars if i in shown],
        )
        for number, (item, count) in enumerate(zip(wanted, counts, strict=True))
        if count
    ]
    return Plan(policy="llm", requests=requests)


async def plan_weakest_first(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """Rows in proportion to the validation error; mastered skills keep a few for rehearsal."""
    shares = _by_error(feedback.skills, feedback.budget, asker.config.rehearsal_rows)
    requests = [
        DataRequest(
            id=f"r{number}",
            skill=skill.name,
            count=count,
            reason=_why(skill),
            exemplars=_errors_of(feedback.errors, skill.name),
        )
        for number, (skill, count) in enumerate(zip(feedback.skills, shares, strict=True))
        if count
    ]
    return Plan(policy="weakest_first", requests=requests)


async def plan_tree_weakest_first(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """On the forest: rows by error; a skill without subskills, or weak although its subskills are mastered,
    explores; any other exploits, in favour of its weaker subskills."""
    config = asker.config
    shares = _by_error(feedback.skills, feedback.budget, config.rehearsal_rows)
    actions = []
    for skill, share in zip(feedback.skills, shares, strict=True):
        if not share:
            continue
        room = config.max_subskills - len(skill.subskills)
        known = [s.accuracy for s in skill.subskills if s.accuracy is not None]
        covered = bool(known) and min(known) >= MASTERED and (skill.accuracy or 0.0) < MASTERED
        if room > 0 and (not skill.subskills or covered):
            actions.append(_explore(skill.name, min(config.new_subskills, room, share), share, _why(skill)))
        else:
            errors = [1 - s.accuracy if s.accuracy is not None else UNKNOWN_ERROR for s in skill.subskills]
            deltas = split(share, [0.1 + e for e in errors])
            actions.append(_exploit(skill, deltas, _why(skill)))
    return await _tree_plan("weakest_first", actions, _by_name(feedback.skills, shares), feedback, asker)


async def plan_growth_then_fill(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """The paper's hand-written schedule (appendix B.5): grow subskills to the maximum, then fill them evenly.

    Growing alternates: on odd iterations each skill that has room explores; on even ones, where the paper's
    schedule rests, and from the maximum on, rows are added evenly. Accuracy is never read.
    """
    config, skills = asker.config, feedback.skills
    shares = split(feedback.budget, [1.0] * len(skills))
    growing = any(len(s.subskills) < config.max_subskills for s in skills) and feedback.iteration % 2 == 1
    actions = []
    for skill, share in zip(skills, shares, strict=True):
        room = config.max_subskills - len(skill.subskills)
        if share and room > 0 and (growing or not skill.subskills):
            actions.append(_explore(skill.name, min(config.new_subskills, room, share), share, "growth"))
        elif share:
            actions.append(_exploit(skill, split(share, [1.0] * len(skill.subskills)), "filling"))
    return await _tree_plan("growth_then_fill", actions, _by_name(skills, shares), feedback, asker)


async def plan_tree_with_coin(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """The no-state baseline (paper, section 3): per skill explore or exploit with even odds, even shares."""
    rng = random.Random(f"coin/{seed}/{feedback.iteration}")
    shares = split(feedback.budget, [1.0] * len(feedback.skills))
    actions = _shared(feedback.skills, shares, asker.config, _coins(rng, feedback), ["coin"] * len(shares))
    return await _tree_plan("coin", actions, _by_name(feedback.skills, shares), feedback, asker)


async def plan_tree_at_random(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """Random shares (flat over all ways to divide the budget), explore or exploit by coin; reads nothing."""
    rng = random.Random(f"random/{seed}/{feedback.iteration}")
    shares = split(feedback.budget, [rng.expovariate(1.0) for _ in feedback.skills])
    actions = _shared(feedback.skills, shares, asker.config, _coins(rng, feedback), ["random"] * len(shares))
    return await _tree_plan("random", actions, _by_name(feedback.skills, shares), feedback, asker)


async def plan_tree_by_ucb(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """A bandit over skills (UCB1, Auer et al. 2002): the half with the highest bounds share the budget evenly.

    A pull is an even share of one iteration's budget, the reward of a skill the sum of its accuracy's changes
    over its pulls. A skill without rows comes first. A chosen skill explores until it has subskills and while
    its last reward was not positive; else it exploits.
    """
    config, skills = asker.config, feedback.skills
    share = max(1.0, feedback.budget / len(skills))
    pulls = [skill.rows / share for skill in skills]
    total = max(1.0, sum(pulls))
    bounds = [
        sum(skill.rewards) / n + config.ucb_exploration * math.sqrt(2 * math.log(total) / n) if n else math.inf
        for skill, n in zip(skills, pulls, strict=True)
    ]
    order = sorted(range(len(skills)), key=lambda i: (-bounds[i], i))
    chosen = set(order[: math.ceil(len(skills) / 2)])
    shares = split(feedback.budget, [1.0 if i in chosen else 0.0 for i in range(len(skills))])
    explores = [(skill.reward or 0.0) <= 0 for skill in skills]
    reasons = [f"upper bound {bound:.3f}" if math.isfinite(bound) else "no rows yet" for bound in bounds]
    actions = _shared(skills, shares, config, explores, reasons)
    return await _tree_plan("ucb", actions, _by_name(skills, shares), feedback, asker)


async def plan_tree_with_llm(feedback: Feedback, asker: Asker, seed: int) -> Plan:
    """The model chooses explore or exploit for each skill."""
    config = asker.config
    prompt = asker.prompt(
        "plan_skill_tree",
        budget=feedback.budget,
        skills=_dump(feedback.skills),
        history=_dump(feedback.history),
        max_subskills=config.max_subskills,
    )
    answer = await asker.items(prompt, ActionItem)
    by_name = {s.name: s for s in feedback.skills}
    chosen = {item.skill: item for item in answer.valid if item.skill in by_name}
    actions: list[SkillAction] = []
    rows: dict[str, int] = {}
    for name, item in chosen.items():
        skill = by_name[name]
        room = config.max_subskills - len(skill.subskills)
        if item.kind == "explore" and room > 0 and item.new_subskills and item.rows_each:
            new = min(item.new_subskills, room)
            rows[name] = new * item.rows_each
            actions.append(_explore(name, new, rows[name], item.reason))
        elif item.kind == "exploit":
            deltas = {d.name: d.delta for d in item.subskills}
            actions.append(_exploit(skill, [deltas.get(s.name, 0) for s in skill.subskills], item.reason))
    if not actions:
        raise TeacherError(f"the planner's model chose no usable action after {answer.attempts} attempts")
    return await _tree_plan("llm", actions, rows, feedback, asker)


POLICIES: tuple[Policy, ...] = (
    Policy(
        "llm",
        "the model reads the errors and writes the requests",
        ("open_ended", "skill_list"),
        plan_with_llm,
    ),
    Policy("weakest_first", "rows in proportion to the error per skill", ("skill_list",), plan_weakest_first),
    Policy(
        "weakest_first",
        "rows by error; explore or exploit by subskill",
        ("skill_tree",),
        plan_tree_weakest_first,
    ),
    Policy("growth_then_fill", "the paper's schedule; reads no accuracy", ("skill_tree",), plan_growth_then_fill),
    Policy("ucb", "a bandit: skills whose rows have paid most so far", ("skill_tree",), plan_tree_by_ucb),
    Policy("llm", "the model chooses explore or exploit per skill", ("skill_tree",), plan_tree_with_llm),
    Policy("random", "random shares, explore or exploit by coin", ("skill_tree",), plan_tree_at_random),
)
DEFAULTS = {"open_ended": "llm", "skill_list": "weakest_first", "skill_tree": "weakest_first"}


def find_policy(structure: str, name: str | None, state: bool) -> Policy:
    """The policy of that name for a structure. Without state the baseline's policy is fixed by the structure.

    Raises:
        UnknownNameError: the structure has no such policy.
    """
    if not state:
        if structure == "skill_tree":
            return Policy("coin", "explore or exploit by coin", ("skill_tree",), plan_tree_with_coin)
        name = "llm"
    known = {p.name: p for p in POLICIES if structure in p.structures}
    wanted = name or DEFAULTS[structure]
    if wanted not in known:
        raise UnknownNameError(f"policy for {structure}", wanted, known)
    return known[wanted]


async def _tree_plan(
    policy: str, actions: Sequence[SkillAction], rows: Mapping[str, int], feedback: Feedback, asker: Asker
) -> Plan:
    """Names the new subskills and turns actions into requests: what each subskill is short of its allocation.

    `rows`: per skill that explores, the rows for its new subskills together. Where all that is short is over
    the budget, the requests are scaled down and the deltas with them: the forest never promises more rows than
    are there or asked for.
    """
    named = await asyncio.gather(*(_name_subskills(a, rows.get(a.skill, 0), feedback, asker) for a in actions))
    states = {s.name: s for s in feedback.skills}
    wanted: list[tuple[str, str, int, str]] = []
    for action in named:
        leaves = {s.name: s for s in states[action.skill].subskills}
        for subskill in action.deltas if action.kind == "explore" else {**leaves, **action.deltas}:
            leaf = leaves.get(subskill)
            allocation = max(0, (leaf.allocation if leaf else 0) + action.deltas.get(subskill, 0))
            short = allocation - (leaf.rows if leaf else 0)
            if short > 0:
                wanted.append((action.skill, subskill, short, action.reason))
    counts = _within(feedback.budget, [short for *_, short, _ in wanted])
    requests = [
        DataRequest(
            id=f"r{number}",
            skill=skill,
            subskill=subskill,
            count=count,
            reason=reason,
            exemplars=_errors_of(feedback.errors, skill),
        )
        for number, ((skill, subskill, _, reason), count) in enumerate(zip(wanted, counts, strict=True))
        if count
    ]
    cut = {(w[0], w[1]): w[2] - count for w, count in zip(wanted, counts, strict=True)}
    return Plan(policy=policy, requests=requests, actions=[_less(action, cut) for action in named])


def _less(action: SkillAction, cut: Mapping[tuple[str, str], int]) -> SkillAction:
    """The action without the rows that the budget had no room for."""
    names = [*action.deltas, *(sub for skill, sub in cut if skill == action.skill and sub not in action.deltas)]
    deltas = {n: action.deltas.get(n, 0) - cut.get((action.skill, n), 0) for n in names}
    deltas = {name: delta for name, delta in deltas.items() if delta}
    if action.kind == "exploit":
        return action.model_copy(update={"deltas": deltas})
    each = max(deltas.values(), default=0)
    return action.model_copy(update={"deltas": deltas, "new_subskills": len(deltas), "rows_each": max(0, each)})


async def _name_subskills(action: SkillAction, rows: int, feedback: Feedback, asker: Asker) -> SkillAction:
    """An explore action with its new subskills named by the model; they share the rows evenly."""
    if action.kind != "explore":
        return action
    existing = next(([s.name for s in k.subskills] for k in feedback.skills if k.name == action.skill), [])
    prompt = asker.prompt(
        "propose_subskills",
        skill=action.skill,
        count=action.new_subskills,
        existing=existing,
        exemplars=[
            {"id": i.id, "question": i.question, "answer": i.answer}
            for i in feedback.exemplars
            if i.skill in (action.skill, None)
        ][: asker.config.exemplars_shown],
    )
    answer = await asker.items(prompt, SubskillItem)
    taken = {name.casefold() for name in existing}
    names: list[str] = []
    for item in answer.valid:
        if item.name.casefold() not in taken and len(names) < action.new_subskills:
            taken.add(item.name.casefold())
            names.append(item.name)
    if not names:  # nothing new came: the rows go to the skill as a whole, under its own name
        names = [action.skill]
    return action.model_copy(update={"deltas": dict(zip(names, split(rows, [1.0] * len(names)), strict=True))})


def _coins(rng: random.Random, feedback: Feedback) -> list[bool]:
    return [rng.random() < 0.5 for _ in feedback.skills]


def _shared(
    skills: Sequence[SkillState],
    shares: Sequence[int],
    config: TeacherConfig,
    explores: Sequence[bool],
    reasons: Sequence[str],
) -> list[SkillAction]:
    """Each skill's share: it explores where it is to and has room, or has no subskill; else it exploits evenly."""
    actions = []
    for skill, share, explore, reason in zip(skills, shares, explores, reasons, strict=True):
        room = config.max_subskills - len(skill.subskills)
        if share and room > 0 and (explore or not skill.subskills):
            actions.append(_explore(skill.name, min(config.new_subskills, room, share), share, reason))
        elif share:
            actions.append(_exploit(skill, split(share, [1.0] * len(skill.subskills)), reason))
    return actions


def _explore(skill: str, new: int, rows: int, reason: str) -> SkillAction:
    return SkillAction(
        skill=skill, kind="explore", new_subskills=new, rows_each=max(1, rows // new), reason=reason
    )


def _exploit(skill: SkillState, deltas: Sequence[int], reason: str) -> SkillAction:
    given = {s.name: d for s, d in zip(skill.subskills, deltas, strict=True) if d}
    return SkillAction(skill=skill.name, kind="exploit", deltas=given, reason=reason)


def _by_error(skills: Sequence[SkillState], budget: int, rehearsal: int) -> list[int]:
    """Rows per skill: `rehearsal` for the mastered, the rest of the budget in proportion to the error."""
    errors = [1 - s.accuracy if s.accuracy is not None else UNKNOWN_ERROR for s in skills]
    weak = [e if 1 - e < MASTERED else 0.0 for e in errors]
    if not any(weak):
        return split(budget, [1.0] * len(skills))
    kept = [0 if w else rehearsal for w in weak]
    if sum(kept) > budget // 2:  # a small budget is for what is weak
        kept = [0] * len(skills)
    rest = split(budget - sum(kept), weak)
    return [k + r for k, r in zip(kept, rest, strict=True)]


def _by_name(skills: Sequence[SkillState], shares: Sequence[int]) -> dict[str, int]:
    return {skill.name: share for skill, share in zip(skills, shares, strict=True)}


def _within(budget: int, counts: Sequence[int]) -> list[int]:
    """The counts, scaled down in proportion when they sum to more than the budget."""
    return list(counts) if sum(counts) <= budget else split(budget, [float(c) for c in counts])


def _errors_of(errors: Sequence[Shown], skill: str) -> list[str]:
    return [e.id for e in errors if e.skill == skill]


def _why(skill: SkillState) -> str:
    return "accuracy unknown" if skill.accuracy is None else f"accuracy {skill.accuracy:.2f} on {skill.n}"


def _dump(models: Sequence[object]) -> list[dict[str, object]]:
    return [m.model_dump() for m in models]  # type: ignore[attr-defined]
