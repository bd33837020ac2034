"""The checks by name. One is added by an entry in `CHECKS`."""

from __future__ import annotations

from typing import get_args

from dataenvgym.agents.checks.answer import check_answer
from dataenvgym.agents.checks.base import Check, Cost
from dataenvgym.agents.checks.contamination import check_contamination
from dataenvgym.agents.checks.duplicate import check_duplicate
from dataenvgym.agents.checks.execute import check_execute
from dataenvgym.agents.checks.format import check_format
from dataenvgym.agents.checks.solve import check_solve
from dataenvgym.agents.checks.student import check_student
from dataenvgym.agents.config import CheckConfig
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.registry import Registry

CHECKS: Registry[Check] = Registry("check", "dataenvgym.checks")
CHECKS.update(
    (check.name, check)
    for check in (
        Check("format", "free", "question and answer are there, the row is not overlong", row=check_format),
        Check("answer", "free", "the task's scorer reads the answer back", row=check_answer),
        Check("duplicate", "free", "no accepted row asks the same, exactly or nearly", row=check_duplicate),
        Check("contamination", "free", "no val or test question stands in it", row=check_contamination),
        Check("student", "student", "marks or drops what the student answers already", rows=check_student),
        Check(
            "execute",
            "sandbox",
            "the program passes its tests, a trivial one does not",
            rows=check_execute,
            applies=lambda domain: domain.vet is not None,
        ),
        Check("solve", "llm", "most of several independent solutions agree with its answer", rows=check_solve),
    )
)
COSTS: tuple[Cost, ...] = get_args(Cost)


def configured(config: CheckConfig, domain: Domain, cost: Cost) -> list[Check]:
    """The config's checks of that cost that apply to the domain, in its order."""
    return [check for check in map(find_check, config.names) if check.cost == cost and check.applies(domain)]


def find_check(name: str) -> Check:
    """The check of that name.

    Raises:
        UnknownNameError: there is none; the text names the nearest.
    """
    return CHECKS.find(name)
