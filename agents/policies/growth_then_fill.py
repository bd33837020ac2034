"""`growth_then_fill`: the schedule that the paper wrote by hand."""

from __future__ import annotations

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies.budget import split
from dataenvgym.agents.policies.forest import plan_by_shares
from dataenvgym.agents.policies.registry import policy
from dataenvgym.envs.types import Plan


@policy("growth_then_fill", "skill_tree", summary="the paper's schedule; reads no accuracy")
async def plan_growth_then_fill(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """The paper's hand-written schedule (appendix B.5): grow subskills to the maximum, then fill them evenly.

    Growing alternates: on odd iterations each skill that has room explores; on even ones, where the paper's
    schedule rests, and from the maximum on, rows are added evenly. Accuracy is never read.
    """
    config, skills = client.config, feedback.skills
    shares = split(feedback.budget, [1.0] * len(skills))
    growing = any(len(s.subskills) < config.max_subskills for s in skills) and feedback.iteration % 2 == 1
    return await plan_by_shares(
        "growth_then_fill",
        feedback,
        client,
        shares=shares,
        explores=[growing] * len(skills),
        reasons=["an even share for each skill"] * len(skills),
        filling="an even share for each subskill",
    )
