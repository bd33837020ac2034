"""One episode of a sweep in a process of its own: `python -m dataenvgym.sweeps.episode FOLDER LOG RESULT`."""

from __future__ import annotations

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
    """How an episode of a sweep ended."""

    status: Literal["finished", "interrupted", "failed"]
    reason: str


def run_episode(folder: Path, config: str, log: Path, wait: float = LOCK_WAIT) -> EpisodeStatus:
    """Begin the run in `folder`, or go on with it, and say how it ended; what happens is written to `log`.

    Args:
        folder: the run folder; it may be absent, begun or finished.
        config: the episode's config as JSON; it is used where the run has not begun.
        log: a text file that is appended to.
        wait: seconds that another process, which may be dying, is waited for.
    """
    from rich.console import Console

    from dataenvgym.commands.progress import live
    from dataenvgym.envs.errors import DataEnvGymError
    from dataenvgym.graphs.config import CONFIG_FILE, parse_config
    from dataenvgym.graphs.live import close_all
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
        except Exception as error:  # recorded: the sweep's other episodes go on
            file.write(traceback.format_exc())
            return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        finally:
            close_all()
    if outcome.summary is None:
        return {"status": "interrupted", "reason": ""}
    return {"status": "finished", "reason": ""}


def _wait_for(folder: Path, seconds: float) -> None:
    """Wait until nobody runs the folder, but no longer; who comes too late is refused by `resume`."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=seconds):
            return
    except Timeout:
        return


def _end_with_parent() -> None:
    """Stop cleanly when the other end of stdin is closed: on purpose, or because the parent has died."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: str, log: str, result: str) -> None:
    """Read the config as one line from stdin, run the episode and write `result` (JSON)."""
    from dataenvgym.envs.store import write_json

    config = sys.stdin.readline()
    _end_with_parent()
    ended: Any = run_episode(Path(folder), config, Path(log))
    write_json(Path(result), ended)


if __name__ == "__main__":
    main(*sys.argv[1:4])
