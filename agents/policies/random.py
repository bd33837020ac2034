"""`random`, and the coin that is the baseline without state: policies that read nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies.budget import split
from dataenvgym.agents.policies.forest import plan_by_shares
from dataenvgym.agents.policies.registry import policy
from dataenvgym.envs.types import Plan


@policy("random", "skill_tree", summary="random shares, explore or exploit by coin")
async def plan_tree_at_random(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """Random shares (flat over all ways to divide the budget), explore or exploit by coin; reads nothing."""
    rng = random.Random(f"random/{seed}/{feedback.iteration}")
    shares = split(feedback.budget, [rng.expovariate(1.0) for _ in feedback.skills])
    return await _explore_by_coin("random", shares, rng, feedback, client)


async def plan_tree_with_coin(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """The no-state baseline (paper, section 3): per skill explore or exploit with even odds, even shares."""
    rng = random.Random(f"coin/{seed}/{feedback.iteration}")
    shares = split(feedback.budget, [1.0] * len(feedback.skills))
    return await _explore_by_coin("coin", shares, rng, feedback, client)


async def _explore_by_coin(
    policy: str, shares: Sequence[int], rng: random.Random, feedback: Feedback, client: TeacherClient
) -> Plan:
    explores = [rng.random() < 0.5 for _ in feedback.skills]
    # The writer of rows reads the reason: words that say nothing of the student, not the policy's name.
    reasons = ["chosen at random"] * len(shares)
    return await plan_by_shares(policy, feedback, client, shares=shares, explores=explores, reasons=reasons)
