"""The environment: a plain object that trains the student on rows, evaluates it and makes the observation."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import Any

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.evaluation import accuracy, by_skill, predict_cached, score
from dataenvgym.envs.observation import CurvePoint, Lesson, Observation, SkillState, leaf_rows, subskills
from dataenvgym.envs.store import write_json
from dataenvgym.envs.students.base import Student, shown
from dataenvgym.envs.students.weights import damage
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.types import Example, Instance, Prediction, Progress, Report, Row, stage_progress

# The files whose presence says that a training has finished; the folder is renamed into place after them.
TRAINED = "train.json"
TOLD = ("steps", "final_loss", "tokens_per_second", "peak_memory_mb", "micro_batch", "notes")
EXEMPLARS_PER_SKILL = 6
WITHHELD = {"accuracy": None, "n": 0, "known_before": None}
"""What a subskill's state says of the student, without state."""


class TeacherEnv:
    """A task and a student.

    Args:
        students: the folder that trained adapters are kept in, one folder per key.
        answered: called with (answers of the student, those of them that came from the cache) for each set.
    """

    def __init__(
        self,
        task: Task,
        student: Student,
        train: TrainConfig,
        students: Path,
        seed: int = 0,
        answered: Callable[[int, int], None] | None = None,
    ) -> None:
        self.task, self.student, self.train_config = task, student, train
        self._students, self._seed, self._answered = students, seed, answered

    def train(
        self, lessons: Sequence[Sequence[Row]], parent: str | None, report: Report | None = None
    ) -> str | None:
        """Train on the rows and return the new student's key; returns at once when that student exists.

        With `train.method: dpo` the student that training starts from answers the rows first, and only its wrong
        answers give pairs. When all its answers are right, its own key is returned (None: the base).

        Args:
            lessons: the accepted rows, one sequence per iteration.
            parent: key of the last student (None: the base). With `train.start: base` it is not used and
                training takes all lessons; with `last` training continues from it with the last lesson alone.
        """
        fresh = self.train_config.start == "base"
        start = None if fresh else parent
        learnt = [self._learnt(lesson, start, report) for lesson in (lessons if fresh else lessons[-1:])]
        examples = [example for lesson in learnt for example in lesson if example is not None]
        if not examples and self.train_config.method == "dpo":
            return start  # the student is right on every row
        key = self._key(examples, start)
        folder = self._students / key
        if not (folder / TRAINED).is_file():
            partial = folder.with_name(key + ".partial")
            rmtree(partial, ignore_errors=True)
            before = None if start is None else self._students / start
            with self._reading(before):
                self.student.train(
                    examples,
                    partial,
                    config=self.train_config,
                    seed=self._seed,
                    start=before,
                    progress=stage_progress(report, "training steps"),
                )
            if self.train_config.method == "dpo":  # only the answers above show which rows were known
                summary = json.loads((partial / TRAINED).read_text())
                known = [example is None for lesson in learnt for example in lesson]
                write_json(partial / TRAINED, {**summary, "hits": known})
            rmtree(folder, ignore_errors=True)
            partial.replace(folder)
        return key

    def key(self, rows: Sequence[Row], start: str | None) -> str:
        """Identify a student by its parent, data, train config and seed.

        With `method: dpo` the data are pairs; their rejected answers come from the student that training starts
        from.
        """
        return self._key([e for e in self._learnt(rows, start) if e is not None], start)

    def _key(self, examples: Sequence[Example], start: str | None) -> str:
        # An example without a rejected text has the key that it had before rejected texts existed.
        data = [list(example if example.rejected is not None else example[:3]) for example in examples]
        made_from = {
            "base": self.student.base_key,
            "start": start,
            "data": hashlib.sha256(json.dumps(data).encode()).hexdigest(),
            "train": self.train_config.identity(),
            "seed": self._seed,
        }
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]

    def _learnt(
        self, rows: Sequence[Row], start: str | None, report: Report | None = None
    ) -> list[Example | None]:
        """Make one example per row. For `method: dpo` its rejected text is the wrong answer of the student that
        training starts from; None where that student is right."""
        domain = self.task.domain
        examples = [domain.example(row) for row in rows]
        if self.train_config.method == "sft" or not rows:
            return list(examples)
        texts = self.texts(
            start, [example.prompt for example in examples], stage_progress(report, "answers to the rows")
        )
        scored = domain.score(rows, texts, stage_progress(report, "programs among them"))
        return [
            None if found.correct else example._replace(rejected=text)
            for example, text, found in zip(examples, texts, scored, strict=True)
        ]

    def training(self, key: str) -> dict[str, Any]:
        """Return the figures of that student's training that its trainer reports: steps, final_loss,
        tokens_per_second, peak_memory_mb, micro_batch and notes (see TrainSummary)."""
        told = json.loads((self._students / key / TRAINED).read_text())
        return {name: told[name] for name in TOLD if told.get(name) is not None}

    def known(self, lessons: Sequence[Sequence[Row]], parent: str | None, key: str | None) -> dict[str, bool]:
        """Tell by row id whether the student that training starts from would have written the row (TrainSummary).

        The arguments are those of `train`, and the key that it returned. Empty where the trainer does not tell.
        """
        rows = [
            row for lesson in (lessons if self.train_config.start == "base" else lessons[-1:]) for row in lesson
        ]
        if key is None or key == parent:  # no training: with `method: dpo` the student is right on every row
            return {row.id: True for row in rows} if self.train_config.method == "dpo" else {}
        hits = json.loads((self._students / key / TRAINED).read_text()).get("hits") or []
        same = len(hits) == len(rows)
        return {row.id: bool(hit) for row, hit in zip(rows, hits, strict=True)} if same else {}

    def answer_rows(
        self, key: str | None, lessons: Sequence[Lesson], most: int, report: Report | None = None
    ) -> list[Prediction]:
        """Score a student on a sample of the rows of each subskill, `most` at most, by the task's scorer (paper,
        section 2.1: the accuracy of a leaf). Returns nothing, and loads nothing, where no row has a subskill."""
        rows = leaf_rows(lessons, most, self._seed)
        if key is None or not rows:
            return []
        domain = self.task.domain
        prompts = [domain.example(row).prompt for row in rows]
        texts = self.texts(key, prompts, stage_progress(report, "answers to its rows"))
        return score(domain, rows, texts, {}, stage_progress(report, "programs among them"))

    def evaluate(
        self,
        key: str | None,
        instances: Sequence[Instance],
        skills: Mapping[str, str],
        report: Report | None = None,
    ) -> list[Prediction]:
        """Score a student (None: the base) on instances, with the prompt it is trained with.

        `report` is called as answers come and, where answers are programs, as programs finish.
        """
        texts = self.texts(
            key, [self.task.domain.prompt(item) for item in instances], stage_progress(report, "answers")
        )
        return score(self.task.domain, instances, texts, skills, stage_progress(report, "programs"))

    def texts(self, key: str | None, prompts: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Generate answers, reusing cached predictions. `key=None` selects the base model."""
        folder = None if key is None else self._students / key
        with self._reading(folder):
            self.student.load(folder)
            found = predict_cached(self.student, key or self.student.base_key, prompts, progress)
        if self._answered is not None:
            self._answered(len(found.texts), found.cached)
        return found.texts

    def shown(self, item: Instance) -> str:
        """Return an instance's prompt as the student's model gets it, with special tokens visible."""
        return shown(self.student, self.task.domain.prompt(item))

    @contextmanager
    def _reading(self, folder: Path | None) -> Iterator[None]:
        """Read a student of the run.

        Raises:
            RunFolderError: it cannot be read, because its files are damaged.
        """
        try:
            yield
        except Exception:
            fault = None if folder is None else damage(folder)
            if fault is None:
                raise
            raise RunFolderError(
                f"{folder} is damaged ({fault}). Restore it from a copy, or start anew before it was trained: "
                f"dataenvgym fork {self._students.parent} --at ITERATION"
            ) from None

    def observe(
        self,
        *,
        structure: str,
        state: bool,
        iteration: int,
        budget: int,
        evaluations: Sequence[Sequence[Prediction]],
        lessons: Sequence[Lesson],
        answers: Sequence[Prediction] = (),
    ) -> Observation:
        """Make the observation before `iteration` (1-based), from all evaluations (base first) and lessons so far.

        `answers`: the last student's to a sample of its rows (`answer_rows`), for the accuracy of the subskills.

        Without state it has the names of the skills, the forest's allocations and exemplars, but nothing
        measured on the student.
        """
        last = evaluations[-1]
        right = {answer.id: answer.correct for answer in answers}
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
            leaves = subskills(lessons, name, right)
            skills.append(
                SkillState(
                    name=name,
                    accuracy=curve[-1] if state else None,
                    n=len(groups[-1][name]) if state else 0,
                    rows=rows.get(name, 0),
                    reward=rewards[-1] if state and rewards else None,
                    rewards=rewards if state else [],
                    subskills=leaves if state else [s.model_copy(update=WITHHELD) for s in leaves],
                )
            )
        return Observation(
            task=self.task.name,
            domain=self.task.domain.name,
            structure=structure,
            state=state,
            start=self.train_config.start,
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
        """Draw the exemplars of an iteration from train: some of each skill, and some of any."""
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
