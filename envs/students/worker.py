"""Run one training in a separate process.

    python -m dataenvgym.envs.students.worker SPEC.json
    accelerate launch --num_processes 4 -m dataenvgym.envs.students.worker SPEC.json

SPEC.json is a TrainSpec (envs/students/training_process.py). Its folder `out` is created at the end. The worker
prints one JSON object per line on standard output: `step` (done, total, loss, tokens_per_second, peak_memory_mb),
`note` (a setting that was changed), and last `done` with the summary or `error` with the exception. Everything
else goes to standard error.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import DataEnvGymError
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.training_process import TrainSpec


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the spec file says. Exit status 0, or 1 after an error, which is printed as an event."""
    parser = argparse.ArgumentParser(description="Train a student as SPEC says.")
    parser.add_argument("spec", type=Path)
    parser.add_argument(
        "--attached",
        action="store_true",
        help="end when standard input closes, because the parent process is gone",
    )
    options = parser.parse_args(arguments)
    atexit.register(gc.freeze)  # as in dataenvgym.cli
    if options.attached:
        threading.Thread(target=_end_with_input, daemon=True).start()
    say = _events()
    spec = TrainSpec.model_validate_json(options.spec.read_text())
    try:
        summary = train(spec, say)
    except DataEnvGymError as error:
        say({"event": "error", "kind": type(error).__name__, "message": str(error)})
        return 1
    say({"event": "done", "summary": asdict(summary)})
    return 0


def train(spec: TrainSpec, say: Any) -> TrainSummary:
    """Train as the spec says; a rename creates the folder at the end."""
    import torch

    from dataenvgym.envs.students.hf import TransformersStudent
    from dataenvgym.envs.students.trl_backend import is_main, world_size

    if spec.threads and world_size() == 1:
        torch.set_num_threads(spec.threads)  # sums over a different number of threads round differently
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    student = TransformersStudent(spec.model, spec.identity, spec.student, spec.base_adapter)
    partial = spec.out.with_name(spec.out.name + ".writing")
    if is_main():
        shutil.rmtree(partial, ignore_errors=True)
    summary = student.train(
        spec.examples,
        partial,
        config=spec.train,
        seed=spec.seed,
        start=spec.start,
        watch=lambda now: say({"event": "note" if "note" in now else "step", **now}),
    )
    if is_main():
        shutil.rmtree(spec.out, ignore_errors=True)
        partial.replace(spec.out)
    return summary


def _events() -> Any:
    """Return a function that prints an event; redirect all other standard output to standard error."""
    from dataenvgym.envs.students.trl_backend import is_main

    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(event: dict[str, Any]) -> None:
        if is_main():
            channel.write(json.dumps(event) + "\n")
            channel.flush()

    return say


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
