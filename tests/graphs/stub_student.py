"""A student whose accuracy follows from its rows."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dataenvgym.envs.config import StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.students import STUDENTS, StudentSpec, TrainSummary
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Example, Progress


class StubStudent:
    """Answers rightly a share of the questions that grows by a hundredth with each row it was trained on."""

    generation_key = "stub"

    def __init__(self, right: dict[str, str]) -> None:
        self.base_key, self._right, self._rows = "stub", right, 0
        self.asked: list[list[str]] = []

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        self.asked.append(list(prompts))
        return [self._right[p] if self._knows(p) else "no idea" for p in prompts]

    def _knows(self, prompt: str) -> bool:
        return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 100 < self._rows

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
        out.mkdir(parents=True)
        (out / "train.json").write_text(json.dumps({"rows": len(examples), "hits": [True] * len(examples)}))
        return TrainSummary(rows=len(examples), steps=1, seconds=0.0, tokens=0, final_loss=0.0)

    def load(self, adapter: Path | None) -> None:
        self._rows = json.loads((adapter / "train.json").read_text())["rows"] if adapter else 0

    def close(self) -> None:
        """Holds nothing."""


def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubStudent:
    """The student `stub`, registered for this test, on one val and one test instance per skill."""
    from dataenvgym.graphs import live

    task = load_task(TaskConfig(val_size=1, test_size=1))
    right = {
        task.domain.prompt(i): task.domain.render_answer("", i.answer)
        for i in (*task.val, *task.test, *task.train)
    }
    student = StubStudent(right)

    def make(config: StudentConfig, report: object) -> StubStudent:
        return student

    monkeypatch.setitem(STUDENTS, "stub", StudentSpec("stub", "for tests", make))
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "cache"))
    live.close_all()
    return student
