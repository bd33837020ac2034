"""Run the checks over any file of rows, or over stored rows again with other checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.verifier import VerificationResult, verify
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.store import Store
from dataenvgym.envs.types import Provenance, Rejected, Report, Row, Verdict, stage_progress
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.resources import RESPONSES, held_out_of, in_student_thread, student_of, task_of

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


async def verify_file(
    path: Path, config: EpisodeConfig, run_dir: Path | None, report: Report | None = None
) -> VerificationResult:
    """Run the config's checks on the rows of a file.

    `run_dir`: a run whose response cache answers repeated calls and stores new ones; its ledger does not change.
    Rows with stored solutions (from `solve`) are not solved again. The check `student` asks the config's student
    before any training.
    """
    rows, broken = read_rows(path)
    task, teacher = task_of(config), config.teacher
    cache = ResponseCache(run_dir / RESPONSES) if run_dir else None
    gateway = Gateway(
        teacher.model_of("solve"), seed=config.seed, cache=cache, ledger=None, domain=task.domain.name
    )

    async def answers(prompts: Sequence[str]) -> list[str]:
        progress = stage_progress(report, "the student's answers")
        return await in_student_thread(lambda: student_of(config, report).predict(prompts, progress=progress))

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
