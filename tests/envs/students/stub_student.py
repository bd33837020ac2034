"""The stub student of all tests, and one whose accuracy follows from its rows."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from dataenvgym.envs.config import StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.students import STUDENTS, StudentSpec, TrainSummary
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Example, Progress


class Training(NamedTuple):
    """The arguments of one call to `train`."""

    examples: list[Example]
    seed: int
    start: Path | None


class StubStudent:
    """Remembers the calls it gets, and how many rows the loaded adapter has. Subclasses answer and learn."""

    generation_key = "stub"

    def __init__(self, base_key: str = "stub") -> None:
        self.base_key = base_key
        self.asked: list[list[str]] = []
        self.trained: list[Training] = []
        self.adapter: Path | None = None
        self.rows = 0

    def answers(self, prompts: Sequence[str]) -> list[str]:
        """One answer per prompt, from the loaded adapter."""
        return ["no idea"] * len(prompts)

    def learn(self, examples: Sequence[Example], out: Path, start: Path | None) -> list[bool] | None:
        """The hits of a training; called before its summary is written."""
        return [True] * len(examples)

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        self.asked.append(list(prompts))
        return self.answers(prompts)

    def train(
        self,
        examples: Sequence[Example],
        out: Path,
        *,
        config: TrainConfig,
        seed: int,
        start: Path | None = None,
        progress: Progress | None = None,
    ) -> TrainSummary:
        self.trained.append(Training(list(examples), seed, start))
        out.mkdir(parents=True)
        hits = self.learn(examples, out, start)
        (out / "train.json").write_text(json.dumps({"rows": len(examples), "hits": hits}))
        return TrainSummary(rows=len(examples), steps=1, seconds=0.0, tokens=0, final_loss=0.0)

    def load(self, adapter: Path | None) -> None:
        self.adapter = adapter
        self.rows = json.loads((adapter / "train.json").read_text())["rows"] if adapter else 0

    def close(self) -> None:
        """Holds nothing."""


class GrowingStudent(StubStudent):
    """Answers rightly a share of the questions that grows by a hundredth with each row it was trained on."""

    def __init__(self, right: dict[str, str]) -> None:
        super().__init__()
        self._right = right

    def answers(self, prompts: Sequence[str]) -> list[str]:
        return [self._right[p] if self._knows(p) else "no idea" for p in prompts]

    def _knows(self, prompt: str) -> bool:
        return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 100 < self.rows


def register(student: StubStudent, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the student available under its base key, with an empty cache, until `patch` is undone."""
    from dataenvgym.graphs import resources

    def make(config: StudentConfig, report: object) -> StubStudent:
        return student

    patch.setitem(STUDENTS, student.base_key, StudentSpec(student.base_key, "for tests", make))
    patch.setenv("DATAENVGYM_CACHE", str(cache))
    resources.close_all()


def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GrowingStudent:
    """The student `stub`, registered for this test, on one val and one test instance per skill."""
    task = load_task(TaskConfig(val_size=1, test_size=1))
    right = {
        task.domain.prompt(i): task.domain.render_answer("", i.answer)
        for i in (*task.val, *task.test, *task.train)
    }
    student = GrowingStudent(right)
    register(student, tmp_path / "cache", monkeypatch)
    return student
