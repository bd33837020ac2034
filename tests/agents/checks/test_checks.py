"""The checks on generated rows, and the verifier that runs them."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import LONG, context, one, row, verify

from dataenvgym.agents.checks import CHECKS, COSTS, Check, CheckContext
from dataenvgym.agents.checks.format import LONGEST
from dataenvgym.agents.config import CheckConfig
from dataenvgym.agents.verifier import missing
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.types import DataRequest, Row, Verdict


@settings(max_examples=30)
@given(st.text(), st.text())
def test_no_question_breaks_the_checks(question: str, held: str) -> None:
    given_context = context(held)
    result = verify([row(question, name="a"), row(held, name="b")], given_context)
    assert len(result.accepted) + len(result.rejected) == 2


def duplicate(question: str, *before: str, similarity: float = 0.9) -> str | None:
    given_context = context(similarity=similarity)
    for number, earlier in enumerate(before):
        given_context.seen.add(f"row-{number}", earlier)
    verdict = one("duplicate", row(question), given_context)
    return None if verdict.passed else verdict.reason


def test_an_exact_repeat_is_a_duplicate_whatever_its_case_and_spacing() -> None:
    reason = duplicate("what is 47+85", "What is 3 + 4?", "What is 47 + 85?")
    assert reason is not None and "row-1" in reason and "What is 47 + 85?" in reason


@pytest.mark.parametrize("similarity", [0.5, 0.8, 0.9, 1.0])
def test_the_similarity_of_the_config_is_the_limit(similarity: float) -> None:
    words = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(120)]
    held = " ".join(words)
    for changed in range(1, 45, 4):
        other = " ".join([*words[: 120 - changed], *(f"x{w}" for w in words[120 - changed :])])
        shared, total = 118 - changed, 118 + changed
        found = duplicate(other, held, similarity=similarity) is not None
        if shared / total < similarity:
            assert not found  # never below it
        elif shared / total > similarity + 0.05:
            assert found  # MinHash proposes candidates with chance; at this distance it misses none of these


def test_the_same_problem_in_slightly_other_words_is_a_duplicate_and_other_numbers_never() -> None:
    assert duplicate(LONG.replace("altogether", "in all"), LONG) is not None
    assert duplicate(LONG.replace("48", "46"), LONG) is None
    assert duplicate(LONG.replace("48", "46"), LONG, similarity=0.3) is None
    assert duplicate("What is 47 + 58?", "What is 47 + 85?") is None
    assert duplicate("How many minutes are 3 hours?", "What is 3 + 3?") is None


def test_format_rejects_empty_and_overlong_rows() -> None:
    assert one("format", row("What is 1 + 1?"), context()).passed
    for bad in (row(" "), row("q", answer="  "), row("q" * (LONGEST + 1)), row("q", solution="s" * LONGEST)):
        verdict = one("format", bad, context())
        assert not verdict.passed and verdict.reason


@pytest.mark.parametrize("answer", ["", "**", ".", "*5*", "\\boxed{5} \\boxed{6}"])
def test_the_answer_check_rejects_what_the_scorer_cannot_read_back(answer: str) -> None:
    verdict = one("answer", row("q", answer=answer), context())
    assert not verdict.passed and repr(answer) in verdict.reason


def test_the_answer_check_accepts_what_reads_back() -> None:
    assert one("answer", row("What is 47 + 85?"), context()).passed


def test_the_answer_check_cannot_see_a_wrong_answer_that_reads_well() -> None:
    """Its limit, on record: a row's answer is its own gold, and the working is not compared with it."""
    assert one("answer", row("What is 47 + 85?", answer="139", solution="47 + 85 = 132"), context()).passed


def test_checks_run_in_the_order_of_the_config_up_to_the_first_failure() -> None:
    names = ["contamination", "duplicate", "answer", "format"]
    given_context = context("What is 47 + 85?", names=names)
    given_context.seen.add("earlier", "What is 47 + 85?")
    result = verify([row("What is 47 + 85?"), row("What is 2 + 3?", answer=" ")], given_context)
    assert [[v.check for v in r.verdicts] for r in result.rejected] == [["contamination"], names[:3]]
    given_context.config = CheckConfig.model_validate({"names": ["duplicate", "contamination"]})
    result = verify([row("What is 47 + 85?")], given_context)
    assert [v.check for v in result.rejected[0].verdicts] == ["duplicate"]
    given_context.config = CheckConfig.model_validate({"names": []})
    assert len(verify([row("What is 47 + 85?")], given_context).accepted) == 1


@settings(max_examples=40)
@given(
    st.lists(
        st.sampled_from(["What is 47 + 85?", "What is 1 + 2?", "what is 1+2", "What is 3 + 4?", " "]), max_size=9
    )
)
def test_the_verifier_keeps_every_row_with_its_reason(questions: list[str]) -> None:
    rows = [row(q, name=f"r{n}") for n, q in enumerate(questions)]
    result = verify(rows, context("What is 47 + 85?"))
    kept = [r.id for r in result.accepted] + [str(r.row["id"]) for r in result.rejected]
    assert sorted(kept) == sorted(r.id for r in rows)
    assert all(not r.verdicts[-1].passed and r.verdicts[-1].reason for r in result.rejected)
    assert all(v.passed for r in result.rejected for v in r.verdicts[:-1])
    assert all(Row.model_validate(r.row) in rows for r in result.rejected)
    assert len({r.question.casefold().replace(" ", "") for r in result.accepted}) == len(result.accepted)


def test_missing_counts_the_accepted_rows_of_each_request() -> None:
    requests = [DataRequest(id="r0", skill="a", count=3), DataRequest(id="r1", skill="a", count=1)]
    accepted = [row("q", name=f"{n}", request=r) for n, r in enumerate(["r0", "r1", "r1"])]
    assert [(r.id, r.count) for r in missing(requests, accepted)] == [("r0", 2)]
    assert missing(requests, []) == requests


async def knows_sums(prompts: Sequence[str]) -> list[str]:
    """A student that gets 47 + 85 right, and nothing else."""
    return ["Answer: 132" if "47 + 85" in prompt else "Answer: 0" for prompt in prompts]


@pytest.mark.parametrize(("known", "kept"), [("keep", ["a", "b"]), ("drop", ["b"])])
def test_rows_the_student_answers_already_are_marked_and_dropped_when_asked(known: str, kept: list[str]) -> None:
    given_context = context(names=["student"], student_known=known)
    given_context.student = knows_sums
    result = verify([row("What is 47 + 85?", name="a"), row("What is 47 + 58?", "105", name="b")], given_context)
    assert [r.id for r in result.accepted] == kept
    assert {r.id: r.extra["known"] for r in result.accepted} == {n: n == "a" for n in kept}
    assert all("answers it already" in r.verdicts[-1].reason for r in result.rejected)


def test_a_check_that_needs_a_student_or_a_model_says_so() -> None:
    for name in ("student", "solve"):
        with pytest.raises(ConfigError, match=name):
            verify([row("What is 47 + 85?")], context(names=[name]))


def test_dear_checks_see_only_what_the_cheap_ones_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[str]] = {}

    def noting(name: str, cost: Any, refused: str) -> Check:
        async def judge(rows: Sequence[Row], given_context: CheckContext) -> list[Verdict]:
            seen[name] = [r.id for r in rows]
            return [Verdict(check=name, passed=r.id != refused, reason="no") for r in rows]

        return Check(name, cost, "", rows=judge)

    monkeypatch.setitem(CHECKS, "solve", noting("solve", "llm", "c"))
    monkeypatch.setitem(CHECKS, "student", noting("student", "student", "b"))
    rows = [row(" ", name="a"), *(row(f"What is {n} + 1?", name=n) for n in "bcd")]
    result = verify(rows, context(names=["solve", "student", "format"]))
    assert list(seen) == ["student", "solve"] and seen == {"student": ["b", "c", "d"], "solve": ["c", "d"]}
    assert [r.id for r in result.accepted] == ["d"]
    assert [[v.check for v in r.verdicts] for r in result.rejected] == [
        ["format"],
        ["format", "student"],
        ["format", "student", "solve"],
    ]


def test_a_duplicate_of_a_row_that_a_dear_check_rejects_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def judge(rows: Sequence[Row], given_context: CheckContext) -> list[Verdict]:
        return [Verdict(check="solve", passed=r.answer == "132", reason="no solution agrees") for r in rows]

    monkeypatch.setitem(CHECKS, "solve", Check("solve", "llm", "", rows=judge))
    answers = {"a": "1", "b": "2", "c": "132", "d": "132"}
    rows = [row("What is 47 + 85?", answer, name=name) for name, answer in answers.items()]
    result = verify(rows, context(names=["duplicate", "solve"]))
    assert [r.id for r in result.accepted] == ["c"]
    assert {r.row["id"]: r.verdicts[-1].check for r in result.rejected} == {
        "a": "solve",
        "b": "solve",
        "d": "duplicate",
    }
    assert result.rejected[-1].verdicts[-1].reason.startswith("same as c")


def test_every_check_of_the_config_is_registered_and_says_what_it_does() -> None:
    assert all(name == check.name for name, check in CHECKS.items())
    assert all(check.summary and check.cost in COSTS for check in CHECKS.values())
    with pytest.raises(ValueError, match="of the kind that is called"):
        Check("mine", "sandbox", "no function", row=CHECKS["format"].row)
