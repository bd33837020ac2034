"""The `contamination` check: which rows hold a val or test question."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import LONG, context, one, row, verify

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.config import CheckConfig
from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.code.tasks.functions.skills import OPENINGS, read
from dataenvgym.envs.domains.code.tasks.functions.skills import question as question_of
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Instance, Row


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
