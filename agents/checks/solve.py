"""The `solve` check: the teacher's model solves each problem anew, several times, without seeing its answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from dataenvgym.agents.checks.base import CheckContext
from dataenvgym.agents.checks.registry import check
from dataenvgym.agents.llm.asking import TeacherClient, gather_with_progress
from dataenvgym.agents.llm.schemas import SolutionItem
from dataenvgym.envs.domains.base import Domain, Mark
from dataenvgym.envs.errors import ConfigError, FruitlessError, TeacherError
from dataenvgym.envs.types import Report, Row, Verdict, stage_progress

SOLUTIONS = "solutions"


@check("solve", "llm", "most of several independent solutions agree with its answer")
async def check_solve(rows: Sequence[Row], context: CheckContext) -> list[Verdict]:
    """Check that most of several independent solutions agree with the answer; see `solve_rows`."""
    if context.client is None:
        raise ConfigError("the check 'solve' needs a model, and there is none")
    return await solve_rows(rows, context.client, context.report)


async def solve_rows(rows: Sequence[Row], client: TeacherClient, report: Report | None = None) -> list[Verdict]:
    """Return one verdict per row: passed if most of its solutions agree with its answer.

    The task's own scorer decides agreement: the same answer, or a program that passes the row's tests. Each row
    gets `solve_samples` solutions, with `solve_per_call` rows per call and all calls at the same time. A solution
    missing from a reply is not a vote; a row without any vote fails. The majority over samples is self-consistency
    (Wang et al. 2023, arXiv 2203.11171). A row with stored solutions from an earlier check (`extra["solutions"]`)
    is judged by them, without a call.

    Raises:
        BudgetReachedError: a cap forbids further calls; no verdict is given.
        FruitlessError: the model gives no solution at all.
    """
    config = client.config.checks
    votes = {row.id: _stored_votes(row)[: config.solve_samples] for row in rows}
    left = [row for row in rows if len(votes[row.id]) < config.solve_samples]
    votes |= {row.id: [] for row in left}
    groups = [left[i : i + config.solve_per_call] for i in range(0, len(left), config.solve_per_call)]
    faults: list[str] = []

    async def one(group: Sequence[Row], sample: int) -> None:
        # Short new ids: a row's own id would reveal its purpose to the model.
        names = {f"p{number}": row for number, row in enumerate(group, start=1)}
        prompt = client.prompt(
            "solve",
            problems=[
                {"id": name, "question": row.question, **client.domain.show_unsolved(row)}
                for name, row in names.items()
            ],
            answer_format=client.domain.instruction,
            sample=sample + 1,
        )
        try:
            answer = await client.items(prompt, SolutionItem, sample=sample)
        except FruitlessError:
            raise
        except TeacherError as error:
            faults.append(str(error))
            return
        given: dict[str, str] = {}
        for item in answer.valid:
            given.setdefault(item.id, client.domain.clean_answer(item.answer))  # one vote a sample
        for name, row in names.items():
            if name in given:
                votes[row.id].append(given[name])

    calls = [one(group, sample) for group in groups for sample in range(config.solve_samples)]
    await gather_with_progress(calls, stage_progress(report, "calls for solutions"))
    return await asyncio.to_thread(_verdicts, rows, votes, faults, client.domain, report)


def _stored_votes(row: Row) -> list[str]:
    found = row.extra.get(SOLUTIONS)
    return [vote for vote in found if isinstance(vote, str)] if isinstance(found, list) else []


def _verdicts(
    rows: Sequence[Row],
    votes: dict[str, list[str]],
    faults: Sequence[str],
    domain: Domain,
    report: Report | None,
) -> list[Verdict]:
    """Mark all votes together, so that programs run at the same time."""
    pairs = [(row, vote) for row in rows for vote in votes[row.id]]
    progress = stage_progress(report, "programs among the solutions")
    found = iter(domain.marks([row for row, _ in pairs], [vote for _, vote in pairs], progress))
    marks = {row.id: [next(found) for _ in votes[row.id]] for row in rows}
    return [_verdict(row, votes[row.id], marks[row.id], faults) for row in rows]


def _verdict(row: Row, votes: Sequence[str], marks: Sequence[Mark], faults: Sequence[str]) -> Verdict:
    if not votes:
        why = f" ({faults[0]})" if faults else ""
        return Verdict(check="solve", passed=False, reason=f"no solution came back{why}")
    against = [(vote, mark.detail) for vote, mark in zip(votes, marks, strict=True) if not mark.correct]
    passed = 2 * len(against) < len(votes)
    reason = ""
    if not passed:
        (other, detail), _ = Counter(against).most_common(1)[0]
        # The texts of programs differ anyway, so show the failed test instead.
        do = f"do not pass, e.g. {detail}" if detail else f"do not give {row.answer!r}, e.g. {other!r}"
        reason = f"{len(against)} of {len(votes)} solutions {do}"
    return Verdict(check="solve", passed=passed, reason=reason, marks={SOLUTIONS: list(votes)})
