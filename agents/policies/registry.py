"""Policies by name. A policy is a function registered for the structures it can plan for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies.growth_then_fill import plan_growth_then_fill
from dataenvgym.agents.policies.llm import plan_tree_with_llm, plan_with_llm
from dataenvgym.agents.policies.random import plan_tree_at_random, plan_tree_with_coin
from dataenvgym.agents.policies.ucb import plan_tree_by_ucb
from dataenvgym.agents.policies.weakest_first import plan_tree_weakest_first, plan_weakest_first
from dataenvgym.envs.errors import UnknownNameError
from dataenvgym.envs.types import Plan


@dataclass(frozen=True)
class Policy:
    """A registry entry: the function, what it does, and the structures it plans for (first: the default)."""

    name: str
    summary: str
    structures: tuple[str, ...]
    plan: Callable[[Feedback, TeacherClient, int], Awaitable[Plan]]


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
