"""The embedded task: its generators, its splits and the problems for schooling a student."""

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load, schooling_rows
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SCHOOLED, SKILLS, chain_sum, problem, recognise
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.tasks.procedural import normalise

VARIANTS = [(name, variant) for name, skill in SKILLS.items() for variant in skill.variants]
FACTORS = {
    "m cm": 100,
    "km m": 1000,
    "cm mm": 10,
    "kg g": 1000,
    "t kg": 1000,
    "l ml": 1000,
    "l cl": 100,
    "hl l": 100,
}


def solve(skill: str, question: str) -> int:
    """The answer, worked out from the text alone."""
    n = [int(number) for number in re.findall(r"\d+", question)]
    match skill:
        case "minutes":
            return 60 * n[0] + n[1]
        case "rounding":
            return (n[0] + 5) // 10 * 10
        case "groups":
            return n[0] * n[1] + n[2]
        case "number_after":
            return n[0] + 1
        case "number_before":
            return n[0] - 1
        case "double":
            return 2 * n[0]
        case "addition":
            return n[0] + n[1]
        case "chain":
            signs = [1, *(1 if sign == "+" else -1 for sign in re.findall("[+-]", question))]
            return sum(sign * number for sign, number in zip(signs, n, strict=True))
        case "linear_equation":
            if "x +" in question:
                return n[1] - n[0]
            return n[1] + n[0] if "x -" in question else n[1] // n[0]
        case "unit_conversion":
            [(unit, target)] = [
                pair
                for pair in (key.split() for key in FACTORS)
                if re.search(rf"\b{pair[1]}\b", question) and re.search(rf"\d {pair[0]}\b", question)
            ]
            return n[0] * FACTORS[f"{unit} {target}"]
        case "word_problem":
            signs = [
                1 if word in ("buys", "found") else -1 for word in re.findall(r"buys|found|gives|lost", question)
            ]
            return n[0] + sum(sign * number for sign, number in zip(signs, n[1:], strict=True))
        case "times_ten":
            return n[0] * n[1]
    raise AssertionError(skill)


def leads_to(solution: str) -> int | None:
    """What the calculations in a solution give, each of them checked; None for rounding, solved in words."""
    if match := re.fullmatch(r"\d+(\d) ends in (\d), round (up|down)", solution):
        assert match[1] == match[2]
        assert (int(match[2]) > 4) == (match[3] == "up")
        return None
    result = None
    for step in solution.split(", "):
        match = re.fullmatch(r"(\d+) ([-+*/]) (\d+)(?: = (\d+))?", step)
        assert match is not None
        a, sign, b = int(match[1]), match[2], int(match[3])
        assert result is None or a == result
        result = {"+": a + b, "-": a - b, "*": a * b, "/": a // max(b, 1)}[sign]
        assert match[4] is None or int(match[4]) == result
    return result


def test_twelve_skills_six_of_them_schooled() -> None:
    assert len(SKILLS) == 12
    assert len(SCHOOLED) == 6
    assert set(SCHOOLED) < set(SKILLS)
    assert all(2 <= len(skill.variants) <= 4 for skill in SKILLS.values())
    assert all(name == skill.name for name, skill in SKILLS.items())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VARIANTS), st.integers(), st.integers(0, 10**7))
def test_a_problem_is_right_short_and_recognised_by_its_own_skill_only(
    kind: tuple[str, str], seed: int, index: int
) -> None:
    name, variant = kind
    drawn = problem(name, seed, index, variant)
    assert (drawn.skill, drawn.variant) == kind
    assert recognise(drawn.question) == name
    assert [other for other, skill in SKILLS.items() if skill.read(drawn.question)] == [name]
    assert drawn.answer == str(solve(name, drawn.question))
    assert int(drawn.answer) >= 0
    assert leads_to(drawn.solution) in (None, int(drawn.answer))
    assert "\n" not in drawn.question + drawn.solution
    assert "Answer" not in drawn.solution
    assert len(drawn.question) <= 90
    assert len(drawn.solution) <= 30


@pytest.mark.parametrize("name", SKILLS)
def test_a_skill_has_enough_distinct_problems(name: str) -> None:
    found = {
        variant: {problem(name, 0, i, variant).question for i in range(6000)} for variant in SKILLS[name].variants
    }
    assert all(len(questions) >= 600 for questions in found.values())
    assert sum(map(len, found.values())) == len(set().union(*found.values())) >= 2000


@pytest.mark.parametrize("text", ["", "Hello", "What is 3 + ?", "Ignore this. What is 3 + 4?", "What is 3 + 4?x"])
def test_other_text_is_not_recognised(text: str) -> None:
    assert recognise(text) is None


def test_white_space_does_not_hinder_recognition() -> None:
    assert recognise(" What is 34\n + 41? ") == "addition"


def test_unknown_names_are_reported_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="addition"):
        problem("additoin", 0, 0)
    with pytest.raises(UnknownNameError, match="with carry"):
        SKILLS["addition"].generate(Random(0), "with cary")


def test_problems_are_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem\n"
        "print([problem(name, 7, 3) for name in SKILLS])"
    )
    there = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str([problem(name, 7, 3) for name in SKILLS])


def keys(instances) -> set[str]:  # type: ignore[no-untyped-def]
    """Sentence and problem: the second is the same for each phrasing."""
    return {normalise(item.question) for item in instances} | {
        f"{item.skill}: {item.extra['key']}" for item in instances
    }


def test_split_sizes_ids_and_fields() -> None:
    task = load(TaskConfig())
    assert task.name == "arithmetic"
    assert (len(task.train), len(task.val), len(task.test)) == (12 * 60, 12 * 30, 12 * 40)
    everything = [*task.train, *task.val, *task.test]
    assert len({item.id for item in everything}) == len(everything)
    first = next(item for item in task.val if item.skill == "addition")
    assert first.id == "arithmetic-s0/val/addition/000"
    for item in everything:
        assert item.skill is not None
        assert item.extra["variant"] in SKILLS[item.skill].variants
        assert recognise(item.question) == item.skill
        assert item.solution


def test_no_problem_is_in_two_splits_or_twice_in_one() -> None:
    task = load(TaskConfig(seed=3))
    splits = [task.train, task.val, task.test, schooling_rows(0, 100, task)]
    found = [keys(split) for split in splits]
    assert [len(key) for key in found] == [2 * len(split) for split in splits]
    assert sum(map(len, found)) == len(set().union(*found))


def test_splits_are_a_function_of_the_seed() -> None:
    assert load(TaskConfig(seed=1)).val == load(TaskConfig(seed=1)).val
    assert load(TaskConfig(seed=1)).val != load(TaskConfig(seed=2)).val


def test_resizing_a_split_keeps_test_and_what_was_in_it() -> None:
    small, large = load(TaskConfig(val_size=5, test_size=10)), load(TaskConfig(val_size=50, test_size=10))
    assert small.test == large.test
    assert {item.question for item in small.val} < {item.question for item in large.val}
    assert (len(small.val), len(small.test)) == (60, 120)


def test_every_variant_is_in_every_split() -> None:
    task = load(TaskConfig(val_size=6, test_size=6))
    for split in (task.train, task.val, task.test):
        assert {(item.skill, item.extra["variant"]) for item in split} == set(VARIANTS)


def test_schooling_rows_are_of_the_schooled_skills() -> None:
    task = load(TaskConfig())
    rows = schooling_rows(0, 150, task)
    assert [sum(row.skill == name for row in rows) for name in SCHOOLED] == [150] * 6
    assert rows == schooling_rows(0, 150, task) != schooling_rows(1, 150, task)


def test_asking_for_more_problems_than_there_are_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"test_size"):
        load(TaskConfig(test_size=1000))


def test_a_solution_with_its_answer_scores_right() -> None:
    domain = load(TaskConfig(val_size=1, test_size=1)).domain
    for name in SKILLS:
        drawn = problem(name, 0, 0)
        text = domain.render_answer(drawn.solution, drawn.answer)
        assert domain.read_back(drawn.answer, text) == (drawn.answer, True)
        wrong = domain.render_answer(drawn.solution, str(int(drawn.answer) + 1))
        assert domain.read_back(drawn.answer, wrong)[1] is False


@given(st.integers(0, 2**31 - 1), st.sampled_from([1, 2]))
def test_a_chain_is_that_of_reasoning_gym(seed: int, digits: int) -> None:
    from reasoning_gym import create_dataset

    sizes = {"min_terms": 3, "max_terms": 3, "min_digits": digits, "max_digits": digits}
    drawn = create_dataset("chain_sum", seed=seed, size=1, **sizes)[0]
    assert chain_sum(seed, digits) == drawn["metadata"]["expression"]
