"""Generation: what is asked for, what comes back, and that nothing is lost when a teacher errs."""

import asyncio
from typing import Any

import pytest
from fake_gateway import FakeGateway, Request, fake_client, scripted_client

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.config import CheckConfig, ScriptedConfig, TeacherConfig, TeacherModelConfig
from dataenvgym.agents.data_generator import GenerationResult, calls_for, generate
from dataenvgym.agents.feedback_reader import ErrorExample, Feedback
from dataenvgym.agents.verifier import VerificationResult, missing, verify
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.errors import TeacherError
from dataenvgym.envs.types import DataRequest, Instance, Row

REQUESTS = [
    DataRequest(id="r0", skill="addition", subskill="with carry", count=23, reason="weak", exemplars=["val/0"]),
    DataRequest(id="r1", skill="double", count=4),
    DataRequest(id="r2", skill="chain", count=0),
]
FEEDBACK = Feedback(
    iteration=3,
    structure="skill_list",
    state=True,
    budget=27,
    accuracy=0.5,
    n=2,
    correct=1,
    errors=[ErrorExample(id="val/0", skill="addition", question="What is 5 + 6?", text="12", gold="11")],
    skills=[],
    history=[],
    exemplars=[
        Instance(id=f"train/{skill}/{n}", question=f"{skill} {n}?", answer="1", skill=skill)
        for skill in ("addition", "double", "chain")
        for n in range(4)
    ],
)


def items(asked: Request) -> list[Any]:
    """As many rows as asked for, all different."""
    call = asked.prompt.text.split("Call: ")[1].split("\n")[0]
    skill = asked.prompt.text.split("Skill: ")[1].split("\n")[0]
    return [{"question": f"{skill} {call} {n}?", "solution": "s", "answer": str(n)} for n in range(wanted(asked))]


def wanted(asked: Request) -> int:
    return int(asked.prompt.text.split("Number of problems: ")[1].split()[0])


def run(
    client: Any, requests: list[DataRequest] = REQUESTS, round_number: int = 0, written: Any = ()
) -> GenerationResult:
    return asyncio.run(
        generate(requests, FEEDBACK, client, round_number=round_number, written=list(written), seed=0)
    )


def test_requests_are_cut_into_calls_that_ask_for_exactly_their_rows() -> None:
    calls = [(c.request.id, c.rows, c.batch) for c in calls_for(REQUESTS, 10)]
    assert calls == [("r0", 10, 0), ("r0", 10, 1), ("r0", 3, 2), ("r1", 4, 0)]


def test_exactly_the_rows_of_the_plan_are_asked_for() -> None:
    client, gateway = fake_client(items, TeacherConfig(rows_per_call=10))
    result = run(client)
    assert [wanted(a) for a in gateway.asked] == [10, 10, 3, 4]
    assert len(result.rows) == 27 and not result.failed
    assert len({r.id for r in result.rows}) == 27
    assert [r.skill for r in result.rows].count("addition") == 23


def test_rows_over_the_asked_number_are_rejected_with_that_reason() -> None:
    client, _ = fake_client(lambda asked: items(asked) + items(asked), TeacherConfig(rows_per_call=10))
    result = run(client)
    assert len(result.rows) == len(result.failed) == 27
    assert {f.verdicts[0].check for f in result.failed} == {"surplus"}
    assert "the call asked for 10 rows" in {f.verdicts[0].reason for f in result.failed}
    assert len({r.id for r in result.rows} | {f.row["id"] for f in result.failed}) == 54


def test_the_instances_that_the_planner_chose_are_shown_first() -> None:
    chosen = [f"train/chain/{n}" for n in range(2)]
    asked = DataRequest(id="r0", skill="double", count=4, exemplars=chosen)
    client, _ = fake_client(items)
    (made,) = {tuple(r.provenance.exemplars) for r in run(client, [asked]).rows}
    assert list(made[:2]) == chosen and made[2].startswith("train/double/")


def test_each_row_says_where_it_comes_from() -> None:
    client, gateway = fake_client(items)
    result = run(client, round_number=2)
    hashes = {a.prompt.hash for a in gateway.asked}
    assert len(hashes) == len(gateway.asked)  # no two calls are the same prompt
    for row in result.rows:
        made = row.provenance
        assert (made.iteration, made.round, made.model) == (3, 2, "scripted")
        assert made.prompt == "math/generate_rows" and made.prompt_hash in hashes
        assert made.request == {"addition": "r0", "double": "r1"}[row.skill]
        assert row.subskill == {"r0": "with carry", "r1": ""}[made.request]
        train = [e for e in made.exemplars if e.startswith("train/")]
        assert len(train) == 3 and all(e.startswith(f"train/{row.skill}/") for e in train)
        assert ("val/0" in made.exemplars) == (made.request == "r0")


def test_what_a_row_is_written_from_stands_in_its_prompt() -> None:
    client, gateway = fake_client(items)
    first = run(client)
    run(client, round_number=1, written=first.rows)
    text = gateway.asked[0].prompt.text
    assert all(part in text for part in ("addition", "with carry", "weak", "What is 5 + 6?", "Correct: 11"))
    assert "What is 5 + 6?" not in next(a for a in gateway.asked if "Skill: double" in a.prompt.text).prompt.text
    refill = gateway.asked[-1].prompt.text
    assert "round 1" in refill
    assert sum(r.question in refill for r in first.rows if r.skill == "double") == 4
    assert not any(r.question in refill for r in first.rows if r.skill == "addition")


def test_all_calls_are_made_at_the_same_time() -> None:
    client, _ = fake_client(items, TeacherConfig(rows_per_call=2))
    calls = len(calls_for(REQUESTS, 2))
    done: list[tuple[int, int]] = []

    async def main() -> GenerationResult:
        together = asyncio.Barrier(calls)  # passes only when every call has begun

        class Together(FakeGateway):
            async def items(self, *args: Any, **kwargs: Any) -> Any:
                await together.wait()
                return await super().items(*args, **kwargs)

        waiting = client._replace(gateway=Together(items, client.config))
        return await generate(
            REQUESTS, FEEDBACK, waiting, round_number=0, written=[], seed=0, progress=lambda *now: done.append(now)
        )

    assert len(asyncio.run(main()).rows) == 27
    assert done == [(n, calls) for n in range(1, calls + 1)]


def test_a_failed_call_is_a_record_and_the_other_calls_keep_their_rows() -> None:
    def reply(asked: Request) -> list[Any]:
        if "batch 1" in asked.prompt.text:
            raise TeacherError("the server said 400: content filter")
        return items(asked)

    client, _ = fake_client(reply, TeacherConfig(rows_per_call=10))
    result = run(client)
    assert len(result.rows) == 17
    assert [r.row for r in result.failed] == [{"request": "r0", "skill": "addition", "rows": 10, "batch": 1}]
    assert "content filter" in result.failed[0].verdicts[0].reason
    assert sum(r.count for r in missing(REQUESTS, result.rows)) == 10


def test_a_server_that_fails_every_call_is_an_error() -> None:
    def refuse(asked: Request) -> list[Any]:
        raise TeacherError("401: wrong key")

    client, _ = fake_client(refuse)
    with pytest.raises(TeacherError, match="wrong key"):
        run(client)


def test_a_fault_that_is_no_teachers_is_not_hidden() -> None:
    def broken(asked: Request) -> list[Any]:
        raise RuntimeError("a bug")

    client, _ = fake_client(broken)
    with pytest.raises(RuntimeError):
        run(client)


def test_items_that_are_no_rows_are_kept_with_the_reason() -> None:
    client, _ = fake_client(lambda asked: [{"question": "What is 1 + 1?"}, *items(asked)[1:]])
    result = run(client, [DataRequest(id="r0", skill="addition", count=5)])
    assert len(result.rows) == 4 and len(result.failed) == 1
    failed = result.failed[0]
    assert "1 + 1" in failed.row["raw"] and failed.row["provenance"]["request"] == "r0"
    assert failed.verdicts[0].check == "schema" and "answer" in failed.verdicts[0].reason


def test_nothing_to_do_makes_no_call() -> None:
    client, gateway = fake_client(items)
    assert run(client, []) == GenerationResult([], []) and not gateway.asked


def taught(scripted: ScriptedConfig, rounds: int = 1) -> tuple[VerificationResult, list[int]]:
    """Generation and verification with the scripted teacher, and what is missing after each round."""
    client = scripted_client(TeacherConfig(llm=TeacherModelConfig(scripted=scripted), rows_per_call=8))
    context = CheckContext(MATH, CheckConfig(), HeldOut([], 13), AcceptedQuestions(0.9))
    accepted: list[Row] = []
    rejected, short = [], []
    for number in range(rounds):
        open_requests = missing(REQUESTS, accepted)
        result = run(client, open_requests, number, accepted)
        assert len(result.rows) <= sum(r.count for r in open_requests)
        verified = asyncio.run(verify(result.rows, context))
        assert len(verified.accepted) + len(verified.rejected) == len(result.rows)
        accepted += verified.accepted
        rejected += [*result.failed, *verified.rejected]
        short.append(sum(r.count for r in missing(REQUESTS, accepted)))
    assert all(not r.verdicts[-1].passed and r.verdicts[-1].reason for r in rejected)
    return VerificationResult(accepted, rejected), short


def test_a_faultless_teacher_fills_the_plan() -> None:
    result, short = taught(ScriptedConfig())
    assert len(result.accepted) == 27 and not result.rejected and short == [0]


def test_a_teacher_that_repeats_itself_is_caught_and_refilled() -> None:
    result, short = taught(ScriptedConfig(duplicate=0.4), rounds=3)
    assert {r.verdicts[-1].check for r in result.rejected} == {"duplicate"}
    assert all("same as" in r.verdicts[-1].reason for r in result.rejected)
    assert short[0] > 0 and short == sorted(short, reverse=True) and short[-1] < short[0]
    assert len(result.accepted) == 27 - short[-1]


def test_a_teacher_that_leaves_rows_out_is_refilled() -> None:
    result, short = taught(ScriptedConfig(drop=0.5), rounds=4)
    assert short[0] > 0 and short[-1] < short[0]
    assert len(result.accepted) == 27 - short[-1]
    assert all("empty reply" in r.verdicts[-1].reason for r in result.rejected)  # a reply that left out all


def test_a_teacher_whose_replies_break_off_leaves_records() -> None:
    result, _ = taught(ScriptedConfig(malformed=1.0))
    assert {r.verdicts[-1].check for r in result.rejected} == {"schema"}
    assert all("provenance" in r.row for r in result.rejected)
    assert len(result.accepted) < 27


def test_wrong_answers_pass_since_no_solve_rowss_the_problem() -> None:
    """On record: the scripted teacher changes the answer and leaves the working; `answer` reads it back well."""
    right, wrong = taught(ScriptedConfig())[0], taught(ScriptedConfig(wrong_answer=1.0))[0]
    assert [r.question for r in wrong.accepted] == [r.question for r in right.accepted]
    assert not any(MATH.equal(a.answer, b.answer) for a, b in zip(right.accepted, wrong.accepted, strict=True))
