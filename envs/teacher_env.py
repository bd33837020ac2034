"""The environment itself: a plain object that trains the student on rows, evaluates it and shows the result."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from shutil import rmtree

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.evaluation import accuracy, by_skill, predict_cached, score
from dataenvgym.envs.observation import CurvePoint, Lesson, Observation, SkillState, subskills
from dataenvgym.envs.students.base import Progress, Student
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.types import Instance, Prediction, Row

# The files whose presence says that a training has finished; the folder is renamed into place after them.
TRAINED = "train.json"
EXEMPLARS_PER_SKILL = 6


class TeacherEnv:
    """A task and a student. `students` is the folder that trained adapters are kept in, one folder per key."""

    def __init__(self, task: Task, student: Student, train: TrainConfig, students: Path, seed: int = 0) -> None:
        self.task, self.student, self.train_config = task, student, train
        self._students, self._seed = students, seed

    def train(self, lessons: Sequence[Sequence[Row]], parent: str | None, progress: Progress | None = None) -> str:
        """Train on the rows and return the new student's key; returns at once when that student exists.

        Args:
            lessons: the accepted rows, one sequence per iteration.
            parent: key of the last student (None: the base). With `train.start: base` it is not used and all
                lessons are learnt; with `last` training goes on from it with the last lesson alone.
        """
        fresh = self.train_config.start == "base"
        rows = [row for lesson in (lessons if fresh else lessons[-1:]) for row in lesson]
        start = None if fresh else parent
        key = self.key(rows, start)
        folder = self._students / key
        if not (folder / TRAINED).is_file():
            partial = folder.with_name(key + ".partial")
            rmtree(partial, ignore_errors=True)
            examples = [self.task.domain.example(row) for row in rows]
            self.student.train(
                examples,
                partial,
                config=self.train_config,
                seed=self._seed,
                start=None if start is None else self._students / start,
                progress=progress,
            )
            rmtree(folder, ignore_errors=True)
            partial.replace(folder)
        return key

    def key(self, rows: Sequence[Row], start: str | None) -> str:
        """Identifies a student by what it is made from: parent, data, train config and seed."""
        examples = [list(self.task.domain.example(row)) for row in rows]
        made_from = {
            "base": self.student.base_key,
            "start": start,
            "data": hashlib.sha256(json.dumps(examples).encode()).hexdigest(),
            "train": self.train_config.model_dump(),
            "seed": self._seed,
        }
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]

    def hits(self, key: str) -> list[bool] | None:
        """Per row of that student's training: whether it was known when first met (see TrainSummary)."""
        hits = json.loads((self._students / key / TRAINED).read_text()).get("hits")
        return None if hits is None else [bool(h) for h in hits]

    def evaluate(
        self,
        key: str | None,
        instances: Sequence[Instance],
        skills: Mapping[str, str],
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """Score a student (None: the base) on instances, with the prompt it is trained with."""
        texts = self.texts(key, [self.task.domain.prompt(item) for item in instances], progress)
        return score(self.task.domain, instances, texts, skills)

    def texts(self, key: str | None, prompts: Sequence[str], progress: Progress | None = None) -> list[str]:
        """What a student (None: the base) says to prompts; what it said before is not asked again."""
        self.student.load(None if key is None else self._students / key)
        return predict_cached(self.student, key or self.student.base_key, prompts, progress)

    def observe(
        self,
        *,
        structure: str,
        state: bool,
        iteration: int,
        budget: int,
        evaluations: Sequence[Sequence[Prediction]],
        lessons: Sequence[Lesson],
    ) -> Observation:
        """The observation before `iteration` (1-based), from all evaluations (base first) and lessons so far.

        Without state it holds the names of the skills, the forest's allocations and exemplars, and nothing
        that was measured on the student.
        """
        last = evaluations[-1]
        groups = [by_skill(e) for e in evaluations]
        rows: dict[str, int] = {}
        for lesson in lessons:
            for row in lesson.rows:
                rows[row.skill] = rows.get(row.skill, 0) + 1
        history, total = [], 0
        for number, predictions in enumerate(evaluations):
            total += len(lessons[number - 1].rows) if number else 0
            history.append(
                CurvePoint(iteration=number, rows=total, accuracy=accuracy(predictions), n=len(predictions))
            )
        skills = []
        for name in groups[-1]:
            curve = [accuracy(g[name]) for g in groups if name in g]
            rewards = [after - before for before, after in pairwise(curve)]
            leaves = subskills(lessons, name)
            skills.append(
                SkillState(
                    name=name,
                    accuracy=curve[-1] if state else None,
                    n=len(groups[-1][name]) if state else 0,
                    rows=rows.get(name, 0),
                    reward=rewards[-1] if state and rewards else None,
                    rewards=rewards if state else [],
                    subskills=leaves if state else [s.model_copy(update={"accuracy": None}) for s in leaves],
                )
            )
        return Observation(
            task=self.task.name,
            domain=self.task.domain.name,
            structure=structure,
            state=state,
            iteration=iteration,
            budget=budget,
            accuracy=accuracy(last) if state else None,
            n=len(last) if state else 0,
            reward=history[-1].accuracy - history[-2].accuracy if state and len(history) > 1 else None,
            history=history if state else [],
            predictions=list(last) if state else [],
            skills=skills,
            exemplars=self._exemplars(iteration, [s.name for s in skills]),
        )

    def _exemplars(self, iteration: int, skills: Sequence[str]) -> list[Instance]:
        """Train instances to write from, drawn anew each iteration: some of each skill, and some of any."""
        rng = random.Random(f"exemplars/{self._seed}/{iteration}")
        chosen: dict[str, Instance] = {}
        for skill in skills:
            pool = [item for item in self.task.train if item.skill == skill]
            for item in rng.sample(pool, min(EXEMPLARS_PER_SKILL, len(pool))):
                chosen[item.id] = item
        wanted = EXEMPLARS_PER_SKILL * max(1, len(skills))
        rest = [item for item in self.task.train if item.id not in chosen]
        for item in rng.sample(rest, min(max(0, wanted - len(chosen)), len(rest))):
            chosen[item.id] = item
        return list(chosen.values())
