"""The `solve` check: most of several solutions, made without sight of the answer, agree with it."""

import asyncio
import re
from typing import Any

import pytest
from fake_gateway import Request, fake_client, scripted_client
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.checks.solve import solve_rows
from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.verifier import VerificationResult, verify
from dataenvgym.envs.domains.math.curriculum import solve
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem
from dataenvgym.envs.errors import BudgetReachedError, TeacherError
from dataenvgym.envs.types import Provenance, Row, Verdict


def row(question: str, answer: str, name: str = "r") -> Row:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    return Row(id=name, question=question, solution="secret working", answer=answer, skill="s", provenance=made)


def config(**checks: Any) -> TeacherConfig:
    return TeacherConfig.model_validate({"checks": {"names": ["solve"], **checks}})


def judged(replies: list[list[Any]], *rows: Row, **checks: Any) -> list[Verdict]:
    """Verdicts when sample n of a call gets `replies[n]`."""
    client, _ = fake_client(lambda asked: replies[asked.sample], config(solve_samples=len(replies), **checks))
    return asyncio.run(solve_rows(rows, client))


def votes(*answers: str) -> list[list[Any]]:
    return [[{"id": "p1", "answer": answer}] for answer in answers]


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        (["1/2", "0.5", "7"], True),
        (["7", "7", "1/2"], False),
        (["7", "8", "1/2"], False),
        (["7", "1/2"], False),
        (["1/2"], True),
    ],
)
def test_the_majority_decides_by_the_tasks_own_scorer(answers: list[str], passes: bool) -> None:
    (verdict,) = judged(votes(*answers), row("Half of one?", "\\frac{1}{2}"))
    assert (verdict.check, verdict.passed) == ("solve", passes)
    if not passes:
        assert "'7'" in verdict.reason and "'\\\\frac{1}{2}'" in verdict.reason


def test_its_calls_are_counted_as_they_end() -> None:
    client, _ = fake_client(lambda asked: [{"id": "p1", "answer": "5"}], config(solve_samples=3, solve_per_call=1))
    told: list[tuple[str, int, int]] = []
    rows = [row("2 + 3?", "5", "a"), row("1 + 4?", "5", "b")]
    asyncio.run(solve_rows(rows, client, lambda *now: told.append(now)))
    assert told == [("calls for solutions", done, 6) for done in range(1, 7)]


def test_a_sample_has_one_vote_and_unknown_ids_none() -> None:
    stuffed = [{"id": "p1", "answer": "7"}, *({"id": "p1", "answer": "5"} for _ in range(9))]
    replies = [stuffed, votes("7")[0], [{"id": "p9", "answer": "5"}]]
    assert not judged(replies, row("2 + 3?", "5"))[0].passed
    (verdict,) = judged([[], []], row("2 + 3?", "5"))
    assert (verdict.passed, verdict.reason) == (False, "no solution came back")


def test_answers_are_not_shown_and_rows_share_calls() -> None:
    rows = [row(f"What is {n} + 1?", str(n + 1), f"001-plan-{n}") for n in range(7)]

    def reply(asked: Request) -> list[Any]:
        shown = re.findall(r"\[(p\d+)\] Q: What is (\d+)", asked.prompt.text)
        return [{"id": name, "answer": str(int(n) + 1)} for name, n in shown]

    client, gateway = fake_client(reply, config(solve_samples=2, solve_per_call=3))
    assert all(v.passed for v in asyncio.run(solve_rows(rows, client)))
    assert len(gateway.asked) == 6 and {a.sample for a in gateway.asked} == {0, 1}
    assert not any("secret" in a.prompt.text or "001-plan" in a.prompt.text for a in gateway.asked)
    assert len({a.prompt.text for a in gateway.asked}) == 6


def test_a_cap_ends_the_check_and_rejects_no_row() -> None:
    def reply(asked: Request) -> list[Any]:
        raise BudgetReachedError("budget of 3 calls used")

    client, _ = fake_client(reply, config())
    with pytest.raises(BudgetReachedError, match="budget of 3 calls used"):
        asyncio.run(solve_rows([row("2 + 3?", "5")], client))


def test_a_call_that_fails_vouches_for_nothing() -> None:
    def reply(asked: Request) -> list[Any]:
        raise TeacherError("status 500")

    client, _ = fake_client(reply, config())
    (verdict,) = asyncio.run(solve_rows([row("2 + 3?", "5")], client))
    assert not verdict.passed and "status 500" in verdict.reason


def check(rows: list[Row], teacher: TeacherConfig) -> VerificationResult:
    context = CheckContext(MATH, teacher.checks, HeldOut([], 13), AcceptedQuestions(0.9), scripted_client(teacher))
    return asyncio.run(verify(rows, context))


def test_it_runs_only_where_it_is_asked_for() -> None:
    good, bad = row("What is 47 + 85?", "132", "a"), row("What is 47 + 58?", "99", "b")
    assert check([good, bad], TeacherConfig()).accepted == [good, bad]
    found = check([good, bad], config())
    assert [r.id for r in found.accepted] == ["a"] and found.accepted[0].extra == {"solutions": ["132"] * 3}
    (refused,) = found.rejected
    assert refused.row["id"] == "b" and "'105'" in refused.verdicts[0].reason


def test_a_row_that_brings_its_solutions_is_judged_by_them_unasked() -> None:
    client, gateway = fake_client(lambda asked: [], config(solve_samples=2))
    stored = [
        row("2 + 3?", "5", "a").model_copy(update={"extra": {"solutions": ["5", "5", "7"]}}),
        row("2 + 3?", "7", "b").model_copy(update={"extra": {"solutions": ["5", "5"]}}),
    ]
    assert [v.passed for v in asyncio.run(solve_rows(stored, client))] == [True, False] and not gateway.asked
    for few in ([], ["5"], "55", None, [5, 5]):
        asyncio.run(solve_rows([stored[0].model_copy(update={"extra": {"solutions": few}})], client))
    assert len(gateway.asked) == 10


@given(st.sampled_from(sorted(SKILLS)), st.integers(0, 10_000))
def test_the_scripted_solver_agrees_with_the_generators(skill: str, index: int) -> None:
    drawn = problem(skill, 3, index)
    assert solve(drawn.question) == int(drawn.answer)


def test_the_scripted_solver_leaves_other_text_alone() -> None:
    assert solve("Why is the sky blue?") is None
