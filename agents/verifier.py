"""Verifier: decide which rows may be trained on, and which rows of the plan are still missing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dataenvgym.agents.checks import COSTS, CheckContext, configured
from dataenvgym.agents.checks.duplicate import DUPLICATE_OF
from dataenvgym.envs.types import DataRequest, Rejected, Row, Verdict


class CheckedRow(NamedTuple):
    """A row and the verdicts on it so far."""

    row: Row
    verdicts: list[Verdict]


class VerificationResult(NamedTuple):
    """Accepted rows, and rejected ones with their verdicts; the last verdict is the failed one."""

    accepted: list[Row]
    rejected: list[Rejected]


async def verify(rows: Sequence[Row], context: CheckContext) -> VerificationResult:
    """Run the configured checks, the free ones first. A row is rejected at the first check that it fails.

    A rejected row keeps all its verdicts. An accepted row keeps the marks of the checks (`Verdict.marks`) in its
    `extra`. A row that passes the free checks enters `context.seen`, so that later rows are compared with it.
    Where such a row fails another check, it leaves `seen`, and its duplicates are judged again.

    Raises:
        ConfigError: a check needs a student or a model, and the context has none.
    """
    accepted: list[Row] = []
    rejected: list[Rejected] = []
    while rows:
        left, refused = await asyncio.to_thread(_free, rows, context)
        left, failed = await _costly(left, context)
        context.seen.discard([judged.row.id for judged in failed])
        gone = {judged.row.id for judged in failed}
        again: list[CheckedRow] = []
        for_good: list[CheckedRow] = []
        for judged in refused:
            twin_is_gone = judged.verdicts[-1].marks.get(DUPLICATE_OF) in gone
            (again if twin_is_gone else for_good).append(judged)
        accepted += [_with_marks(judged) for judged in left]
        rejected += [Rejected(row=j.row.model_dump(), verdicts=j.verdicts) for j in [*for_good, *failed]]
        rows = [judged.row for judged in again]
    return VerificationResult(accepted, rejected)


async def _costly(rows: Sequence[CheckedRow], context: CheckContext) -> tuple[list[CheckedRow], list[CheckedRow]]:
    left, failed = list(rows), []
    for check in (check for cost in COSTS[1:] for check in configured(context.config, context.domain, cost)):
        if not left or check.rows is None:
            break
        verdicts = await check.rows([judged.row for judged in left], context)
        judged_now = [CheckedRow(j.row, [*j.verdicts, v]) for j, v in zip(left, verdicts, strict=True)]
        left = [j for j in judged_now if j.verdicts[-1].passed]
        failed += [j for j in judged_now if not j.verdicts[-1].passed]
    return left, failed


def _free(rows: Sequence[Row], context: CheckContext) -> tuple[list[CheckedRow], list[CheckedRow]]:
    passed: list[CheckedRow] = []
    failed: list[CheckedRow] = []
    checks = [check.row for check in configured(context.config, context.domain, "free") if check.row is not None]
    for row in rows:
        verdicts: list[Verdict] = []
        for check in checks:
            verdicts.append(check(row, context))
            if not verdicts[-1].passed:
                failed.append(CheckedRow(row, verdicts))
                break
        else:
            context.seen.add(row.id, row.question)
            passed.append(CheckedRow(row, verdicts))
    return passed, failed


def _with_marks(judged: CheckedRow) -> Row:
    marks = {key: value for verdict in judged.verdicts for key, value in verdict.marks.items()}
    return judged.row.model_copy(update={"extra": {**judged.row.extra, **marks}}) if marks else judged.row


def missing(requests: Sequence[DataRequest], accepted: Sequence[Row]) -> list[DataRequest]:
    """Return the requests that are not yet fulfilled, with the counts of the missing rows."""
    have = Counter(row.provenance.request for row in accepted)
    return [
        request.model_copy(update={"count": request.count - have[request.id]})
        for request in requests
        if request.count > have[request.id]
    ]
