"""The named checks that a generated row must pass. Each gives a verdict with its reason.

One is added by an entry in `CHECKS`: what it costs decides when it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dataenvgym.agents.asking import Asker
from dataenvgym.agents.config import CheckConfig
from dataenvgym.agents.similarity import HeldOut, SeenRows
from dataenvgym.agents.solve import check_solve
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.types import Report, Row, Verdict, on_part

LONGEST = 8_000  # characters of prompt and completion together

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
    seen: SeenRows
    asker: Asker | None = None
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

    def __post_init__(self) -> None:
        """Refuse an entry that could never run."""
        if (self.row if self.cost == "free" else self.rows) is None:
            raise ValueError(
                f"check {self.name!r} of cost {self.cost!r} has no function of the kind that is called"
            )


def check_format(row: Row, context: CheckContext) -> Verdict:
    """Question and answer are there and the row is not overlong."""
    if not row.question.strip() or not row.answer.strip():
        return _failed("format", "the question or the answer is empty")
    example = context.domain.example(row)
    size = len(example.prompt) + len(example.completion)
    if size > LONGEST:
        return _failed("format", f"{size} characters, more than {LONGEST}")
    return _passed("format")


def check_answer(row: Row, context: CheckContext) -> Verdict:
    """The text that the student would learn to write passes the task's own scorer.

    It rejects an answer that cannot be read back; a wrong one that reads well passes, since it is its own gold.
    """
    text = context.domain.example(row).completion
    found, correct = context.domain.read_back(row.answer, text)
    if not correct:
        return _failed("answer", f"the scorer reads {found!r} from the completion, not {row.answer!r}")
    return _passed("answer")


def check_duplicate(row: Row, context: CheckContext) -> Verdict:
    """Not a question that stands among the accepted rows, exactly or nearly (MinHash over word 3-grams).

    Near-duplicates must also have the same numbers: "47 + 85" and "47 + 58" are two problems of one form.
    """
    twin = context.seen.twin(row.question)
    if twin is not None:
        return _failed("duplicate", f"same as {twin[0]}: {twin[1]!r}")
    return _passed("duplicate")


def check_contamination(row: Row, context: CheckContext) -> Verdict:
    """No val or test question, whole or in a long enough part, stands in the row."""
    match = context.held_out.match(row.question)
    if match is not None:
        return _failed("contamination", f"shares {match[1]!r} with {match[0]}")
    return _passed("contamination")


async def check_student(rows: Sequence[Row], context: CheckContext) -> list[Verdict]:
    """Whether the student of now already answers the row (greedy, in its own prompt, scored as on val).

    The row is marked (`extra["known"]`); with `student_known: drop` a known row fails.
    """
    if context.student is None:
        raise ConfigError("the check 'student' needs a student to ask, and here is none")
    examples = [context.domain.example(row) for row in rows]
    texts = await context.student([e.prompt for e in examples])
    scored = await asyncio.to_thread(context.domain.score, rows, texts)
    verdicts = []
    for text, found in zip(texts, scored, strict=True):
        known = found.correct
        if known and context.config.student_known == "drop":
            verdicts.append(_failed("student", f"the student answers it already: {text[-80:]!r}"))
        else:
            verdicts.append(Verdict(check="student", passed=True, marks={"known": known}))
    return verdicts


async def check_execute(rows: Sequence[Row], context: CheckContext) -> list[Verdict]:
    """The row's program passes the row's tests, and no program that solves nothing does (sandboxed)."""
    if context.domain.vet is None:
        raise ConfigError(f"the check 'execute' has nothing to run in the domain {context.domain.name!r}")
    progress = on_part(context.report, "programs of new rows")
    reasons = await asyncio.to_thread(context.domain.vet, rows, progress)
    return [Verdict(check="execute", passed=not reason, reason=reason) for reason in reasons]


async def _solve(rows: Sequence[Row], context: CheckContext) -> list[Verdict]:
    if context.asker is None:
        raise ConfigError("the check 'solve' needs a model to ask, and here is none")
    return await check_solve(rows, context.asker, context.report)


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("format", "free", "question and answer are there, the row is not overlong", row=check_format),
        Check("answer", "free", "the task's scorer reads the answer back", row=check_answer),
        Check("duplicate", "free", "no accepted row asks the same, exactly or nearly", row=check_duplicate),
        Check("contamination", "free", "no val or test question stands in it", row=check_contamination),
        Check("student", "student", "marks or drops what the student answers already", rows=check_student),
        Check("execute", "sandbox", "the program passes its tests, a trivial one does not", rows=check_execute),
        Check("solve", "llm", "most of several independent solutions agree with its answer", rows=_solve),
    )
}
COSTS: tuple[Cost, ...] = get_args(Cost)


def configured(config: CheckConfig, domain: Domain, cost: Cost) -> list[Check]:
    """The config's checks of that cost, in its order; without `execute` where the domain has nothing to run."""
    names = [name for name in config.names if name != "execute" or domain.vet is not None]
    return [check for check in map(find_check, names) if check.cost == cost]


def find_check(name: str) -> Check:
    """The check of that name.

    Raises:
        UnknownNameError: there is none; the text names the nearest.
    """
    if name not in CHECKS:
        raise UnknownNameError("check", name, CHECKS)
    return CHECKS[name]


def _passed(check: str) -> Verdict:
    return Verdict(check=check, passed=True)


def _failed(check: str, reason: str) -> Verdict:
    return Verdict(check=check, passed=False, reason=reason)
