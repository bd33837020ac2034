"""`execute`: the program of a row passes its tests, or its calls fit their tools and the request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dataenvgym.agents.checks.base import CheckContext
from dataenvgym.agents.checks.registry import check
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.types import Row, Verdict, stage_progress


@check(
    "execute",
    "sandbox",
    "the program passes its tests, a trivial one does not; calls fit their tools and the request",
    applies=lambda domain: domain.vet is not None,
)
async def check_execute(rows: Sequence[Row], context: CheckContext) -> list[Verdict]:
    """Check what the domain can find out by itself (`Domain.vet`).

    In code that the row's program passes the row's tests in the sandbox, and that a trivial program does not; in
    tool use, where nothing is run, that the calls fit the tools and the request.
    """
    if context.domain.vet is None:
        raise ConfigError(f"the check 'execute' has nothing to run in the domain {context.domain.name!r}")
    progress = stage_progress(context.report, "programs of new rows")
    reasons = await asyncio.to_thread(context.domain.vet, rows, progress)
    return [Verdict(check="execute", passed=not reason, reason=reason) for reason in reasons]
