"""Diagnose errors: a model reads the student's errors and says what it does wrong (`teacher.reader: model`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dataenvgym.agents.feedback_reader import Diagnosis, ErrorExample, Feedback
from dataenvgym.agents.llm.asking import TeacherClient, gather_with_progress
from dataenvgym.agents.llm.schemas import DiagnosisItem
from dataenvgym.envs.errors import BudgetReachedError
from dataenvgym.envs.types import DataRequest, Plan, Progress, Rejected, Verdict


class Reading(NamedTuple):
    """The diagnoses, what the model gave that is none, with reasons, and the cap that prevented calls, or None."""

    diagnoses: list[Diagnosis]
    rejected: list[Rejected]
    stopped: str | None = None


async def diagnose(feedback: Feedback, client: TeacherClient, progress: Progress | None = None) -> Reading:
    """Ask the model for diagnoses of the errors that the feedback holds, all calls at the same time.

    Diagnoses of one fault are merged over the calls. One that names no error shown, or a skill that was not shown,
    is rejected. A cap that is reached leaves out what was not asked.

    Raises:
        TeacherError: the server cannot be reached or refuses, or no call gave a diagnosis.
    """
    named = bool(feedback.skills)
    shown = {error.id: error for error in feedback.errors}
    calls = [_call(errors, named, client) for errors in _parts(feedback.errors, client.config.errors_per_call)]
    found = await gather_with_progress(calls, progress)
    good: list[Diagnosis] = []
    rejected = [failure for part in found for failure in part.rejected]
    for item in (item for part in found for item in part.diagnoses):
        examples = [name for name in dict.fromkeys(item.examples) if name in shown]
        reason = _fault(item, examples, {error.skill for error in feedback.errors} if named else None)
        if reason:
            rejected.append(_reject(item, reason))
        else:
            good.append(item.model_copy(update={"examples": examples}))
    return Reading(_merged(good), rejected, next((part.stopped for part in found if part.stopped), None))


def with_diagnoses(plan: Plan, diagnoses: Sequence[Diagnosis]) -> Plan:
    """Add to the reasons of a plan what the reader found on the same skill, or on the same errors."""

    def told(reason: str, skill: str, exemplars: Sequence[str]) -> str:
        fitting = [
            one.problem
            for one in diagnoses
            if (one.skill.casefold() == skill.casefold() or set(one.examples) & set(exemplars))
            and one.problem not in reason
        ]
        return "; ".join([*([reason] if reason else []), *fitting])

    def request(one: DataRequest) -> DataRequest:
        return one.model_copy(update={"reason": told(one.reason, one.skill, one.exemplars)})

    actions = [
        action.model_copy(update={"reason": told(action.reason, action.skill, ())}) for action in plan.actions
    ]
    return plan.model_copy(update={"requests": [request(one) for one in plan.requests], "actions": actions})


def _parts(errors: Sequence[ErrorExample], most: int) -> list[list[ErrorExample]]:
    """Cut the errors, sorted by skill, into parts of at most `most`; a skill stays whole where it fits."""
    parts: list[list[ErrorExample]] = []
    for group in _by_skill(errors).values():
        for part in (group[start : start + most] for start in range(0, len(group), most)):
            if parts and len(parts[-1]) + len(part) <= most:
                parts[-1].extend(part)
            else:
                parts.append(part)
    return parts


def _by_skill(errors: Sequence[ErrorExample]) -> dict[str, list[ErrorExample]]:
    groups: dict[str, list[ErrorExample]] = {}
    for error in errors:
        groups.setdefault(error.skill, []).append(error)
    return groups


async def _call(errors: Sequence[ErrorExample], named: bool, client: TeacherClient) -> Reading:
    groups = _by_skill(errors) if named else {"": errors}
    skills = [{"name": name, "errors": [e.model_dump() for e in group]} for name, group in groups.items()]
    try:
        answer = await client.items(client.prompt("diagnose_errors", skills=skills), DiagnosisItem)
    except BudgetReachedError as reached:
        return Reading([], [], str(reached))
    items = [Diagnosis(**item.model_dump()) for item in answer.valid]
    failed = [
        Rejected(row={"raw": f.raw}, verdicts=[Verdict(check="schema", passed=False, reason=f.reason)])
        for f in answer.failures
    ]
    return Reading(items, failed)


def _fault(item: Diagnosis, examples: Sequence[str], skills: set[str] | None) -> str | None:
    if not examples:
        return f"none of its examples is an error that was shown: {', '.join(item.examples) or 'it names none'}"
    if skills is not None and item.skill not in skills:
        return f"no error of a skill {item.skill!r} was shown"
    return None


def _reject(item: Diagnosis, reason: str) -> Rejected:
    return Rejected(row=item.model_dump(), verdicts=[Verdict(check="diagnosis", passed=False, reason=reason)])


def _merged(items: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Join diagnoses of one skill with the same words; those with the most examples come first."""
    joined: dict[tuple[str, str], Diagnosis] = {}
    for item in items:
        key = (item.skill.casefold(), " ".join(item.problem.casefold().split()).rstrip("."))
        if key in joined:
            examples = list(dict.fromkeys([*joined[key].examples, *item.examples]))
            joined[key] = joined[key].model_copy(update={"examples": examples})
        else:
            joined[key] = item
    return sorted(joined.values(), key=lambda one: -len(one.examples))
