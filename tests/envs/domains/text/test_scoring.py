"""Each scorer of the text domain: what it accepts and refuses, and that it is never fooled or broken by a text."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.domains.text.domain import TEXT, TextRow, domain_for, extract, render_answer, scorer_of
from dataenvgym.envs.domains.text.scoring.choices import letter_of, options_in, with_options
from dataenvgym.envs.domains.text.scoring.kinds import KINDS, Settings
from dataenvgym.envs.domains.text.scoring.numbers import Tolerance, number
from dataenvgym.envs.scorers import SCORERS
from dataenvgym.envs.types import Instance

QUESTION = "Which is big?\nA) the ant\nB) the whale\nC) the bee"
SENTIMENT = Settings(labels=("positive", "negative", "very negative"))
NEAR, SHARE = Settings(tolerance=Tolerance(0.01)), Settings(tolerance=Tolerance("1%"))
NAMED = Settings(fields=("name", "born.year"))
DATE = Settings(pattern=re.compile(r"(\d{4})-\d\d"))
ANN = '{"name": "Ann", "age": 3, "tags": ["a", "b"], "born": {"year": 1990}}'

RIGHT = [
    ("text", Settings(), "The Eiffel Tower", "eiffel tower."),
    ("text", Settings(), "don't", "dont"),
    ("text", Settings(), "1.5 kg", "1.5 kg!"),
    ("text", Settings(), "The", "the"),
    ("text", Settings(), "?!", "?!"),
    ("number", Settings(), "12", "12.0"),
    ("number", Settings(), "1,200", "1200 km"),
    ("number", Settings(), "0.1", "1e-1"),
    ("number", Settings(), "1/3", "2/6"),
    ("number", Settings(), "-5", "−$5"),
    ("number", Settings(), "42", "The answer is 42."),
    ("number", NEAR, "3.14", "3.15"),
    ("number", SHARE, "1000", "990"),
    ("choice", Settings(), "B", "b"),
    ("choice", Settings(), "B", "(B)"),
    ("choice", Settings(), "B", "B) the whale"),
    ("choice", Settings(), "B", "**B.**"),
    ("choice", Settings(), "B", "The whale."),
    ("label", SENTIMENT, "very negative", "Very Negative."),
    ("contains", Settings(), "Paris", "It is Paris, of course"),
    ("regex", DATE, "1999-12", "in 1999-01, I think"),
    ("json", Settings(), ANN, f"```json\n{ANN}\n```"),
    ("json", Settings(), '{"a": 1, "b": "X y"}', '{"b": "x  Y", "a": 1.0, "c": 2}'),
    ("json", NAMED, ANN, '{"name": "ann", "born": {"year": 1990}}'),
    ("f1", Settings(), "the red apple", "a red pear"),
]
WRONG = [
    ("text", Settings(), "1.5", "15"),
    ("text", Settings(), "-5", "5"),
    ("text", Settings(), "x<5", "x>5"),
    ("text", Settings(), "कि", "का"),
    ("text", Settings(), "a", "b"),
    ("number", Settings(), "12", "12 or 13"),
    ("number", Settings(), "12", "12.0000000001"),
    ("number", Settings(), "12345678901234567890", "12345678901234567891"),
    ("number", Settings(), "3", "x3"),
    ("number", Settings(), "1", "1e5kg"),
    ("number", Settings(), "3", "1/0"),
    ("number", NEAR, "3.14", "3.16"),
    ("number", SHARE, "1000", "989"),
    ("choice", Settings(), "B", "A"),
    ("choice", Settings(), "B", "A bee"),
    ("choice", Settings(), "B", "A or B"),
    ("choice", Settings(), "B", "D"),
    ("label", SENTIMENT, "negative", "very negative"),
    ("label", SENTIMENT, "negative", "negative or positive"),
    ("contains", Settings(), "art", "a party"),
    ("contains", Settings(), "new york", "york is new"),
    ("regex", DATE, "1999-12", "2000-12"),
    ("regex", DATE, "1999-12", "soon"),
    ("json", Settings(), '{"a": 1}', '{"a": true}'),
    ("json", Settings(), '{"a": 1}', '{"a": "1"}'),
    ("json", Settings(), '{"a": [1, 2]}', '{"a": [2, 1]}'),
    ("json", Settings(), '{"a": 1}', '{"a": 1'),
    ("json", Settings(), '{"a": null}', "{}"),
    ("json", NAMED, ANN, '{"name": "Ann", "born": {"year": 1991}}'),
    ("f1", Settings(), "the red apple", "one green pear"),
    ("f1", replace(Settings(), threshold=0.9), "the red apple", "a red pear"),
]


def judged(name: str, settings: Settings, gold: str, answer: str) -> bool:
    item = Instance(id="1", question=QUESTION, answer=gold)
    return scorer_of(KINDS[name], settings).score(item, answer)


@pytest.mark.parametrize(("name", "settings", "gold", "answer"), RIGHT)
def test_right_answers(name: str, settings: Settings, gold: str, answer: str) -> None:
    assert judged(name, settings, gold, answer)


@pytest.mark.parametrize(("name", "settings", "gold", "answer"), WRONG)
def test_wrong_answers(name: str, settings: Settings, gold: str, answer: str) -> None:
    assert not judged(name, settings, gold, answer)


SET = {"label": SENTIMENT, "regex": DATE, "json": Settings(), "number": NEAR}
GOLD = {"label": "negative", "regex": "1999-12", "json": ANN, "number": "12", "choice": "B"}


@pytest.mark.parametrize("name", KINDS)
@given(answer=st.text())
def test_any_text_is_judged_and_the_gold_answer_is_right(name: str, answer: str) -> None:
    settings, gold = SET.get(name, Settings()), GOLD.get(name, "the red apple")
    assert judged(name, settings, gold, gold)
    assert judged(name, settings, gold, answer) in (True, False)
    assert not judged(name, settings, gold, "")


@pytest.mark.parametrize("name", KINDS)
@given(gold=st.text())
def test_any_gold_answer_is_judged_or_has_a_fault(name: str, gold: str) -> None:
    kind, settings = KINDS[name], SET.get(name, Settings())
    assert kind.fault(settings, QUESTION, gold) or kind.same(settings, QUESTION, gold, gold) or not gold.strip()


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_answer_that_is_made_is_wrong(name: str) -> None:
    kind, settings, gold = KINDS[name], SET.get(name, Settings()), GOLD.get(name, "the red apple")
    wrong = kind.wrong(settings, QUESTION, gold)
    assert wrong is None or not judged(name, settings, gold, wrong)


@pytest.mark.parametrize(
    "text", ["{" * 20_000, '{"a":' * 20_000, "1" * 100_000, "9e999", "a " * 50_000, "A) " * 9_000, "-" * 50_000]
)
@pytest.mark.parametrize("name", KINDS)
def test_a_hostile_text_is_a_wrong_answer(name: str, text: str) -> None:
    assert not judged(name, SET.get(name, Settings()), GOLD.get(name, "the red apple"), text)


@given(value=st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda d: f"{d:f}"))
def test_a_number_is_read_from_its_text(value: object) -> None:
    found = number(f"about {value} kg")
    assert found is not None and found == number(str(value))


# --- reading an answer ---


@given(
    answer=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(
        lambda t: "answer" not in t.lower()
    ),
    solution=st.text(),
    lines=st.booleans(),
)
def test_an_answer_is_read_back_as_it_was_written(answer: str, solution: str, lines: bool) -> None:
    assert extract(render_answer(solution, answer), lines=lines) == answer
    assert extract(render_answer("", answer, mark=""), mark="", lines=lines) == answer


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    found = extract(text)
    assert found is None or (found.strip() == found and found in text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is so.\nAnswer: 5", "5"),
        ("**Answer:** five\nand more", "five"),
        ("ANSWER : five", "five"),
        ("Answer: 4\nNo. Answer: 5", "5"),
        ("five", "five"),
        ("It is\nfive", None),
        ("Answer:", None),
        ("", None),
    ],
)
def test_an_answer_stands_behind_the_last_mark_or_on_the_only_line(text: str, answer: str | None) -> None:
    assert extract(text) == answer


def test_an_answer_of_several_lines_is_read_where_it_may_have_them() -> None:
    assert extract('So:\nAnswer: {\n"a": 1}', lines=True) == '{\n"a": 1}'
    assert extract("#### 5", mark="####") == "5"
    assert extract("Final answer: b", mark="Final answer:") == "b"


def test_the_instruction_says_what_an_answer_is_and_where() -> None:
    kind = KINDS["label"]
    made = domain_for(scorer_of(kind, SENTIMENT), kind, SENTIMENT)
    assert made.instruction == "Answer with one of: positive, negative, very negative. End with 'Answer: X'."
    alone = domain_for(scorer_of(kind, SENTIMENT), kind, SENTIMENT, mark="")
    assert alone.instruction == "Answer with one of: positive, negative, very negative."
    assert alone.example(Instance(id="1", question="q", answer="positive")).completion == "positive"


# --- multiple choice ---


@given(
    st.text(),
    st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=2, max_size=26),
)
def test_the_options_of_a_question_are_read_back(question: str, options: list[str]) -> None:
    found = options_in(with_options(f"{question}\nWhich?", options))
    assert list(found.values()) == options and "".join(found).startswith("AB")


def test_lines_that_only_look_like_options_are_none() -> None:
    assert options_in("A) one\nB) two\nWhich?") == {}
    assert options_in("Which?\nB) two\nC) three") == {}
    assert options_in("Which?\nA) only") == {}
    assert letter_of("z", {}) == "Z"


# --- rows of the teacher's model ---


def test_what_a_model_writes_as_json_or_behind_the_mark_is_an_answer() -> None:
    rows = [
        TextRow.model_validate({"question": "q", "answer": answer})
        for answer in (5, 0.5, {"a": 1}, True, "Answer: b")
    ]
    assert [row.answer for row in rows] == ["5", "0.5", '{"a": 1}', "true", "b"]
    assert TextRow(question="q", solution="So.\nAnswer: b", answer="b").solution == "So."
    with pytest.raises(ValueError, match="answer"):
        TextRow.model_validate({"question": "q", "answer": ["a"]})


def test_rows_whose_answer_cannot_be_judged_are_told_why() -> None:
    kind = KINDS["label"]
    made = domain_for(scorer_of(kind, SENTIMENT), kind, SENTIMENT)
    assert made.vet is not None
    row = {"id": "r", "question": "q", "solution": "", "skill": "s"}
    origin = {"iteration": 1, "request": "r", "model": "m", "prompt": "p", "prompt_hash": "h"}
    from dataenvgym.envs.types import Row

    rows = [Row.model_validate({**row, "answer": a, "provenance": origin}) for a in ("positive", "meh")]
    assert made.vet(rows, None) == ["", "the answer 'meh' is none of the labels positive, negative, very negative"]


def test_the_scorers_that_need_no_setting_are_there_for_every_task() -> None:
    assert {"text", "number", "choice", "contains", "json", "f1"} <= set(SCORERS)
    assert SCORERS["number"].score(Instance(id="", question="", answer="7"), "7.0")
    assert TEXT.read_back("The Moon", "Answer: moon") == ("moon", True)
    assert json.loads(ANN)["age"] == 3
