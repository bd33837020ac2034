"""The environment alone, for teachers that are not graphs: `reset()` returns an observation, `step(rows)` trains.

env = dataenvgym.make("math/skill_tree", student="tiny")
observation, info = env.reset()
observation, reward, terminated, truncated, info = env.step(rows)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dataenvgym.agents.checks import CheckContext, find_check
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.llm.loops import run_now
from dataenvgym.agents.verifier import verify
from dataenvgym.envs.errors import DataEnvGymError, DataError, UnknownNameError
from dataenvgym.envs.evaluation import accuracy
from dataenvgym.envs.observation import Lesson, Observation
from dataenvgym.envs.stats import paired_gain, wilson
from dataenvgym.envs.tasks import TASKS
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import DataRequest, Plan, Prediction, Provenance, Rejected, Row, Verdict
from dataenvgym.graphs.config import STRUCTURES, EpisodeConfig, load_config
from dataenvgym.graphs.episode import budget_left, find_skills
from dataenvgym.graphs.resources import env_of, held_out_of, task_of
from dataenvgym.runs.scorings import add

Reset = tuple[Observation, dict[str, Any]]
FIELDS = ("question", "solution", "answer", "skill")
"""The fields of a row in every domain."""

Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class DataEnv:
    """An episode driven by hand, with Gymnasium's five-tuple (https://gymnasium.farama.org/api/env/).

    `step` applies the config's checks that need no model; `info` returns the rejected rows with reasons.
    """

    def __init__(self, config: EpisodeConfig, out: Path | None = None) -> None:
        """`out`: folder for trained students; None: a temporary one, removed with the environment."""
        self.config = config
        self._temporary = None if out else tempfile.TemporaryDirectory(prefix="dataenvgym-")
        self._folder = str(out or self._temporary.name)  # type: ignore[union-attr]
        self._env = env_of(config, self._folder)
        self._found: dict[str, str] | None = None
        self._begin()

    def _begin(self) -> None:
        self._evaluations: list[list[Prediction]] = []
        self._lessons: list[Lesson] = []
        self._students: list[str | None] = [None]
        self._ended = False

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Reset:
        """Return to the base student. `seed`: a new seed for everything that follows; None: keep the seed.

        Returns:
            The first observation, and `info` with accuracy (0 to 1), its 95% interval and n.
        """
        if seed is not None and seed != self.config.seed:
            self.config = self.config.model_copy(update={"seed": seed})
            self._env = env_of(self.config, self._folder)
        self._begin()
        self._evaluations = [self._env.evaluate(None, self._env.task.val, self._skills_of())]
        return self._observe(), self._info()

    @property
    def skills(self) -> tuple[str, ...]:
        """The skills of the val split, in order; computed at first use."""
        return tuple(sorted(set(self._skills_of().values())))

    @property
    def row_fields(self) -> dict[str, bool]:
        """The other fields of a row in this domain, beside question, solution, answer and skill.

        Maps the name to whether the field is more than a text.
        """
        fields = self._env.task.domain.row_model.model_fields
        return {name: field.annotation is not str for name, field in fields.items() if name not in FIELDS}

    def step(self, rows: Iterable[Row | Mapping[str, Any]]) -> Step:
        """Train the student on rows and evaluate it on val.

        Args:
            rows: rows, or mappings with question, solution, answer and skill. Invalid
                rows, rows that fail a check and rows over the budget are rejected with a reason.

        Returns:
            (observation, reward, terminated, truncated, info). Reward: the change in val accuracy. Terminated:
            the target is reached; truncated: the budget of iterations or rows is used. `info`: accepted,
            rejected, accuracy, interval, n.

        Raises:
            DataEnvGymError: `reset` was not called, or the episode has ended.
        """
        if not self._evaluations or self._ended:
            why = "the episode has ended" if self._evaluations else "the episode has not begun"
            raise DataEnvGymError(f"{why}: call reset()")
        accepted, rejected = self._verify(list(rows))
        student = parent = self._students[-1]
        lessons = [*(lesson.rows for lesson in self._lessons), accepted]
        try:
            student = self._env.train(lessons, parent) if accepted else parent
        except DataError as error:  # every row is too long for the student
            rejected += [_reject(row.model_dump(), "length", str(error)) for row in accepted]
            accepted = []
        known = self._env.known(lessons, parent, student) if accepted else {}
        self._lessons.append(Lesson(plan=_plan_of(accepted), rows=accepted, known=known))
        self._students.append(student)
        before = accuracy(self._evaluations[-1])
        self._evaluations.append(self._env.evaluate(student, self._env.task.val, self._skills_of()))
        now, budget = accuracy(self._evaluations[-1]), self.config.budget
        terminated = budget.target is not None and now >= budget.target
        spent = budget.rows is not None and self._taught() >= budget.rows
        truncated = not terminated and (len(self._lessons) >= budget.iterations or spent)
        self._ended = terminated or truncated
        info = {**self._info(), "accepted": accepted, "rejected": rejected}
        return self._observe(), now - before, terminated, truncated, info

    def score_test(self) -> dict[str, Any]:
        """Score the base and the best student (chosen on val) on the private test split.

        Returns accuracies, gain, 95% intervals, n, and `scored`: of each call on this environment and its folder
        the iterations and rows before it. More than one means that an earlier score may have steered the rows.
        """
        accuracies = [accuracy(e) for e in self._evaluations]
        best = self._students[accuracies.index(max(accuracies))]
        test = self._env.task.test
        base = self._env.evaluate(None, test, {})
        after = base if best is None else self._env.evaluate(best, test, {})
        was, now = ([p.correct for p in scored] for scored in (base, after))
        scored = {"iterations": len(self._lessons), "rows": self._taught()}
        return {
            "scored": add(Path(self._folder), scored, again=True),
            "n": len(test),
            "base": wilson(sum(was), len(was))._asdict(),
            "best": wilson(sum(now), len(now))._asdict(),
            "gain": paired_gain(was, now)._asdict(),
        }

    def close(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def _skills_of(self) -> dict[str, str]:
        """Instance id -> skill."""
        if self._found is None:
            self._found = run_now(find_skills(self.config, self._folder))
        return self._found

    def _taught(self) -> int:
        return sum(len(lesson.rows) for lesson in self._lessons)

    def _budget(self) -> int:
        return budget_left(self.config, self._taught())

    def _observe(self) -> Observation:
        return self._env.observe(
            structure=self.config.structure,
            state=self.config.state,
            iteration=len(self._lessons) + 1,
            budget=self._budget(),
            evaluations=self._evaluations,
            lessons=self._lessons,
            answers=self._env.answer_rows(self._students[-1], self._lessons, self.config.rows_answered()),
        )

    def _info(self) -> dict[str, Any]:
        last = self._evaluations[-1]
        right = sum(p.correct for p in last)
        return {"accuracy": accuracy(last), "n": len(last), "interval": wilson(right, len(last))._asdict()}

    def _verify(self, given: list[Row | Mapping[str, Any]]) -> tuple[list[Row], list[Rejected]]:
        rejected: list[Rejected] = []
        rows: list[Row] = []
        for number, item in enumerate(given):
            try:
                row = item if isinstance(item, Row) else _row(item, len(self._lessons) + 1, number)
            except (ValidationError, TypeError, ValueError) as error:
                raw = dict(item) if isinstance(item, Mapping) else {"raw": repr(item)[:200]}
                rejected.append(_reject(raw, "schema", str(error)))
                continue
            rows.append(row)
        checks = self.config.teacher.checks
        own = [name for name in checks.names if find_check(name).cost in ("free", "sandbox")]
        seen = AcceptedQuestions(checks.similarity)
        for row in (row for lesson in self._lessons for row in lesson.rows):
            seen.add(row.id, row.question)
        task = task_of(self.config)
        context = CheckContext(
            task.domain, checks.model_copy(update={"names": own}), held_out_of(self.config), seen
        )
        found = run_now(verify(rows, context))
        room = self._budget()
        over = [
            _reject(row.model_dump(), "budget", f"over the iteration's budget of {counted(room, 'row')}")
            for row in found.accepted[room:]
        ]
        return found.accepted[:room], [*rejected, *found.rejected, *over]


def make(name: str, *, student: str | None = None, out: Path | None = None, **settings: Any) -> DataEnv:
    """Make the environment `<domain or task>/<structure>`, e.g. "math/skill_tree" or "gsm8k/open_ended".

    Args:
        name: a domain stands for its first embedded task: math for arithmetic (Hendrycks MATH is
            `task__name="math"`).
        student: as `student.name` in the config.
        out: folder for trained students; None: a temporary one.
        settings: config keys with `__` for the dot, e.g. `budget__iterations=2`.

    Raises:
        UnknownNameError: no such domain, task or structure.
        ConfigError: a setting that the config refuses.
    """
    what, _, structure = name.partition("/")
    structure = structure or "skill_tree"
    domains: dict[str, str] = {}
    for task in TASKS.values():
        if task.embedded:
            domains.setdefault(task.domain, task.name)
    if what not in domains and what not in TASKS:
        raise UnknownNameError("domain or task", what, [*domains, *TASKS])
    if structure not in STRUCTURES:
        raise UnknownNameError("structure", structure, STRUCTURES)
    changes = {"task__name": domains.get(what, what), "structure": structure, **settings}
    if student is not None:
        changes["student__name"] = student
    overrides = [f"{key.replace('__', '.')}={json.dumps(value, default=str)}" for key, value in changes.items()]
    return DataEnv(load_config(None, overrides), out)


def _row(item: Any, iteration: int, number: int) -> Row:
    if not isinstance(item, Mapping):
        raise TypeError(f"expected a mapping with question, solution, answer and skill, got {type(item).__name__}")
    source = Provenance(iteration=iteration, request="", model="", prompt="", prompt_hash="")
    known = ("question", "solution", "answer", "skill", "subskill", "extra", "id", "provenance")
    extra = {key: value for key, value in item.items() if key not in known}
    fields = {key: value for key, value in item.items() if key in known}
    defaults = {"id": f"{iteration:03d}-{number}", "solution": "", "provenance": source, "extra": extra}
    return Row.model_validate({**defaults, **fields})


def _plan_of(rows: list[Row]) -> Plan:
    """Make the plan that matches the rows; the forest is computed from it."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[row.skill, row.subskill] = counts.get((row.skill, row.subskill), 0) + 1
    requests = [
        DataRequest(id=f"r{number}", skill=skill, subskill=subskill, count=count)
        for number, ((skill, subskill), count) in enumerate(counts.items())
    ]
    return Plan(policy="by hand", requests=requests)


def _reject(row: dict[str, Any], check: str, reason: str) -> Rejected:
    return Rejected(row=row, verdicts=[Verdict(check=check, passed=False, reason=reason)])
