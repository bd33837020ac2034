"""Run a sweep's episodes on this machine without Ray, each in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dataenvgym.sweeps.episode import EpisodeStatus
from dataenvgym.sweeps.plan import LOGS, Episode

TICK = 0.1
# Returns how many stop signals came: 0 continue, 1 end after the current work, 2 end at once.
Stop = Callable[[], int]
Change = tuple[str, EpisodeStatus] | None
"""(name of an episode, its status), or None if no episode ended since the last one."""


class _Running(NamedTuple):
    process: subprocess.Popen[str]
    result: Path


def run_local(episodes: Sequence[Episode], out: Path, jobs: int, stop: Stop) -> Iterator[Change]:
    """Run the episodes in order, `jobs` at a time, and yield each as it ends.

    A process frees its memory at its end, and a crash costs only its episode. Where several run together and
    OMP_NUM_THREADS is not set, the processor's cores are divided among them.
    """
    waiting, running = deque(episodes), dict[str, _Running]()
    asked = False
    try:
        while running or (waiting and not stop()):
            while waiting and len(running) < jobs and not stop():
                episode = waiting.popleft()
                running[episode.name] = _start(episode, out, min(jobs, len(episodes)))
            time.sleep(TICK)
            for name, one in list(running.items()):
                if one.process.poll() is not None:
                    del running[name]
                    yield name, _read_status(one, bool(stop()))
            if stop() and not asked:
                asked = True
                for one in running.values():
                    _close(one)
            if stop() > 1:
                for one in running.values():
                    one.process.kill()
            yield None
        for episode in waiting:
            yield episode.name, {"status": "interrupted", "reason": ""}
    finally:
        for one in running.values():
            one.process.kill()
            one.process.wait()
            _close(one)


def _start(episode: Episode, out: Path, jobs: int) -> _Running:
    log, result = out / LOGS / f"{episode.name}.log", out / LOGS / f"{episode.name}.json"
    log.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    environment = dict(os.environ)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    with log.open("a") as file:
        process = subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                "-m",
                "dataenvgym.sweeps.episode",
                str(out / episode.name),
                str(log),
                str(result),
            ],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches only the sweep, which then ends its episodes
        )
    assert process.stdin is not None  # noqa: S101  a pipe was asked for
    with suppress(BrokenPipeError):  # it has died already; its exit status tells how
        process.stdin.write(episode.config.model_dump_json() + "\n")
        process.stdin.flush()  # left open: the episode stops when it is closed
    return _Running(process, result)


def _close(one: _Running) -> None:
    if one.process.stdin is not None and not one.process.stdin.closed:
        with suppress(BrokenPipeError):
            one.process.stdin.close()


def _read_status(one: _Running, stopped: bool) -> EpisodeStatus:
    _close(one)
    try:
        ended: EpisodeStatus = json.loads(one.result.read_text())
        one.result.unlink()
        return ended
    except (OSError, ValueError):
        pass
    if stopped:
        return {"status": "interrupted", "reason": ""}
    return {"status": "failed", "reason": f"its process {_describe_death(one.process.returncode)}"}


def _describe_death(code: int) -> str:
    if code >= 0:
        return f"ended with status {code} and no result; see its log"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    often = ", often because memory ran out" if -code == signal.SIGKILL else ""
    return f"was ended by {name}{often}"
