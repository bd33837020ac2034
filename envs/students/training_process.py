"""Train in a separate process: its spec, and the parent that starts it, reads its events and ends it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict

from dataenvgym.envs.config import StudentConfig, TrainConfig
from dataenvgym.envs.errors import (
    ConfigError,
    DataError,
    DivergedError,
    MissingDependencyError,
    TrainingError,
)
from dataenvgym.envs.store import write_bytes
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.meter import note
from dataenvgym.envs.types import Example, Progress

WORKER = "dataenvgym.envs.students.worker"
EVENTS, SPEC, LOG = "train_log.jsonl", "spec.json", "worker.log"
# Errors that the process reports by name; any other becomes a TrainingError.
ERRORS = {e.__name__: e for e in (ConfigError, DataError, DivergedError, MissingDependencyError, TrainingError)}
LAST_LINES = 8


class TrainSpec(BaseModel):
    """All inputs of a training, stored as one JSON file. `out`: the student's folder, created at the end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    identity: str
    student: StudentConfig
    base_adapter: Path | None = None
    examples: list[Example]
    train: TrainConfig
    seed: int
    start: Path | None = None
    out: Path
    threads: int | None = None


def train_in_subprocess(
    spec: TrainSpec, launch: str | None = None, progress: Progress | None = None
) -> TrainSummary:
    """Train as `spec` says in another process, with the same result as in this one.

    After a success `spec.out` exists and is complete. It holds `train_log.jsonl`, a JSON object per step. Until
    then, and after a failure, `<out>.work` holds the spec, that log and the output of the process.

    Raises:
        TrainingError: the process ended before its work was done.
        DataEnvGymError: the training raised it.
    """
    import torch

    work = spec.out.with_name(spec.out.name + ".work")
    shutil.rmtree(work, ignore_errors=True)
    spec = spec.model_copy(
        update={
            "model": str(Path(spec.model).resolve()) if Path(spec.model).is_dir() else spec.model,
            "base_adapter": spec.base_adapter and spec.base_adapter.resolve(),
            "start": spec.start and spec.start.resolve(),
            "out": spec.out.resolve(),
            "threads": torch.get_num_threads(),
        }
    )
    write_bytes(work / SPEC, spec.model_dump_json(indent=1).encode())
    last: dict[str, Any] = {}
    with (work / LOG).open("wb") as log, (work / EVENTS).open("w") as events:
        process = subprocess.Popen(  # noqa: S603
            [*_starter(launch), "-m", WORKER, str((work / SPEC).resolve()), "--attached"],
            stdin=subprocess.PIPE,  # when it closes, the process knows that its parent is gone
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                event = _event(line, log)
                if event is None:
                    continue
                if event["event"] == "step":
                    events.write(line.decode())
                    events.flush()
                    if progress:
                        progress(event["done"], event["total"])
                elif event["event"] == "note":
                    note(event["note"])
                else:
                    last = event
            status = process.wait()
        finally:
            _end(process)
    if last.get("event") == "done" and status == 0 and spec.out.is_dir():
        shutil.move(work / EVENTS, spec.out / EVENTS)
        shutil.rmtree(work)
        return TrainSummary(**last["summary"])
    if last.get("event") == "error" and last["kind"] in ERRORS:
        raise ERRORS[last["kind"]](last["message"])
    raise TrainingError(_describe_death(status, work / LOG))


def _starter(launch: str | None) -> list[str]:
    """Return the command that runs a module: this Python, or a launcher on the PATH or beside this Python."""
    if launch is None:
        return [sys.executable]
    first, *rest = shlex.split(launch)
    beside = Path(sys.executable).with_name(first)
    where = shutil.which(first) or (str(beside) if beside.is_file() else None)
    if where is None:
        raise MissingDependencyError(f"student.train.launch: there is no command {first!r} on the PATH")
    return [where, *rest]


def _event(line: bytes, log: IO[bytes]) -> dict[str, Any] | None:
    """Parse a line as an event; other lines, e.g. those a launcher prints, go to the log."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict) and event.get("event") in ("step", "note", "done", "error"):
        return event
    log.write(line)
    log.flush()
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children if they still run."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _describe_death(status: int, log: Path) -> str:
    how = f"exit status {status}"
    if status < 0:
        how = f"signal {signal.Signals(-status).name}"
        if -status == signal.SIGKILL:
            how += ", which the system also sends when memory runs out"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = "\n  ".join(lines[-LAST_LINES:])
    return f"the training process ended before its work was done ({how}); its log is {log}" + (
        f" and ends:\n  {last}" if last else ""
    )
