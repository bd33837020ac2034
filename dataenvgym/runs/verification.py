"""Run the checks over any file of rows, or over stored rows again with other checks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.verifier import VerificationResult, verify
from dataenvgym.envs.errors import ConfigError, DataError, RunFolderError, UnknownNameError
from dataenvgym.envs.store import Store, copy_database
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import Provenance, Rejected, Report, Row, Verdict, stage_progress
from dataenvgym.graphs.config import CONFIG_FILE, EpisodeConfig, load_config
from dataenvgym.graphs.resources import RESPONSES, held_out_of, in_student_thread, student_of, task_of
from dataenvgym.graphs.state import Step
from dataenvgym.graphs.summary import best_step
from dataenvgym.runs.folder import CHECKPOINTS, readable
from dataenvgym.runs.run import THREAD, episode_graph

UNKNOWN = Provenance(iteration=0, request="file", model="", prompt="", prompt_hash="")


def read_rows(path: Path) -> tuple[list[Row], list[Rejected]]:
    """Read the rows of a JSONL file, and its invalid lines with reasons.

    A line is a row of a run, a record of rejected.jsonl (its row, with the marks of the checks), or any object
    with `question` and `answer`; other fields get a default.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")  # a text may contain U+2028
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    rows: list[Row] = []
    broken: list[Rejected] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(json.loads(line), f"line-{number}"))
        except (ValueError, TypeError) as error:
            reason = f"line {number}: {_short(error)}"
            verdict = Verdict(check="schema", passed=False, reason=reason)
            broken.append(Rejected(row={"raw": line[:2000]}, verdicts=[verdict]))
    return rows, broken


class AskedStudent(NamedTuple):
    """The student that the check `student` asks: its key (None: the base), and its name in words."""

    key: str | None
    name: str


BASE = AskedStudent(None, "the base student")
CHOICES = ("base", "last", "best")


async def find_student(path: Path, config: EpisodeConfig, run_dir: Path | None, which: str | None) -> AskedStudent:
    """Find the student that is to be asked whether it knows the rows of the file `path`.

    Args:
        which: `base`, `last`, `best` (on val) or the number of an iteration. None: for a file of an iteration of
            the run, the student before that iteration, as in the episode; for another file the last one.

    Raises:
        ConfigError: no run to take it from, or a config with another student than the run's.
        RunFolderError: the run has no such student.
        UnknownNameError: `which` is none of these.
    """
    if which is not None and which not in CHOICES and not which.isdecimal():
        raise UnknownNameError("student", which, [*CHOICES, "the number of an iteration"])
    if which == "base" or (run_dir is None and which is None):
        return BASE
    if run_dir is None:
        raise ConfigError(f"--student {which}: name the run with --run")
    steps = await _steps_of(run_dir, config)
    number = _iteration_of(which or _before(path, run_dir), steps)
    if number >= max(1, len(steps)):
        raise RunFolderError(
            f"{run_dir} has no student after iteration {number}: 0 (the base) to {max(0, len(steps) - 1)}"
        )
    key = steps[number]["student"] if number else None
    if key is None:
        return BASE
    own = load_config(run_dir / CONFIG_FILE).student.name
    if config.student.name != own:
        raise ConfigError(
            f"student.name is {config.student.name!r}, but the students of {run_dir} are trained from {own!r}; "
            "ask the base with --student base"
        )
    return AskedStudent(key, f"the student after iteration {number}")


def _before(path: Path, run_dir: Path) -> str:
    """Name the iteration whose student the rows of a file met; `last` for a file outside the run's iterations."""
    folder = path.resolve().parent
    own = folder.parent == (run_dir / "iterations").resolve() and folder.name.isdecimal()
    return str(max(0, int(folder.name) - 1)) if own else "last"


def _iteration_of(which: str, steps: Sequence[Step]) -> int:
    if which.isdecimal():
        return int(which)
    if not steps:
        return 0
    return best_step(steps)["iteration"] if which == "best" else len(steps) - 1


async def _steps_of(run_dir: Path, config: EpisodeConfig) -> list[Step]:
    """Read the finished iterations from a copy of the checkpoints; none where there are no checkpoints."""
    with tempfile.TemporaryDirectory(prefix="dataenvgym-") as folder, readable(run_dir / CHECKPOINTS):
        copy = Path(folder) / CHECKPOINTS
        copy_database(run_dir / CHECKPOINTS, copy)
        async with episode_graph(copy, config) as graph:
            steps: list[Step] = (await graph.aget_state(THREAD)).values.get("steps", [])
            return steps


async def verify_file(
    path: Path,
    config: EpisodeConfig,
    run_dir: Path | None,
    report: Report | None = None,
    student: str | None = None,
) -> VerificationResult:
    """Run the config's checks on the rows of a file.

    `run_dir`: a run whose response cache answers repeated calls and stores new ones; its ledger does not change.
    Rows with stored solutions (from `solve`) are not solved again. `student`: the key of the run's student that
    the check `student` asks (see `find_student`); None: the base.
    """
    rows, broken = read_rows(path)
    task, teacher = task_of(config), config.teacher
    cache = ResponseCache(run_dir / RESPONSES) if run_dir else None
    gateway = Gateway(
        teacher.model_of("solve"), seed=config.seed, cache=cache, ledger=None, domain=task.domain.name
    )

    async def answers(prompts: Sequence[str]) -> list[str]:
        def ask() -> list[str]:
            train, students = config.student_config().train, (run_dir or Path()).absolute() / "students"
            env = TeacherEnv(task, student_of(config, report), train, students)
            return env.texts(student, prompts, stage_progress(report, "the student's answers"))

        return await in_student_thread(ask)

    context = CheckContext(
        task.domain,
        teacher.checks,
        held_out_of(config),
        AcceptedQuestions(teacher.checks.similarity),
        TeacherClient(gateway, task.domain, teacher, "verify", 0),
        answers,
        report,
    )
    found = await verify(rows, context)
    return VerificationResult(found.accepted, [*broken, *found.rejected])


def write_verified(found: VerificationResult, out: Path) -> None:
    """Write `accepted.jsonl` and `rejected.jsonl` into the folder `out`."""
    store = Store(out)
    store.save("accepted.jsonl", found.accepted)
    store.save("rejected.jsonl", found.rejected)


def _row(data: Any, name: str) -> Row:
    if not isinstance(data, dict):
        raise TypeError(f"a row is a JSON object, this is {type(data).__name__}")
    if isinstance(data.get("row"), dict):
        marks = {k: v for verdict in data.get("verdicts", []) for k, v in verdict.get("marks", {}).items()}
        data = {**data["row"], "extra": {**data["row"].get("extra", {}), **marks}}
    known = {key: value for key, value in data.items() if key in Row.model_fields}
    extra = {key: value for key, value in data.items() if key not in Row.model_fields}
    given = {"id": name, "solution": "", "skill": "", "provenance": UNKNOWN, **known}
    return Row.model_validate({**given, "extra": {**given.get("extra", {}), **extra}})


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
    return str(error)
