"""Policies by name. A policy is a function registered for the structures it can plan for.

@policy("alphabetical", "skill_list", summary="the first skill gets all rows")
async def plan(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    ...
"""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.registry import Registry
from dataenvgym.envs.types import Plan

PlanFunction = Callable[[Feedback, TeacherClient, int], Awaitable[Plan]]
"""(what was read of the environment, the way to the chat model, the seed) -> the data requests."""


@dataclass(frozen=True)
class Policy:
    """A registry entry: the function, what it does, and the structures it plans for."""

    name: str
    summary: str
    structures: tuple[str, ...]
    plan: PlanFunction


def _fill() -> None:
    """Each module of this folder registers its own."""
    package = import_module("dataenvgym.agents.policies")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)


POLICIES: Registry[Policy] = Registry("policy", "dataenvgym.policies", _fill)
"""By `<structure>/<name>`, since policies of one name may plan in another way for another structure."""
DEFAULTS = {"open_ended": "llm", "skill_list": "weakest_first", "skill_tree": "weakest_first"}


def policy(name: str, *structures: str, summary: str) -> Callable[[PlanFunction], PlanFunction]:
    """Register a function as the policy of that name for these structures.

    Raises:
        UnknownNameError: no such structure.
    """
    for structure in structures:
        if structure not in DEFAULTS:
            raise UnknownNameError("structure", structure, DEFAULTS)

    def add(plan: PlanFunction) -> PlanFunction:
        for structure in structures:
            POLICIES[f"{structure}/{name}"] = Policy(name, summary, (structure,), plan)
        return plan

    return add


_OWN: dict[tuple[str, str], Policy] = {}
"""Policies that a config names by file or module, loaded by `own_policy`, by (structure, name)."""


def own_policy(name: str, structure: str, found: Any) -> None:
    """Make a policy, or a function that plans, known under the name `file.py:name` or `module:name`.

    Raises:
        ConfigError: it is neither.
    """
    plan = found.plan if isinstance(found, Policy) else found
    if not callable(plan):
        raise ConfigError(
            f"teacher.policy: {name} is of type {type(found).__name__}. Expected an async function of (feedback, "
            "client, seed) that returns a Plan"
        )
    _OWN[structure, name] = Policy(name, "of your own", (structure,), plan)


def find_policy(structure: str, name: str | None, state: bool) -> Policy:
    """The policy of that name for a structure. Without state the baseline's policy is fixed by the structure.

    Raises:
        UnknownNameError: the structure has no such policy.
        ConfigError: the name is that of a file or module, which was not loaded (`own_policy`).
    """
    if not state:
        if structure == "skill_tree":
            from dataenvgym.agents.policies.random import plan_tree_with_coin

            return Policy("coin", "explore or exploit by coin", ("skill_tree",), plan_tree_with_coin)
        name = "llm"
    known = {p.name: p for p in POLICIES.values() if structure in p.structures}
    wanted = name or DEFAULTS[structure]
    if ":" in wanted:
        if (structure, wanted) not in _OWN:
            raise ConfigError(
                f"teacher.policy: {wanted} is not loaded. Code is loaded for a config of the command line or of a "
                "file, not for one that comes over the network (Studio)"
            )
        return _OWN[structure, wanted]
    if wanted not in known:
        raise UnknownNameError(f"policy for {structure}", wanted, known)
    return known[wanted]
