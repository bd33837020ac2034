"""`weakest_first`: rows in proportion to the validation error."""

from __future__ import annotations

from collections.abc import Sequence

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies.budget import split
from dataenvgym.agents.policies.forest import by_name, errors_of, exploit, explore, tree_plan
from dataenvgym.agents.policies.registry import policy
from dataenvgym.envs.observation import SkillState
from dataenvgym.envs.types import DataRequest, Plan

MASTERED = 0.9
# Weight of a skill whose accuracy is not known, as if half of it were wrong.
UNKNOWN_ERROR = 0.5


@policy("weakest_first", "skill_list", summary="rows in proportion to the error per skill")
async def plan_weakest_first(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """Rows in proportion to the validation error; mastered skills keep a few for rehearsal."""
    shares = _by_error(feedback.skills, feedback.budget, client.config.rehearsal_rows)
    requests = [
        DataRequest(
            id=f"r{number}",
            skill=skill.name,
            count=count,
            reason=_why(skill),
            exemplars=errors_of(feedback.errors, skill.name),
        )
        for number, (skill, count) in enumerate(zip(feedback.skills, shares, strict=True))
        if count
    ]
    return Plan(policy="weakest_first", requests=requests)


@policy("weakest_first", "skill_tree", summary="rows by error; explore or exploit by subskill")
async def plan_tree_weakest_first(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """On the forest: rows by error; a skill without subskills, or weak although its subskills are mastered,
    explores; any other exploits, in favour of its weaker subskills."""
    config = client.config
    shares = _by_error(feedback.skills, feedback.budget, config.rehearsal_rows)
    actions = []
    for skill, share in zip(feedback.skills, shares, strict=True):
        if not share:
            continue
        room = config.max_subskills - len(skill.subskills)
        known = [s.accuracy for s in skill.subskills if s.accuracy is not None]
        covered = bool(known) and min(known) >= MASTERED and (skill.accuracy or 0.0) < MASTERED
        if room > 0 and (not skill.subskills or covered):
            actions.append(explore(skill.name, min(config.new_subskills, room, share), share, _why(skill)))
        else:
            errors = [1 - s.accuracy if s.accuracy is not None else UNKNOWN_ERROR for s in skill.subskills]
            deltas = split(share, [0.1 + e for e in errors])
            actions.append(exploit(skill, deltas, _why(skill)))
    return await tree_plan("weakest_first", actions, by_name(feedback.skills, shares), feedback, client)


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


def _why(skill: SkillState) -> str:
    return "accuracy unknown" if skill.accuracy is None else f"accuracy {skill.accuracy:.2f} on {skill.n}"
