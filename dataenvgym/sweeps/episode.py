"""One episode of a sweep in its own process: `python -m dataenvgym.sweeps.episode FOLDER LOG RESULT`."""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Literal, TypedDict

# Seconds to wait for the run folder's lock. The process that held it may still be dying, and a file server
# gives up the locks of a node that is gone only after a while (NFSv4: its lease, 90 s by default).
LOCK_WAIT = 150.0


class EpisodeStatus(TypedDict):
    """The end of an episode, with a reason where it failed."""

    status: Literal["finished", "interrupted", "failed"]
    reason: str


def run_episode(folder: Path, config: str, log: Path, wait: float = LOCK_WAIT) -> EpisodeStatus:
    """Start or continue the run in `folder` and return its status; events are written to `log`.

    Args:
        folder: the run folder; it may be absent, started or finished.
        config: the episode's config as JSON, for a run that has not started.
        log: a text file that is appended to.
        wait: seconds to wait for another process, which may be dying.
    """
    from rich.console import Console

    from dataenvgym.commands.progress import live
    from dataenvgym.envs.errors import DataEnvGymError
    from dataenvgym.graphs.config import CONFIG_FILE, parse_config
    from dataenvgym.graphs.resources import close_all
    from dataenvgym.runs.folder import begin
    from dataenvgym.runs.run import resume

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", buffering=1) as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} on {socket.gethostname()}, process {os.getpid()}\n")
        try:
            _wait_for(folder, wait)
            if not (folder / CONFIG_FILE).exists():
                begin(parse_config(json.loads(config)), folder, {"own_teacher": False})
            with live(Console(file=file, width=110)) as on_event:
                outcome = resume(folder, on_event=on_event)
        except DataEnvGymError as error:
            file.write(f"error: {error}\n")
            return {"status": "failed", "reason": str(error)}
        except Exception as error:  # recorded, so that the sweep's other episodes continue
            file.write(traceback.format_exc())
            return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        finally:
            close_all()
    if outcome.summary is None:
        return {"status": "interrupted", "reason": ""}
    return {"status": "finished", "reason": ""}


def _wait_for(folder: Path, seconds: float) -> None:
    """Wait until no process runs the folder, at most `seconds`; after that `resume` refuses."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=seconds):
            return
    except Timeout:
        return


def _end_with_parent() -> None:
    """Stop cleanly when stdin closes: on purpose, or because the parent has died."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: str, log: str, result: str) -> None:
    """Read the config as one line from stdin, run the episode and write `result` (JSON)."""
    from dataenvgym.envs.store import write_json

    atexit.register(gc.freeze)  # as in dataenvgym.cli
    config = sys.stdin.readline()
    _end_with_parent()
    ended: Any = run_episode(Path(folder), config, Path(log))
    write_json(Path(result), ended)


if __name__ == "__main__":
    main(*sys.argv[1:4])
