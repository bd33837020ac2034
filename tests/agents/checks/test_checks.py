"""The checks on generated rows, and the verifier that runs them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.agents import verifier
from dataenvgym.agents.checks import CHECKS, COSTS, Check, CheckContext
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.checks.format import LONGEST
from dataenvgym.agents.config import CheckConfig
from dataenvgym.agents.verifier import VerificationResult, missing
from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.code.tasks.functions.skills import OPENINGS, read
from dataenvgym.envs.domains.code.tasks.functions.skills import question as question_of
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import DataRequest, Instance, Provenance, Row, Verdict

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


def contaminated(question: str, *held_out: str) -> str | None:
    verdict = one("contamination", row(question), context(*held_out))
    assert verdict.check == "contamination"
    return None if verdict.passed else verdict.reason


@pytest.mark.parametrize(
    "question", ["What is 47 + 85?", "WHAT IS 47+85 ?", "  what  is\n47 +85", "What is 47 + 85"]
)
def test_a_held_out_question_is_found_in_other_case_and_spacing(question: str) -> None:
    reason = contaminated(question, "What is 3 + 4?", "What is 47 + 85?")
    assert reason is not None and "val/1" in reason and question.strip()[:4] in reason


READ = "Read the input from standard input in the following format and print one line."


def test_a_shared_form_without_numbers_is_no_copy_and_half_a_question_is() -> None:
    held = f"Takahashi has a string. Reverse the order of its words and join them with a dash. {READ}"
    other = f"Aoki has a list of towns. Find the town with the most roads, and tell its name in capitals. {READ}"
    assert contaminated(other, held) is None
    copied = f"Bob says: {held.removesuffix(READ)} Then he goes home."
    reason = contaminated(copied, held)
    assert reason is not None and "reverse the order of its words" in reason
    assert contaminated(f"{READ} There are 3 cases.", held) is None


def test_where_it_can_be_told_what_is_asked_only_that_counts() -> None:
    held = Instance(id="test/1", question="Write calculate(num): 9 times num modulo 20.", answer="1")
    asks = {held.question: "9x%20", "In f(x) give 9 times x modulo 20.": "9x%20", "In f(x) give x.": "x"}
    index = HeldOut([held], 3, asks.get)
    assert index.match("In f(x) give 9 times x modulo 20.") == ("test/1", "In f(x) give 9 times x modulo 20.")
    assert index.match("In f(x) give x.") is None
    assert index.match("Words, then: 9 times num modulo 20.") is not None, "a question of another form"


def test_a_problem_of_the_functions_task_is_known_under_any_name() -> None:
    task = load_task(TaskConfig(name="functions", val_size=1, test_size=4))
    index = HeldOut(task.test, 13, task.domain.identity)
    for item in task.test:
        found = read(item.question)
        assert found is not None
        again = found._replace(function="solve_it", arguments=("p", "q")[: len(found.arguments)])
        for opening in OPENINGS:
            match = index.match(question_of(again, opening))
            assert match is not None and match[0] == item.id
    assert not any(index.match(item.question) for item in (*task.train, *task.val))


@pytest.mark.parametrize(
    "question", ["What is 47 + 58?", "What is 47 - 85?", "What is 85 + 47?", "What is 7 + 85?"]
)
def test_the_same_form_with_other_numbers_is_another_problem(question: str) -> None:
    assert contaminated(question, "What is 47 + 85?") is None


def test_a_long_form_with_other_numbers_is_another_problem() -> None:
    assert contaminated(LONG.replace("48", "46"), LONG) is None
    assert contaminated(LONG.replace("72", "48"), LONG) is None  # no number of its own that is not shared


def test_a_copy_within_other_words_is_found_and_shown() -> None:
    for question in (f"Read this with care. {LONG}", f"{LONG} Give the total.", f"{LONG} And what is 5 + 6?"):
        reason = contaminated(question, "What is 3 + 4?", LONG)
        assert reason is not None and "val/1" in reason and "sold half as many clips in may" in reason


SHORT = "What is the capital of Peru?"  # fewer words than a run
DOCSTRING = """Return the largest number of words that a sentence of the given list of sentences has in it.
>>> most_words(["a b c", "d e"])
3
"""


def overlap_of(judged: Row, *held_out: str) -> str:
    """What a kept row is marked with; "" for nothing."""
    verdict = one("contamination", judged, context(*held_out))
    assert verdict.passed and verdict.marks == ({"overlap": verdict.reason} if verdict.reason else {})
    dropped = one("contamination", judged, context(*held_out, overlap_action="drop"))
    assert (dropped.passed, dropped.reason) == (not verdict.reason, verdict.reason)
    return verdict.reason


def test_a_question_with_one_number_changed_is_marked_or_dropped() -> None:
    reason = overlap_of(row(LONG.replace("48", "46")), "What is 3 + 4?", LONG)
    assert "with val/1" in reason and "sold half as many clips in may" in reason
    assert overlap_of(row("What is 47 + 85?"), LONG) == ""
    result = verify([row(LONG.replace("48", "46"))], context(LONG))
    assert result.accepted[0].extra["overlap"].startswith("shares 'of her friends")
    assert verify([row("What is 47 + 85?")], context(LONG)).accepted[0].extra == {}


def test_a_docstring_with_other_examples_is_marked_or_dropped() -> None:
    other = DOCSTRING.replace('["a b c", "d e"]', '["one", "two three"]').replace("\n3\n", "\n2\n")
    assert "largest number of words" in overlap_of(row(f"Complete this. {other}"), DOCSTRING)
    assert "starter shares" in overlap_of(
        row("Complete it.", starter=f'def most(x):\n    """{other}"""'), DOCSTRING
    )
    assert "tests shares" in overlap_of(row("Complete it.", tests=[{"input": other, "output": "2"}]), DOCSTRING)


def test_signs_are_no_words_of_a_run() -> None:
    brackets = "[ ( ) , ( ) , ( ) , ( ) ]"
    held = f"Say how long the list {brackets} of pairs is, which a friend of ours has drawn with chalk on a wall."
    assert overlap_of(row(f"What is the kind of thing that {brackets} stands for?"), held) == ""


@pytest.mark.parametrize("held", [LONG, SHORT])
@pytest.mark.parametrize("field", ["question", "solution", "answer", "starter"])
def test_a_held_out_question_is_found_in_every_text_of_a_row(held: str, field: str) -> None:
    for text in (f"First of all: {held} That we ask.", f"{held.rstrip('?')} and why", held.upper()):
        bad = row(**{"question": "What is 1 + 1?", field: text})  # type: ignore[arg-type]
        verdict = one("contamination", bad, context("What is 3 + 4?", held))
        assert not verdict.passed and "with val/1" in verdict.reason
        assert (field in verdict.reason.split("shares")[0]) is (field != "question")


def test_a_short_question_is_whole_where_its_formula_does_not_go_on() -> None:
    held = "What is 47 + 85?"
    assert contaminated("Tell me quickly, what is 47 + 85, my friend?", held)
    for other in (
        "What is 47 + 85 + 3?",
        "What is 47 + 85.5 in words?",
        "So what is 47 + 850?",
        "47 + 85 is what?",
    ):
        assert contaminated(other, held) is None
    assert contaminated("47 + 85 and 3 + 4", "3 + 4?") is None, "too short to tell anything"


SHORT_WORDS = st.lists(st.sampled_from(["red", "green", "blue", "one", "two", "three"]), min_size=5, max_size=12)


@given(SHORT_WORDS, st.lists(st.sampled_from(["so", "then", "why"])), st.lists(st.sampled_from(["so", "then"])))
def test_a_short_question_inside_any_words_is_found(held: list[str], before: list[str], after: list[str]) -> None:
    text = " ".join([*before, *held, *after])
    assert contaminated(text, " ".join(held) + "?") is not None
    assert contaminated(" ".join([*before, *held[:-1], "other", *after]), " ".join(held) + "?") is None


def arithmetic(*held_out: str) -> CheckContext:
    domain = load_task(TaskConfig(name="arithmetic", val_size=1, test_size=1)).domain
    checks = CheckConfig(overlap_action="drop")
    instances = [Instance(id=f"val/{n}", question=q, answer="1") for n, q in enumerate(held_out)]
    return CheckContext(
        domain, checks, HeldOut(instances, checks.overlap, domain.identity), AcceptedQuestions(0.9)
    )


def test_a_problem_of_the_arithmetic_task_is_known_in_any_phrasing_and_another_is_not() -> None:
    for skill in SKILLS:
        drawn = [problem(skill, seed, 0) for seed in range(60)]
        given_context = arithmetic(*(held.question for held in drawn[:30]))
        taken = {held.key for held in drawn[:30]}
        for held in drawn[:30]:
            variant, values = SKILLS[skill].read(held.question) or ("", {})
            sentences = SKILLS[skill].phrasings[SKILLS[skill].variants.index(variant)]
            again = [sentence.format(**values) for sentence in sentences]
            assert len(again) > 1 and held.question in again
            assert not any(one("contamination", row(question), given_context).passed for question in again)
        for other in drawn[30:]:
            if other.key not in taken:
                verdict = one("contamination", row(other.question), given_context)
                assert verdict.passed and not verdict.marks, "the number rule alone, whatever the action"


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not() -> None:
    held = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    reason = contaminated(f"Alpha {' '.join(held.split()[:13])} omega", held)
    assert reason is not None and "'one two three" in reason and "thirteen'" in reason
    assert contaminated(f"Alpha {' '.join(held.split()[:12])} omega", held) is None


def test_a_copied_part_with_all_of_the_rows_numbers_is_found() -> None:
    part = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
    assert contaminated(f"{part} How many is that?", LONG)


@settings(max_examples=30)
@given(st.sampled_from(sorted(SKILLS)), st.integers(0, 10_000))
def test_other_problems_of_the_same_skill_are_never_contaminated(skill: str, seed: int) -> None:
    held, other = problem(skill, seed, 0), problem(skill, seed, 1)
    assert contaminated(held.question, held.question) is not None
    if held.key != other.key and Counter(_numbers(held.question)) != Counter(_numbers(other.question)):
        assert contaminated(other.question, held.question) is None


def _numbers(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


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


def test_every_check_of_the_config_is_registered_and_says_what_it_does() -> None:
    assert all(name == check.name for name, check in CHECKS.items())
    assert all(check.summary and check.cost in COSTS for check in CHECKS.values())
    with pytest.raises(ValueError, match="of the kind that is called"):
        Check("mine", "sandbox", "no function", row=CHECKS["format"].row)
