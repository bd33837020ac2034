"""What a check is: it gives a verdict with its reason, and what it costs decides when it runs."""

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
"""What a check spends, in the order in which checks run."""

Answers = Callable[[Sequence[str]], Awaitable[list[str]]]
"""The student's texts for prompts, in order."""


@dataclass
class CheckContext:
    """What checks compare with and whom they ask. `seen` grows with each row that passed the free checks."""

    domain: Domain
    config: CheckConfig
    held_out: HeldOut
    seen: AcceptedQuestions
    client: TeacherClient | None = None
    student: Answers | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Check:
    """A registry entry. A free check judges one row after the other (`row`), any other all at once (`rows`)."""

    name: str
    cost: Cost
    summary: str
    row: Callable[[Row, CheckContext], Verdict] | None = None
    rows: Callable[[Sequence[Row], CheckContext], Awaitable[list[Verdict]]] | None = None
    applies: Callable[[Domain], bool] = lambda domain: True
    """Whether it has anything to judge in a domain; where it has not, it is left out."""

    def __post_init__(self) -> None:
        """Refuse an entry that could never run."""
        if (self.row if self.cost == "free" else self.rows) is None:
            raise ValueError(
                f"check {self.name!r} of cost {self.cost!r} has no function of the kind that is called"
            )


def passed(check: str) -> Verdict:
    """The verdict on a row that passes."""
    return Verdict(check=check, passed=True)


def failed(check: str, reason: str) -> Verdict:
    """The verdict on a row that does not pass."""
    return Verdict(check=check, passed=False, reason=reason)
