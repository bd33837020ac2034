"""The bare environment: Gymnasium's five-tuple without a graph."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dataenvgym
from dataenvgym.envs.errors import ConfigError, DataEnvGymError, UnknownNameError

SMALL: dict[str, Any] = {
    "task__val_size": 1,
    "task__test_size": 1,
    "student__generation__max_new_tokens": 4,
    "budget__iterations": 2,
    "budget__rows_per_iteration": 3,
}


@pytest.fixture
def env(stub: Any) -> Iterator[Any]:
    env = dataenvgym.make("math/skill_list", student="stub", **SMALL)
    yield env
    env.close()


def row(n: int, **changes: Any) -> dict[str, Any]:
    given = {"question": f"What is {n} + {n}?", "solution": "", "answer": str(2 * n), "skill": "addition"}
    return {**given, **changes}


def test_an_episode_by_hand(env: Any) -> None:
    observation, info = env.reset()
    assert (observation.iteration, observation.budget, info["n"]) == (1, 3, 12)
    assert [s.name for s in observation.skills] == list(env.skills)
    before = info["accuracy"]
    observation, reward, terminated, truncated, info = env.step([row(n) for n in (101, 102, 103)])
    assert reward == pytest.approx(info["accuracy"] - before)
    assert (len(info["accepted"]), info["rejected"], terminated, truncated) == (3, [], False, False)
    assert next(s for s in observation.skills if s.name == "addition").rows == 3
    *_, truncated, info = env.step([])
    assert truncated and info["accepted"] == []
    with pytest.raises(DataEnvGymError, match="has ended"):
        env.step([])
    found = env.score_test()
    assert found["n"] == 12 and found["gain"]["low"] <= found["gain"]["value"] <= found["gain"]["high"]


def test_each_scoring_of_the_test_is_counted(stub: Any, tmp_path: Path) -> None:
    for earlier in (0, 2):  # a new environment on the same folder goes on counting
        env = dataenvgym.make("math/skill_list", student="stub", out=tmp_path, **SMALL)
        env.reset()
        assert len(env.score_test()["scored"]) == earlier + 1
        env.step([row(101), row(102)])
        assert env.score_test()["scored"][earlier:] == [
            {"iterations": 0, "rows": 0},
            {"iterations": 1, "rows": 2},
        ]


def test_what_cannot_be_trained_on_comes_back_with_its_reason(env: Any) -> None:
    env.reset()
    held_out = env._env.task.test[0]
    rows = [
        row(101),
        row(101),
        {"question": "What is 5 + 5?"},
        "no row",
        row(7, question=held_out.question, answer=held_out.answer),
        row(7, answer=""),
        *(row(n) for n in (102, 103, 104)),
    ]
    *_, info = env.step(rows)
    assert [r.question for r in info["accepted"]] == [f"What is {n} + {n}?" for n in (101, 102, 103)]
    failed = [r.verdicts[-1].check for r in info["rejected"]]
    assert failed == ["schema", "schema", "duplicate", "contamination", "format", "budget"]
    assert all(r.verdicts[-1].reason for r in info["rejected"])


def test_rows_of_programs_are_run_before_they_are_trained_on() -> None:
    isolation = "bubblewrap" if shutil.which("bwrap") else "rlimits"
    env = dataenvgym.make("code/skill_list", student="tiny", task__options__sandbox=isolation, **SMALL)
    tests = [{"input": "1\n2", "output": "3"}, {"input": "5\n6", "output": "11"}]
    sound = {
        "question": "Write a function add that returns the sum of two numbers.",
        "starter": "def add(a, b):",
        "tests": tests,
        "solution": "",
        "answer": "def add(a, b):\n    return a + b",
        "skill": "arithmetic",
    }
    rows = [
        sound,
        {
            **sound,
            "question": "Write a function add that returns twice a number.",
            "answer": "def add(a, b):\n    return 2 * a",
        },
        {**sound, "question": "Which tests say nothing?", "tests": []},
        {**sound, "question": "And which are none?", "tests": "none"},
    ]
    assert env.row_fields == {"starter": False, "tests": True}
    env.reset()
    *_, info = env.step(rows)
    assert [r.answer for r in info["accepted"]] == [sound["answer"]]
    assert {r.verdicts[-1].check for r in info["rejected"]} == {"execute"}
    assert "does not pass its own tests" in info["rejected"][0].verdicts[-1].reason
    pytest.importorskip("gymnasium")
    adapter = dataenvgym.gym_env(env)
    adapter.reset()
    texts = [row["tests"] if isinstance(row["tests"], str) else json.dumps(row["tests"]) for row in rows]
    action = tuple({**row, "tests": text} for row, text in zip(rows, texts, strict=True))
    assert adapter.action_space.contains(action)
    *_, info = adapter.step(action)
    assert [r.extra["tests"] for r in info["accepted"]] == [tests] and len(info["rejected"]) == 3
    adapter.close()


def test_reset_begins_again(env: Any) -> None:
    first, _ = env.reset(seed=1)
    env.step([row(101)])
    again, _ = env.reset(seed=1)
    assert again == first


def test_a_step_before_reset_is_refused(env: Any) -> None:
    with pytest.raises(DataEnvGymError, match="has not begun"):
        env.step([])


def test_unknown_names_and_settings_are_told(stub: Any) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'math'"):
        dataenvgym.make("mth/skill_list")
    with pytest.raises(UnknownNameError, match="Did you mean 'skill_tree'"):
        dataenvgym.make("math/skil_tree")
    with pytest.raises(ConfigError, match="budget"):
        dataenvgym.make("math/skill_tree", budget__iteration=2)


def test_the_adapter_passes_gymnasiums_own_check() -> None:
    checker = pytest.importorskip("gymnasium.utils.env_checker")
    env = dataenvgym.make("math/skill_tree", student="tiny", **SMALL)
    adapter = dataenvgym.gym_env(env)
    checker.check_env(adapter, skip_render_check=True)
    observation, info = adapter.reset()
    assert adapter.observation_space.contains(observation)
    assert info["observation"].structure == "skill_tree"
    adapter.close()


def test_without_state_the_adapter_holds_nothing_measured_on_the_student() -> None:
    checker = pytest.importorskip("gymnasium.utils.env_checker")
    env = dataenvgym.make("math/skill_tree", student="tiny", state=False, **SMALL)
    adapter = dataenvgym.gym_env(env)
    checker.check_env(adapter, skip_render_check=True)
    observation, info = adapter.reset()
    assert list(observation) == list(adapter.observation_space.spaces) == ["used"]
    assert info["observation"].accuracy is None
    adapter.close()
