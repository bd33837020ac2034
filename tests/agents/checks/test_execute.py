"""The checks on rows of code: `execute` runs them, `solve` runs what a model writes anew."""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from fake_gateway import FakeGateway, Request

from dataenvgym.agents.checks import CHECKS, COSTS, CheckContext, configured
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.checks.format import LONGEST
from dataenvgym.agents.checks.solve import solve_rows
from dataenvgym.agents.config import CheckConfig, TeacherConfig
from dataenvgym.agents.data_generator import generate
from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.verifier import VerificationResult, verify
from dataenvgym.envs.domains.base import Mark
from dataenvgym.envs.domains.code import sandbox
from dataenvgym.envs.domains.code.domain import LONGEST_TEST, TESTS_SHOWN, CodeOptions, code_domain
from dataenvgym.envs.domains.code.sandbox.types import CallTest, Judgement, Program, TestResult
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.types import DataRequest, Instance, Provenance, Row

CODE = code_domain(CodeOptions(), lambda item: f"Write Python code.\n{item.question}")
ADD = "def add(a, b):\n    return a + b"
TESTS = [{"input": "1\n2", "output": "3"}, {"input": "5\n6", "output": "secret 11"}]


class Ran(NamedTuple):
    programs: list[Program]
    thread: int


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Ran]:
    """Each use of the sandbox. What stands for it passes the programs whose text has a plus sign."""
    calls: list[Ran] = []

    def judge(programs: Sequence[Program], **settings: Any) -> list[Judgement]:
        calls.append(Ran(list(programs), threading.get_ident()))
        passed = ["+" in program.code for program in programs]
        results = [
            TestResult(status="passed" if good else "failed", detail="" if good else "no") for good in passed
        ]
        return [Judgement(results=(r,), passed=p) for r, p in zip(results, passed, strict=True)]

    monkeypatch.setattr(sandbox, "judge", judge)
    return calls


def row(name: str = "a", answer: str = ADD, **extra: Any) -> Row:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    tests = [{"input": "1\n2", "output": "3"}, {"input": "5\n6", "output": "11"}]
    return Row(
        id=name,
        question=f"Write a function add(a, b), problem {name}.",
        solution="",
        answer=answer,
        skill="s",
        extra={"starter": "def add(a, b):", "tests": tests, **extra},
        provenance=made,
    )


def checked(rows: Sequence[Row], **config: Any) -> VerificationResult:
    checks = CheckConfig.model_validate(config)
    return asyncio.run(verify(rows, CheckContext(CODE, checks, HeldOut([], 13), AcceptedQuestions(0.9))))


def client(*replies: list[Any], **checks: Any) -> tuple[TeacherClient, FakeGateway]:
    config = TeacherConfig.model_validate({"checks": {"solve_samples": len(replies), **checks}})
    gateway = FakeGateway(lambda asked: replies[asked.sample], config)
    return TeacherClient(gateway, CODE, config, "test", 1), gateway  # type: ignore[arg-type]


def test_programs_are_run_by_default_and_all_rows_at_once(ran: list[Ran]) -> None:
    found = checked([row("a"), row("b", "def add(a, b): return 3"), row("c")])
    assert [r.id for r in found.accepted] == ["a", "c"]
    (refused,) = found.rejected
    assert [v.check for v in refused.verdicts] == ["format", "answer", "duplicate", "contamination", "execute"]
    assert refused.verdicts[-1].reason == "the answer does not pass its own tests: test 1: failed: no"
    assert len(ran) == 1


def test_they_are_run_beside_the_event_loop(ran: list[Ran]) -> None:
    checked([row()])
    assert ran[0].thread != threading.get_ident()


def test_only_rows_that_passed_the_free_checks_are_run(ran: list[Ran]) -> None:
    checked([row("a"), row("b", " ")])
    assert ADD in [p.code for p in ran[0].programs]
    assert not [p for p in ran[0].programs if not p.code.strip()]
    checked([row("b", " ")])
    assert len(ran) == 1


def test_a_domain_with_nothing_to_run_has_no_such_check() -> None:
    config = CheckConfig()
    names = {d.name: [c.name for cost in COSTS for c in configured(config, d, cost)] for d in (MATH, CODE)}
    assert names["code"] == [*names["math"], "execute"]
    context = CheckContext(MATH, config, HeldOut([], 13), AcceptedQuestions(0.9))
    execute = CHECKS["execute"].rows
    assert execute is not None
    with pytest.raises(ConfigError, match=r"execute.*math"):
        asyncio.run(execute([row()], context))


def test_the_length_of_the_answer_counts(ran: list[Ran]) -> None:
    found = checked([row(answer="+" * LONGEST)])
    assert found.rejected[0].verdicts[-1].check == "format"


def test_rows_with_tests_that_cannot_be_read_are_rejected_by_whatever_check_runs_first(ran: list[Ran]) -> None:
    bad = row(tests=[{"input": "x", "output": "no json"}])
    assert "expected JSON" in checked([bad]).rejected[0].verdicts[-1].reason

    async def says(prompts: Sequence[str]) -> list[str]:
        return [f"```python\n{ADD}\n```" for _ in prompts]

    context = CheckContext(
        CODE, CheckConfig(names=["student", "execute"]), HeldOut([], 13), AcceptedQuestions(0.9), student=says
    )
    found = asyncio.run(verify([bad, row("b")], context))
    assert [(r.id, r.extra["known"]) for r in found.accepted] == [("b", True)]
    assert [v.check for v in found.rejected[0].verdicts] == ["student", "execute"]


# --- a second solution ---


def test_a_second_solution_agrees_when_it_passes_the_tests(ran: list[Ran]) -> None:
    good, other = {"id": "p1", "answer": "def add(a, b):\n    return b + a"}, {"id": "p1", "answer": "pass"}
    (verdict,) = asyncio.run(solve_rows([row()], client([good], [good], [other])[0]))
    assert verdict.passed
    (verdict,) = asyncio.run(solve_rows([row()], client([good], [other], [other])[0]))
    assert not verdict.passed
    assert "2 of 3 solutions" in verdict.reason
    assert [len(use.programs) for use in ran] == [3, 3]


def test_where_programs_are_run_a_reason_says_what_failed_and_holds_no_program() -> None:
    def mark(items: Sequence[Any], answers: Sequence[str], _: Any) -> list[Mark]:
        return [Mark(False, "test 2: failed: add(1, 2): expected 3, got 4") for _ in answers]

    asking, _ = client([{"id": "p1", "answer": "pass"}], solve_samples=1)
    asking = asking._replace(domain=replace(CODE, mark=mark))
    (verdict,) = asyncio.run(solve_rows([row()], asking))
    assert verdict.reason == "1 of 1 solutions do not pass, e.g. test 2: failed: add(1, 2): expected 3, got 4"


def test_the_solutions_are_kept_as_texts_without_a_fence(ran: list[Ran]) -> None:
    reply = [{"id": "p1", "answer": f"```python\n{ADD}\n```"}]
    (verdict,) = asyncio.run(solve_rows([row()], client(reply)[0]))
    assert verdict.marks == {"solutions": [ADD]}
    assert json.loads(verdict.model_dump_json())["marks"] == verdict.marks
    assert ran[0].thread != threading.get_ident()


def test_who_solves_sees_the_question_and_the_starter_and_no_result(ran: list[Ran]) -> None:
    asking, gateway = client([])
    asyncio.run(solve_rows([row(tests=TESTS, answer="hidden = 1")], asking))
    text = gateway.asked[0].prompt.text
    assert "problem a." in text
    assert "Starter: def add(a, b):" in text
    assert "secret" not in text
    assert "hidden" not in text


# --- what the writer of rows is shown and gives ---


def written(exemplar: Instance, reply: dict[str, Any]) -> tuple[Request, list[Row]]:
    asking, gateway = client([reply])
    feedback = Feedback(
        iteration=1,
        structure="open_ended",
        state=True,
        budget=1,
        accuracy=None,
        n=0,
        correct=0,
        errors=[],
        skills=[],
        history=[],
        exemplars=[exemplar],
    )
    requests = [DataRequest(id="r0", skill="adding", count=1)]
    made = asyncio.run(generate(requests, feedback, asking, round_number=0, written=[], seed=0))
    assert not made.failed
    return gateway.asked[0], made.rows


REPLY = {"question": "Add.", "starter": "def add(a, b):", "tests": [{"input": "1\n2", "output": 3}], "answer": ADD}


def test_exemplars_are_shown_with_their_starter_and_a_few_short_tests() -> None:
    tests = [{"input": "x" * 10 * LONGEST_TEST, "output": "huge"}]
    tests += [{"input": f"{n}\n2", "output": f"result-{n}"} for n in range(9)]
    extra = {"starter": "def plus(a, b):", "entry": "plus", "tests": tests}
    asked, _ = written(Instance(id="train/1", question="Q?", answer=ADD, extra=extra), REPLY)
    assert "Starter: def plus(a, b):" in asked.prompt.text
    assert asked.prompt.text.count("Output: result-") == TESTS_SHOWN
    assert "huge" not in asked.prompt.text
    assert "Correct:\n    def add(a, b):\n        return a + b\n" in asked.prompt.text, "all lines equally far in"


def test_an_exemplar_without_a_gold_program_shows_none() -> None:
    asked, _ = written(Instance(id="train/1", question="Q?", answer=""), REPLY)
    assert "[train/1] Q: Q?" in asked.prompt.text
    assert "Correct:" not in asked.prompt.text


def test_a_row_keeps_its_starter_and_its_tests_and_can_be_run(ran: list[Ran]) -> None:
    _, rows = written(Instance(id="train/1", question="Q?", answer=ADD), REPLY)
    assert rows[0].extra == {"starter": "def add(a, b):", "tests": [{"input": "1\n2", "output": "3"}]}
    CODE.marks(rows, [ADD])
    (program,) = ran[0].programs
    assert (program.entry, program.tests) == ("add", (CallTest(args=[1, 2], expected=3),))
