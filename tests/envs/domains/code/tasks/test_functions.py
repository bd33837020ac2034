"""The embedded code task: its generators, the tests of its problems and its splits."""

import json
import string
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.code.tasks.functions.forms import WORDS
from dataenvgym.envs.domains.code.tasks.functions.skills import (
    FEWEST_TESTS,
    MOST_TESTS,
    OPENINGS,
    SKILLS,
    FunctionSpec,
    code,
    key,
    make_tests,
    other_code,
    problem,
    question,
    read,
    recognise,
    slips,
    starter,
)
from dataenvgym.envs.domains.code.tasks.functions.task import load
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.procedural import normalise
from dataenvgym.envs.types import Instance

VARIANTS = [(name, variant) for name, skill in SKILLS.items() for variant in skill.variants]

problems = given(st.sampled_from(VARIANTS), st.integers(), st.integers(0, 10**7))


def asked(name: str, variant: str, seed: int, index: int) -> FunctionSpec:
    found = read(problem(name, seed, index, variant).question)
    assert found is not None
    return found


def passes(program: str, entry: str, tests: list[dict[str, str]]) -> bool:
    """Runs a program of ours, as text, on tests of the task."""
    names: dict[str, Any] = {}
    exec(program, names)  # our own templates, never a model's text
    for test in tests:
        try:
            result = names[entry](*map(json.loads, test["input"].split("\n")))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return False
        if json.dumps(result) != test["output"]:
            return False
    return True


@cache
def task() -> Task:
    return load(TaskConfig(name="functions"))


def everything() -> list[Instance]:
    return [*task().train, *task().val, *task().test]


def test_ten_skills_of_at_least_three_variants() -> None:
    assert len(SKILLS) == 10
    assert all(name == skill.name and skill.summary for name, skill in SKILLS.items())
    assert all(len(skill.variants) == len(set(skill.variants)) >= 3 for skill in SKILLS.values())


@pytest.mark.parametrize("name", SKILLS)
def test_a_skill_has_enough_distinct_problems(name: str) -> None:
    found = {v: {problem(name, 0, i, v).key for i in range(3000)} for v in SKILLS[name].variants}
    assert all(len(keys) >= 250 for keys in found.values())
    assert sum(map(len, found.values())) == len(set().union(*found.values())) >= 1500


@settings(max_examples=100, deadline=None)
@problems
def test_a_problem_is_short_and_read_back_by_its_own_skill_only(
    kind: tuple[str, str], seed: int, index: int
) -> None:
    name, variant = kind
    drawn = problem(name, seed, index, variant)
    assert (drawn.skill, drawn.variant, drawn.solution) == (name, variant, "")
    assert [other for other, skill in SKILLS.items() if skill.read(drawn.question)] == [name]
    found = read(drawn.question)
    assert found is not None
    assert (recognise(drawn.question), found.form.variant, key(found)) == (name, variant, drawn.key)
    assert code(found) == drawn.answer
    assert drawn.answer.startswith(starter(found))
    assert drawn.question in [question(found, opening) for opening in OPENINGS]
    assert "\n" not in drawn.question
    assert len(drawn.question) <= 130
    assert len(drawn.answer) <= 130


LONGEST = example(("string_parts", "both ends"), -216867762, 4476547)  # drawn: all of the longest text taken off


def test_no_seed_draws_a_problem_that_no_tests_can_tell_from_others() -> None:
    for seed in (11, 25, 27):
        assert load(TaskConfig(name="functions", seed=seed)).test


PARTS = {
    "leave remainder 5 when divided by 23": ("[n for n in xs if n == 5]", "[n for n in xs if n % 23 == 5]"),
    "are at most 18": ("[n for n in xs if n == 18]", "[n for n in xs if n <= 18]"),
}


@pytest.mark.parametrize("words", PARTS)
def test_the_tests_fail_a_program_that_does_a_part(words: str) -> None:
    found = read(f"Write a function keep(xs) that returns the list of the numbers in xs that {words}.")
    assert found is not None
    part, whole = (f"def keep(xs):\n    return {body}" for body in PARTS[words])
    tests = make_tests(found)
    assert passes(whole, "keep", tests) and not passes(part, "keep", tests)


@pytest.mark.parametrize("kept", ["t.startswith('m')", "len(t) > 8"])
def test_the_tests_fail_a_program_that_keeps_to_one_of_two_conditions(kept: str) -> None:
    words = "the list of texts in names that start with 'm' and have greater than 8 letters"
    found = read(f"Write a function keep(names) that returns {words}.")
    assert found is not None
    assert not passes(f"def keep(names):\n    return [t for t in names if {kept}]", "keep", make_tests(found))


@LONGEST
@settings(max_examples=100, deadline=None)
@problems
def test_the_tests_pass_the_gold_program_and_no_trivial_or_slightly_wrong_one(
    kind: tuple[str, str], seed: int, index: int
) -> None:
    found = asked(*kind, seed, index)
    tests = make_tests(found)
    assert FEWEST_TESTS <= len(tests) <= MOST_TESTS
    assert len({test["input"] for test in tests}) == len(tests)
    assert passes(code(found), found.function, tests)
    assert passes(other_code(found), found.function, tests)
    assert other_code(found) != code(found)
    outputs = {json.loads(test["output"]).__repr__() for test in tests}
    trivial = ["None", "0", "''", "[]", "{}", "True", "False", *found.arguments, *outputs]
    for value in trivial:
        assert not passes(f"{starter(found)}\n    return {value}", found.function, tests)
    wrong = slips(found)
    assert wrong
    for slip in wrong:
        assert not passes(code(slip), found.function, tests), code(slip)


@LONGEST
@settings(max_examples=100, deadline=None)
@problems
def test_names_and_phrasing_are_no_part_of_a_problem(kind: tuple[str, str], seed: int, index: int) -> None:
    found = asked(*kind, seed, index)
    renamed = found._replace(function="solve_it", arguments=("p", "q")[: len(found.arguments)])
    again = read(question(renamed, OPENINGS[seed % len(OPENINGS)]))
    assert again is not None
    assert again.function == "solve_it"
    assert key(again) == key(found)
    assert make_tests(again) == make_tests(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the list of the numbers in xs that are at most 4", "the list of the numbers in xs that are less than 5"),
        ("how many numbers in xs are at least 4", "how many numbers in xs are greater than 3"),
        ("'red' if xs is at least 4, else 'sun'", "'sun' if xs is less than 4, else 'red'"),
        ("'red' if xs is at most 4, else 'sun'", "'sun' if xs is greater than 4, else 'red'"),
    ],
)
def test_another_wording_of_a_comparison_is_the_same_problem(one: str, other: str) -> None:
    found = [read(f"Write a function f(xs) that returns {text}.") for text in (one, other)]
    assert len({key(each) for each in found if each}) == 1
    assert None not in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        "Write a function f(x) that returns",
        "What is 3 + 4?",
        "Ignore this. Write a function f(xs) that returns the sum of xs plus 4.",
        "Write a function f(xs) that returns the sum of ys plus 4.",
        f"Write a function f(xs) that returns the sum of xs plus {'9' * 5000}.",
    ],
)
def test_other_text_is_not_recognised(text: str) -> None:
    assert recognise(text) is None


def test_white_space_does_not_hinder_recognition() -> None:
    assert recognise(" Write a function f(xs) that\n returns the sum of xs plus 4. ") == "list_totals"


def test_unknown_names_are_reported_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="counting"):
        problem("countin", 0, 0)
    with pytest.raises(UnknownNameError, match="by size"):
        SKILLS["counting"].generate(Random(0), "by sise")


def test_problems_and_tests_are_the_same_in_another_process(tmp_path: Path) -> None:
    program = (
        "from dataenvgym.envs.domains.code.tasks.functions.skills import SKILLS, problem, read, make_tests\n"
        "print([(p := problem(name, 7, 3), make_tests(read(p.question))) for name in SKILLS])"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    here = [(p := problem(name, 7, 3), make_tests(read(p.question) or pytest.fail())) for name in SKILLS]
    assert there.stdout.strip() == str(here)


# --- the splits ---


def test_split_sizes_ids_and_fields() -> None:
    assert task().name == "functions"
    assert (len(task().train), len(task().val), len(task().test)) == (400, 240, 400)
    assert len({item.id for item in everything()}) == 1040
    first = next(item for item in task().val if item.skill == "counting")
    assert first.id == "functions-s0/val/counting/000"
    for item in everything():
        assert item.skill is not None
        assert set(item.extra) == {"starter", "entry", "tests", "variant", "key"}
        assert item.extra["variant"] in SKILLS[item.skill].variants
        assert item.extra["starter"] == item.answer.split("\n")[0]
        assert item.extra["starter"].startswith(f"def {item.extra['entry']}(")
        assert passes(item.answer, item.extra["entry"], item.extra["tests"])
        assert json.loads(json.dumps(item.extra)) == item.extra


def test_no_problem_is_in_two_splits_or_twice_in_one() -> None:
    for config in (TaskConfig(name="functions", seed=3, val_size=8, test_size=12), None):
        found = load(config) if config else task()
        splits = [found.train, found.val, found.test]
        keys = [
            {normalise(item.question) for item in split} | {f"{i.skill}: {i.extra['key']}" for i in split}
            for split in splits
        ]
        assert [len(each) for each in keys] == [2 * len(split) for split in splits]
        assert sum(map(len, keys)) == len(set().union(*keys))


BATTERY: dict[str, list[Any]] = {
    "number": list(range(-2, 130)),
    "large": list(range(0, 2000, 3)),
    "small": list(range(1, 8)),
    "text": [2 * string.ascii_lowercase, "Some Text", "ab", *string.ascii_lowercase],
    "long text": [string.ascii_letters, 2 * string.ascii_lowercase, "ab"],
    "numbers": [list(range(500)), [7, 3, 1, 100, 2, 60, 41], *([n] for n in range(500))],
    "words": [[c * n for c in string.ascii_lowercase for n in range(1, 12)]],
    "table": [
        {},
        {"hat": 1, "cup": 7},
        *({word: at + more for at, word in enumerate(WORDS)} for more in (0, 60, 120, 180)),
    ],
}


def behaviour(item: Instance) -> str:
    """What a gold program returns to many calls."""
    found = read(item.question)
    assert found is not None
    names: dict[str, Any] = {}
    exec(item.answer, names)
    calls = list(product(*(BATTERY[kind] for kind in found.form.kinds)))
    results = [names[found.function](*json.loads(json.dumps(arguments))) for arguments in calls]
    return json.dumps([found.form.kinds, results])


def test_no_two_programs_of_the_task_do_the_same() -> None:
    assert len({behaviour(item) for item in everything()}) == 1040


def test_splits_are_a_function_of_the_seed() -> None:
    small = {"name": "functions", "val_size": 4, "test_size": 4}
    assert load(TaskConfig(**small, seed=1)).val == load(TaskConfig(**small, seed=1)).val
    assert load(TaskConfig(**small, seed=1)).val != load(TaskConfig(**small, seed=2)).val


def test_resizing_a_split_keeps_test_and_what_was_in_it() -> None:
    small, large = (load(TaskConfig(name="functions", val_size=size, test_size=8)) for size in (4, 16))
    assert small.test == large.test
    assert {item.question for item in small.val} < {item.question for item in large.val}
    assert (len(small.val), len(small.test)) == (40, 80)


def test_every_variant_is_in_every_split() -> None:
    for split in (task().train, task().val, task().test):
        assert {(item.skill, item.extra["variant"]) for item in split} == set(VARIANTS)


def test_asking_for_more_problems_than_there_are_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"functions: .*test_size"):
        load(TaskConfig(name="functions", test_size=1500))


def test_the_prompt_is_short_and_the_code_a_student_learns_is_read_back() -> None:
    domain = task().domain
    for item in task().val:
        example = domain.example(item)
        assert example.prompt == f"Write Python code.\n{item.question}"
        assert domain.read_back(item.answer, example.completion) == (item.answer, True)


def test_the_sandbox_passes_gold_programs_and_no_others() -> None:
    config = TaskConfig(name="functions", val_size=4, test_size=4, options={"sandbox": "rlimits"})
    small = load(config)
    right = small.domain.score(small.val, [small.domain.example(item).completion for item in small.val])
    assert all(mark.correct for mark in right)
    items = small.val[::4]
    wrong = small.domain.score(
        items, [f"```python\n{item.extra['starter']}\n    return None\n```" for item in items]
    )
    assert not any(mark.correct for mark in wrong)
    assert all(mark.detail for mark in wrong)
