"""The engine's second half: which rows may be trained on, and what is still missing from the plan."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dataenvgym.agents.checks import COSTS, CheckContext, configured
from dataenvgym.envs.types import DataRequest, Rejected, Row, Verdict


class CheckedRow(NamedTuple):
    """A row and the verdicts on it so far."""

    row: Row
    verdicts: list[Verdict]


class VerificationResult(NamedTuple):
    """Accepted rows, and rejected ones with their verdicts, the last of which failed."""

    accepted: list[Row]
    rejected: list[Rejected]


async def verify(rows: Sequence[Row], context: CheckContext) -> VerificationResult:
    """Run the configured checks, those that cost nothing first; a row ends at the first that it fails.

    A rejected row keeps all its verdicts. An accepted one keeps what checks noted of it (`Verdict.marks`) in its
    `extra`. A row that passes the free checks enters `context.seen`, so that the next are compared with it.

    Raises:
        ConfigError: a check needs a student or a model, and the context has none.
    """
    left, rejected = await asyncio.to_thread(_free, rows, context)
    for check in (check for cost in COSTS[1:] for check in configured(context.config, context.domain, cost)):
        if not left or check.rows is None:
            break
        verdicts = await check.rows([judged.row for judged in left], context)
        judged_now = [CheckedRow(j.row, [*j.verdicts, v]) for j, v in zip(left, verdicts, strict=True)]
        left = [j for j in judged_now if j.verdicts[-1].passed]
        rejected += [j for j in judged_now if not j.verdicts[-1].passed]
    return VerificationResult(
        accepted=[_marked(j) for j in left],
        rejected=[Rejected(row=j.row.model_dump(), verdicts=j.verdicts) for j in rejected],
    )


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


def _marked(judged: CheckedRow) -> Row:
    marks = {key: value for verdict in judged.verdicts for key, value in verdict.marks.items()}
    return judged.row.model_copy(update={"extra": {**judged.row.extra, **marks}}) if marks else judged.row


def missing(requests: Sequence[DataRequest], accepted: Sequence[Row]) -> list[DataRequest]:
    """What the accepted rows leave of the requests: the same requests with the counts still open."""
    have = Counter(row.provenance.request for row in accepted)
    return [
        request.model_copy(update={"count": request.count - have[request.id]})
        for request in requests
        if request.count > have[request.id]
    ]
