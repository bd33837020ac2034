"""The engine's second half: which rows may be trained on, and what is still missing from the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dataenvgym.agents.asking import Asker
from dataenvgym.agents.checks import CHECKS, CheckContext
from dataenvgym.agents.solve import check_solve
from dataenvgym.envs.types import DataRequest, Rejected, Row, Verdict


class Verified(NamedTuple):
    """Accepted rows, and rejected ones with the verdict that rejected them."""

    accepted: list[Row]
    rejected: list[Rejected]


def verify(rows: Sequence[Row], context: CheckContext) -> Verified:
    """Run the configured checks that cost nothing on each row, in order, up to the first that fails.

    A row that passes enters `context.seen`, so that the next ones are compared with it.
    """
    accepted: list[Row] = []
    rejected: list[Rejected] = []
    for row in rows:
        verdicts: list[Verdict] = []
        for name in (name for name in context.config.names if name in CHECKS):
            verdicts.append(CHECKS[name](row, context))
            if not verdicts[-1].passed:
                rejected.append(Rejected(row=row.model_dump(), verdicts=verdicts))
                break
        else:
            context.seen.add(row.id, row.question)
            accepted.append(row)
    return Verified(accepted, rejected)


async def verify_with_model(rows: Sequence[Row], asker: Asker) -> Verified:
    """Run the configured checks that ask the teacher's model, on rows that passed the others."""
    if "solve" not in asker.config.checks.names or not rows:
        return Verified(list(rows), [])
    verdicts = await check_solve(rows, asker)
    judged = list(zip(rows, verdicts, strict=True))
    return Verified(
        accepted=[row for row, verdict in judged if verdict.passed],
        rejected=[Rejected(row=row.model_dump(), verdicts=[v]) for row, v in judged if not v.passed],
    )


def missing(requests: Sequence[DataRequest], accepted: Sequence[Row]) -> list[DataRequest]:
    """What the accepted rows leave of the requests: the same requests with the counts still open."""
    have = Counter(row.provenance.request for row in accepted)
    return [
        request.model_copy(update={"count": request.count - have[request.id]})
        for request in requests
        if request.count > have[request.id]
    ]
