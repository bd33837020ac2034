"""Finished episodes with the tiny student, and episodes with the stub."""

from collections.abc import Callable
from pathlib import Path

import pytest
from stub_student import GrowingStudent, registered

from dataenvgym.graphs.config import EpisodeConfig, load_config
from dataenvgym.runs.run import Outcome, run

SMALL = ("task.val_size=1", "task.test_size=1", "student.generation.max_new_tokens=4", "budget.iterations=2")

Episode = Callable[[str, bool], Outcome]
MakeConfig = Callable[..., EpisodeConfig]


@pytest.fixture(scope="session")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    """(structure, state) -> a finished episode of two iterations with the tiny student, run once."""
    done: dict[tuple[str, bool], Outcome] = {}

    def get(structure: str, state: bool) -> Outcome:
        if (structure, state) not in done:
            chosen = (f"structure={structure}", f"state={str(state).lower()}", "student.name=tiny")
            config = load_config(None, [*SMALL, *chosen, "budget.rows_per_iteration=12"])
            folder = tmp_path_factory.mktemp("episode") / f"{structure}-{state}"
            done[structure, state] = run(config, folder)
        return done[structure, state]

    return get


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GrowingStudent:
    """The student `stub`, registered for this test."""
    return registered(tmp_path, monkeypatch)


@pytest.fixture
def stub_config(stub: GrowingStudent) -> MakeConfig:
    """Settings -> a small config with the stub student."""
    return lambda *settings: load_config(
        None, [*SMALL, "student.name=stub", "structure=skill_list", "budget.rows_per_iteration=12", *settings]
    )
