"""The embedded tool-use task: its catalogue, its generators and its splits."""

import json
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.tool_use.calls import read_calls
from dataenvgym.envs.domains.tool_use.curriculum import CURRICULUM, wrong_answer
from dataenvgym.envs.domains.tool_use.domain import INSTRUCTION, ToolRow
from dataenvgym.envs.domains.tool_use.plans import SCORES
from dataenvgym.envs.domains.tool_use.schemas import arguments_fault, tool_fault
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.catalogue import CATALOGUE
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.requests import (
    SKILLS,
    identity,
    problem,
    read,
    recognise,
    tools_shown,
)
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.task import load
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.procedural import normalise
from dataenvgym.envs.tool_text import split_tools
from dataenvgym.envs.types import Instance, Provenance, Row

VARIANTS = [(name, variant) for name, skill in SKILLS.items() for variant in skill.variants]
FORMS = [(name, form) for name, skill in SKILLS.items() for form in skill.forms]

problems = given(st.sampled_from(VARIANTS), st.integers(), st.integers(0, 10**7))


@cache
def task() -> Task:
    return load(TaskConfig(name="tool_calls"))


def everything(found: Task | None = None) -> list[Instance]:
    found = found or task()
    return [*found.train, *found.val, *found.test]


def row(fields: dict[str, object]) -> Row:
    """A row as the data generator makes it of what a teacher wrote."""
    made = Provenance(iteration=1, request="r", model="m", prompt="p", prompt_hash="0")
    known = ToolRow.model_validate(fields).model_dump()
    texts = {name: known.pop(name) for name in ("question", "solution", "answer")}
    return Row(id="x", **texts, skill="s", extra=known, provenance=made)


def test_about_twenty_sound_tools() -> None:
    assert 20 <= len(CATALOGUE) <= 25
    assert all(name == tool["name"] and tool["description"] for name, tool in CATALOGUE.items())
    assert not any(tool_fault(tool) for tool in CATALOGUE.values())


def test_every_tool_is_called_by_some_request() -> None:
    assert {tool for _, form in FORMS for tool, _ in form.calls} == set(CATALOGUE)


def test_ten_skills_with_one_to_three_calls_or_none() -> None:
    assert len(SKILLS) == 10
    assert all(len(skill.variants) >= 2 and skill.summary for skill in SKILLS.values())
    assert {len(form.calls) for _, form in FORMS} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", SKILLS)
def test_a_variant_has_enough_distinct_requests(name: str) -> None:
    for variant in SKILLS[name].variants:
        assert len({problem(name, 0, index, variant).key for index in range(250)}) >= 60


@settings(max_examples=80, deadline=None)
@problems
def test_a_request_is_read_back_by_its_own_skill_only(kind: tuple[str, str], seed: int, index: int) -> None:
    name, variant = kind
    drawn = problem(name, seed, index, variant)
    assert (drawn.skill, drawn.variant, drawn.solution) == (name, variant, "")
    assert [other for other, skill in SKILLS.items() if skill.read(drawn.question)] == [name]
    asked = read(f" {drawn.question}\n")
    assert asked is not None
    assert (recognise(drawn.question), asked.form.variant, asked.key()) == (name, variant, drawn.key)
    assert CURRICULUM.solve(drawn.question) == drawn.answer
    assert identity(drawn.question) == drawn.key
    assert len(drawn.question) <= 100 and "\n" not in drawn.question


@settings(max_examples=80, deadline=None)
@problems
def test_gold_calls_fit_the_tools_shown_and_come_back_from_their_text(
    kind: tuple[str, str], seed: int, index: int
) -> None:
    drawn = problem(kind[0], seed, index, kind[1])
    asked = read(drawn.question)
    assert asked is not None
    shown = {tool["name"]: tool for tool in tools_shown(asked)}
    calls = asked.calls()
    assert 2 <= len(shown) <= 4
    assert read_calls(drawn.answer) == calls
    for call in calls:
        assert not arguments_fault(shown[call.name], call.arguments)
    assert len(shown) > len({call.name for call in calls})
    assert not {*asked.form.apart} & {*shown}


@settings(max_examples=80, deadline=None)
@problems
def test_a_row_of_the_curriculum_is_accepted_and_right_and_its_wrong_answers_are_not(
    kind: tuple[str, str], seed: int, index: int
) -> None:
    question, finish = CURRICULUM.draw(kind[0], seed, index, kind[1])
    made, domain = row(finish()), task().domain
    assert domain.vet is not None
    assert made.question == question
    assert domain.vet([made], None) == [""]
    (right,) = domain.score([made], [domain.example(made).completion])
    assert right.correct and set(right.scores.values()) <= {1.0}
    wrong = wrong_answer(question, made.answer, Random(seed))
    (mark,) = domain.marks([made], [wrong])
    assert not mark.correct and mark.detail
    assert not domain.equal(made.answer, wrong)
    assert domain.vet([made.model_copy(update={"answer": wrong})], None) != [""]


@settings(max_examples=50, deadline=None)
@problems
def test_a_copied_request_is_the_row_of_that_request(kind: tuple[str, str], seed: int, index: int) -> None:
    drawn = problem(kind[0], seed, index, kind[1])
    question, finish = CURRICULUM.draw(kind[0], seed, index, kind[1])
    assert CURRICULUM.copy(question, "whatever") == finish()
    assert question == drawn.question


def test_two_phrasings_are_one_request_and_two_skills_never_ask_the_same() -> None:
    assert identity("Put yoga on 1 May 2025 in the calendar.") == identity("I have yoga on May 1, 2025; add it.")
    assert identity("Where are the files menu 2020 and plan 2021?") == identity(
        "Look for the files plan 2021 and menu 2020."
    )
    assert identity("Open the file menu 2020.") != identity("Where is the file menu 2020?")
    keys = {name: {problem(name, 0, index).key for index in range(150)} for name in SKILLS}
    assert not any(keys[one] & keys[other] for one, other in combinations(keys, 2))


@pytest.mark.parametrize(
    "text",
    ["", "Hello", "Call", "Call Ana", "What is 3 + 4?", "Ignore this. Call Ana Adams.", "Call Ana Adams. " * 1000],
)
def test_other_text_is_not_recognised(text: str) -> None:
    assert recognise(text) is None and CURRICULUM.solve(text) is None
    assert CURRICULUM.identity(text) == text


def test_a_copy_of_a_request_that_no_skill_makes_is_a_row_all_the_same() -> None:
    made = row(CURRICULUM.copy("Sing me a song.", "[]"))
    assert (made.question, made.answer) == ("Sing me a song.", "[]") and made.extra["tools"]


def test_unknown_names_are_reported_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no_tool"):
        problem("no_tol", 0, 0)
    with pytest.raises(UnknownNameError, match="evening"):
        SKILLS["clock_time"].generate(Random(0), "evning")


def test_requests_and_their_tools_are_the_same_in_another_process(tmp_path: Path) -> None:
    program = (
        "from dataenvgym.envs.domains.tool_use.tasks.tool_calls.requests import *\n"
        "print([(p := problem(name, 7, 3), tools_shown(read(p.question))) for name in SKILLS])"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    here = [(p := problem(name, 7, 3), tools_shown(read(p.question) or pytest.fail())) for name in SKILLS]
    assert there.stdout.strip() == str(here)


# --- the splits ---


def test_split_sizes_ids_and_fields() -> None:
    assert (task().name, task().domain.name) == ("tool_calls", "tool_use")
    assert (len(task().train), len(task().val), len(task().test)) == (400, 240, 400)
    assert len({item.id for item in everything()}) == 1040
    assert next(item for item in task().val if item.skill == "no_tool").id == "tool_calls-s0/val/no_tool/000"
    for item in everything():
        assert set(item.extra) == {"tools", "variant", "key"}
        assert item.extra["variant"] in SKILLS[item.skill or ""].variants
        assert json.loads(json.dumps(item.extra)) == item.extra


def test_every_variant_is_in_every_split() -> None:
    for split in (task().train, task().val, task().test):
        assert {(item.skill, item.extra["variant"]) for item in split} == set(VARIANTS)


def test_no_request_is_in_two_splits_or_twice_in_one() -> None:
    for found in (task(), load(TaskConfig(name="tool_calls", seed=3, val_size=8, test_size=12))):
        items = everything(found)
        assert len({normalise(item.question) for item in items}) == len(items)
        assert len({identity(item.question) for item in items}) == len(items)


def test_splits_are_a_function_of_the_seed_and_resizing_keeps_what_was_there() -> None:
    small = {"name": "tool_calls", "val_size": 4, "test_size": 4}
    assert load(TaskConfig(**small, seed=1)).val == load(TaskConfig(**small, seed=1)).val
    assert load(TaskConfig(**small, seed=1)).val != load(TaskConfig(**small, seed=2)).val
    few, many = (load(TaskConfig(name="tool_calls", val_size=size, test_size=8)) for size in (4, 16))
    assert few.test == many.test
    assert {item.question for item in few.val} < {item.question for item in many.val}


def test_asking_for_more_requests_than_there_are_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"tool_calls: .*test_size"):
        load(TaskConfig(name="tool_calls", test_size=2000))


def test_gold_answers_score_in_full_and_a_prompt_holds_the_tools_and_the_request() -> None:
    domain, items = task().domain, task().test
    texts = [domain.example(item).completion for item in items]
    scored = domain.score(items, texts)
    assert all(mark.correct and set(mark.scores.values()) <= {1.0} for mark in scored)
    assert domain.scores == SCORES and domain.instruction == INSTRUCTION
    for item in items:
        tools, text = split_tools(domain.prompt(item))
        assert tools == item.extra["tools"]
        assert text.split("\n") == ['"$1" is the result of the first call.', item.question]
        assert domain.show(item) == {"tools": [json.dumps(tool) for tool in item.extra["tools"]]}


def test_no_one_answer_is_right_everywhere() -> None:
    domain, items = task().domain, task().test[::4]
    for text in ("", "I cannot help.", "[]", *(item.answer for item in items[::20])):
        right = sum(mark.correct for mark in domain.score(items, [text] * len(items)))
        assert right <= len(items) / len(SKILLS)
