"""Data generator: ask the model for the rows of a plan, all calls at the same time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient, gather_with_progress
from dataenvgym.agents.llm.gateway import fruitless
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.errors import BudgetReachedError, FruitlessError, TeacherError
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import DataRequest, Instance, Progress, Provenance, Rejected, Row, Verdict

# Questions of the same request shown as "already written", to avoid repetitions.
AVOIDED = 10
# Check names of records that are not rows: malformed items, and calls that failed or exceeded a cap.
NO_ROW = ("schema", "call", "budget")


class GenerationResult(NamedTuple):
    """The result of a round of generation. `failed`: items and whole calls that gave no row, with reasons.

    `stopped`: the cap that prevented some of the calls, or None.
    """

    rows: list[Row]
    failed: list[Rejected]
    stopped: str | None = None


class Call(NamedTuple):
    """A call for some rows of one request."""

    request: DataRequest
    rows: int
    batch: int


def calls_for(requests: Sequence[DataRequest], rows_per_call: int) -> list[Call]:
    """Split the requests into calls of at most `rows_per_call` rows."""
    return [
        Call(request, min(rows_per_call, request.count - start), batch)
        for request in requests
        for batch, start in enumerate(range(0, request.count, rows_per_call))
    ]


async def generate(
    requests: Sequence[DataRequest],
    feedback: Feedback,
    client: TeacherClient,
    *,
    round_number: int,
    written: Sequence[Row],
    seed: int,
    progress: Progress | None = None,
) -> GenerationResult:
    """Generate candidate rows for the requests, unverified. A failed call becomes a record in `failed`.

    Args:
        requests: the requests of this round; in a refill round, only the missing rows.
        written: rows accepted so far in this iteration; some are shown so that they are not repeated.
        round_number: 0, then one per refill round.

    Raises:
        TeacherError: every call failed, because the server cannot be reached or refuses.
        FruitlessError: no call of an iteration gave a valid row.
    """
    calls = calls_for(requests, client.config.rows_per_call)
    errors: list[TeacherError] = []

    async def one(call: Call) -> GenerationResult:
        try:
            result = await _call(call, feedback, client, round_number, written, seed)
        except FruitlessError:
            raise
        except TeacherError as error:
            errors.append(error)
            result = GenerationResult([], [_failed_call(call, "call", str(error))])
        except BudgetReachedError as error:
            result = GenerationResult([], [_failed_call(call, "budget", str(error))], str(error))
        return result

    results = await gather_with_progress([one(call) for call in calls], progress)
    if errors and len(errors) == len(calls):
        raise errors[0]
    if calls and not written and not any(r.rows or r.stopped for r in results):
        last = next((f for r in results for f in r.failed), None)
        reason = last.verdicts[-1].reason if last else "empty replies"
        sample = str(last.row.get("raw", "")) if last else ""
        raise FruitlessError(fruitless(client.gateway.config.model, client.node, len(calls), reason, sample))
    return GenerationResult(
        rows=[row for r in results for row in r.rows],
        failed=[f for r in results for f in r.failed],
        stopped=next((r.stopped for r in results if r.stopped), None),
    )


async def _call(
    call: Call, feedback: Feedback, client: TeacherClient, round_number: int, written: Sequence[Row], seed: int
) -> GenerationResult:
    request = call.request
    iteration = feedback.iteration
    rng = random.Random(f"generate/{seed}/{iteration}/{request.id}/{round_number}/{call.batch}")
    exemplars = _exemplars(request, feedback, client.config.exemplars_shown, rng)
    errors = [e for e in feedback.errors if e.id in set(request.exemplars)]
    errors = rng.sample(errors, min(client.config.errors_per_skill, len(errors)))
    avoid = [r.question for r in written if r.provenance.request == request.id][-AVOIDED:]
    prompt = client.prompt(
        "generate_rows",
        skill=request.skill,
        subskill=request.subskill,
        count=call.rows,
        reason=request.reason,
        exemplars=[exemplar(item, client.domain) for item in exemplars],
        errors=[e.model_dump() for e in errors],
        avoid=avoid,
        answer_format=client.domain.instruction,
        round=round_number,
        batch=call.batch,
    )
    answer = await client.items(prompt, client.domain.row_model, sample=call.batch)
    provenance = Provenance(
        iteration=iteration,
        request=request.id,
        round=round_number,
        model=client.gateway.config.model,
        prompt=prompt.name,
        prompt_hash=prompt.hash,
        exemplars=[i.id for i in exemplars] + [e.id for e in errors],
    )
    rows = [
        _row(f"{iteration:03d}-{request.id}-{round_number}-{call.batch}-{number}", item, request, provenance)
        for number, item in enumerate(answer.valid)
    ]
    surplus = [
        Rejected(
            row=row.model_dump(),
            verdicts=[
                Verdict(check="surplus", passed=False, reason=f"the call asked for {counted(call.rows, 'row')}")
            ],
        )
        for row in rows[call.rows :]
    ]
    failed = [
        Rejected(
            row={"raw": failure.raw, "provenance": provenance.model_dump()},
            verdicts=[Verdict(check="schema", passed=False, reason=failure.reason)],
        )
        for failure in answer.failures
    ]
    return GenerationResult(rows[: call.rows], [*failed, *surplus])


def exemplar(item: Instance, domain: Domain) -> dict[str, Any]:
    """Return the fields of an instance that prompts show."""
    texts = {"id": item.id, "question": item.question, "solution": item.solution, "answer": item.answer}
    return {**texts, **domain.show(item)}


def _failed_call(call: Call, check: str, reason: str) -> Rejected:
    record = {"request": call.request.id, "skill": call.request.skill, "rows": call.rows, "batch": call.batch}
    return Rejected(row=record, verdicts=[Verdict(check=check, passed=False, reason=reason)])


def _exemplars(request: DataRequest, feedback: Feedback, count: int, rng: random.Random) -> list[Instance]:
    """The train instances that the planner chose, then a sample of those of the request's skill; of any skill if
    the data has no skills."""
    chosen = [i for i in feedback.exemplars if i.id in set(request.exemplars)][:count]
    same = [i for i in feedback.exemplars if i.skill == request.skill] or feedback.exemplars
    pool = [i for i in same if i not in chosen]
    return chosen + rng.sample(pool, min(count - len(chosen), len(pool)))


def _row(name: str, item: BaseModel, request: DataRequest, provenance: Provenance) -> Row:
    fields: dict[str, Any] = item.model_dump()
    return Row(
        id=name,
        question=fields.pop("question"),
        solution=fields.pop("solution"),
        answer=fields.pop("answer"),
        skill=request.skill,
        subskill=request.subskill,
        extra=fields,
        provenance=provenance,
    )
