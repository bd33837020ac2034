"""`ucb`: a bandit over skills."""

from __future__ import annotations

import math

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies.budget import split
from dataenvgym.agents.policies.forest import plan_by_shares
from dataenvgym.agents.policies.registry import policy
from dataenvgym.envs.types import Plan


@policy("ucb", "skill_tree", summary="a bandit: skills whose rows have paid most so far")
async def plan_tree_by_ucb(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """A bandit over skills (UCB1, Auer et al. 2002): the half with the highest bounds share the budget evenly.

    A pull is an even share of one iteration's budget, the reward of a skill the sum of its accuracy's changes
    over its pulls. A skill without rows comes first. A chosen skill explores until it has subskills and while
    its last reward was not positive; else it exploits.
    """
    config, skills = client.config, feedback.skills
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
    return await plan_by_shares("ucb", feedback, client, shares=shares, explores=explores, reasons=reasons)
