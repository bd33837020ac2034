"""The checks by name. A check is a function registered by `check`:

@check("short", "free", "the question has at most fifty words")
def check_short(row: Row, context: CheckContext) -> Verdict:
    return passed("short") if len(row.question.split()) <= 50 else failed("short", "it is too long")
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, get_args

from dataenvgym.agents.checks.base import Check, Cost
from dataenvgym.agents.config import CheckConfig
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.registry import Registry


def _fill() -> None:
    """Each module of this folder registers its own."""
    package = import_module("dataenvgym.agents.checks")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)


CHECKS: Registry[Check] = Registry("check", "dataenvgym.checks", _fill)
Function = TypeVar("Function", bound=Callable[..., Any])
COSTS: tuple[Cost, ...] = get_args(Cost)


def check(
    name: str, cost: Cost, summary: str, applies: Callable[[Domain], bool] = lambda domain: True
) -> Callable[[Function], Function]:
    """Register a function as the check of that name.

    A free check judges one row after the other, `(row, context) -> verdict`; any other judges all at once,
    `async (rows, context) -> verdicts`. `applies`: as in `Check`.
    """

    def add(function: Function) -> Function:
        kind = "row" if cost == "free" else "rows"
        CHECKS[name] = Check(name, cost, summary, applies=applies, **{kind: function})
        return function

    return add


def configured(config: CheckConfig, domain: Domain, cost: Cost) -> list[Check]:
    """The config's checks of that cost that apply to the domain, in its order."""
    return [check for check in map(find_check, config.names) if check.cost == cost and check.applies(domain)]


def find_check(name: str) -> Check:
    """The check of that name.

    Raises:
        UnknownNameError: there is none; the text names the nearest.
    """
    return CHECKS.find(name)
