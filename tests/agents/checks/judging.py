"""A row, what it is compared with, and the verdict of one check: what the tests of the checks share."""

import asyncio
from collections.abc import Sequence

from dataenvgym.agents import verifier
from dataenvgym.agents.checks import CHECKS, CheckContext
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.config import CheckConfig
from dataenvgym.agents.verifier import VerificationResult
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.types import Instance, Provenance, Row, Verdict

LONG = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
    "Her brother, who had started a month before her, sold clips to 72 of his own friends. "
    "How many clips did the two of them sell altogether?"
)


def row(
    question: str,
    answer: str = "132",
    solution: str = "47 + 85 = 132",
    name: str = "r",
    request: str = "r0",
    **extra: object,
) -> Row:
    made = Provenance(iteration=1, request=request, model="m", prompt="p", prompt_hash="0")
    return Row(
        id=name,
        question=question,
        solution=solution,
        answer=answer,
        skill="addition",
        provenance=made,
        extra=extra,
    )


def context(*held_out: str, **config: object) -> CheckContext:
    checks = CheckConfig.model_validate(config)
    instances = [Instance(id=f"val/{n}", question=q, answer="1") for n, q in enumerate(held_out)]
    return CheckContext(MATH, checks, HeldOut(instances, checks.overlap), AcceptedQuestions(checks.similarity))


def verify(rows: Sequence[Row], given_context: CheckContext) -> VerificationResult:
    return asyncio.run(verifier.verify(rows, given_context))


def one(check: str, judged: Row, given_context: CheckContext) -> Verdict:
    judge = CHECKS[check].row
    assert judge is not None
    return judge(judged, given_context)
