"""A check gives a verdict with a reason. Its cost decides when it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dataenvgym.agents.config import CheckConfig
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.types import Report, Row, Verdict

if TYPE_CHECKING:
    from dataenvgym.agents.checks.contamination import HeldOut
    from dataenvgym.agents.checks.duplicate import AcceptedQuestions

Cost = Literal["free", "student", "sandbox", "llm"]
"""The resource that a check needs, in the order in which checks run."""

Answers = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Returns the student's answers to prompts, in order."""


@dataclass
class CheckContext:
    """The data, models and student that checks use. `seen` grows with each row that passes the free checks."""

    domain: Domain
    config: CheckConfig
    held_out: HeldOut
    seen: AcceptedQuestions
    client: TeacherClient | None = None
    student: Answers | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Check:
    """A registry entry. A free check judges rows one by one (`row`), any other check all rows at once (`rows`)."""

    name: str
    cost: Cost
    summary: str
    row: Callable[[Row, CheckContext], Verdict] | None = None
    rows: Callable[[Sequence[Row], CheckContext], Awaitable[list[Verdict]]] | None = None
    applies: Callable[[Domain], bool] = lambda domain: True
    """Tells whether the check applies to a domain; otherwise it is skipped."""

    def __post_init__(self) -> None:
        """Refuse an entry that could never run."""
        if (self.row if self.cost == "free" else self.rows) is None:
            raise ValueError(
                f"check {self.name!r} of cost {self.cost!r} has no function of the kind that is called"
            )


def passed(check: str) -> Verdict:
    """Return the verdict on a row that passes."""
    return Verdict(check=check, passed=True)


def failed(check: str, reason: str) -> Verdict:
    """Return the verdict on a row that fails."""
    return Verdict(check=check, passed=False, reason=reason)
