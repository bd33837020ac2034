"""Runs: an episode on disk. Starting one, going on with one, and ending one cleanly on a signal."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dataenvgym.agents.llm.loops import run_now
from dataenvgym.envs.errors import ConfigError, RunFolderError
from dataenvgym.envs.store import Store, write_bytes, write_json
from dataenvgym.envs.types import Plan
from dataenvgym.graphs.config import (
    CONFIG_FILE,
    BudgetConfig,
    EpisodeConfig,
    changed_keys,
    dump_config,
    load_config,
)
from dataenvgym.manifest import MANIFEST, provenance

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
Approve = Callable[[Any], Any]

CHECKPOINTS, SUMMARY = "checkpoints.sqlite", "summary.json"
EXTENSIONS = "budget.json"
# Keys that say when an episode ends and nothing else.
EXTENDABLE = tuple(f"budget.{key}" for key in BudgetConfig.model_fields if key != "rows_per_iteration")
# The graph takes five steps per iteration and one per refill round; the limit only stops endless loops.
THREAD: Any = {"configurable": {"thread_id": "episode"}, "recursion_limit": 100_000}


class Outcome(NamedTuple):
    """How a run ended: with its summary, or None when it was interrupted and can be resumed."""

    run_dir: Path
    summary: dict[str, Any] | None


def run(
    config: EpisodeConfig,
    out: Path | None = None,
    *,
    on_event: OnEvent | None = None,
    approve: Approve | None = None,
    teacher: Any = None,
) -> Outcome:
    """Run an episode into a new folder and return its outcome.

    Args:
        config: the episode.
        out: the run folder; None: runs/<time>-<task>-<structure>-s<seed>.
        on_event: hears of phases, progress and evaluations as they happen.
        approve: given the interrupt's value, returns "yes", an edited plan, or None: then the run stops with the
            question still open (config.approve).
        teacher: a teacher graph in place of the structure's own.

    Raises:
        RunFolderError: the folder already holds a run.
    """
    return _execute(create(config, out, own_teacher=teacher is not None), config, on_event, approve, teacher)


def resume(
    run_dir: Path,
    *,
    on_event: OnEvent | None = None,
    approve: Approve | None = None,
    teacher: Any = None,
) -> Outcome:
    """Go on with an interrupted run from its last finished node; a finished run is returned as it is.

    Raises:
        RunFolderError: not a run, changed since, damaged, or begun with another teacher; the text says which.
    """
    config = open_run(run_dir)
    own = bool(read_manifest(run_dir).get("own_teacher"))
    if own != (teacher is not None):
        raise RunFolderError(
            f"{run_dir} was begun with a teacher graph of its own; go on with it from Python: "
            f"dataenvgym.resume(Path({str(run_dir)!r}), teacher=...)"
            if own
            else f"{run_dir} was begun with the structure's own teacher; go on without `teacher`"
        )
    return _execute(run_dir, config, on_event, approve, teacher)


def extend(run_dir: Path, overrides: Sequence[str]) -> None:
    """Change when a run ends, e.g. `budget.max_calls=500`; `resume` then goes on, also with one that had ended.

    The run's own test scores are made again at its new end: nothing that teaches sees them in between.

    Raises:
        ConfigError: a key that does more than end the episode; the text names those that may change.
        RunFolderError: not a run, in use by another process, or damaged.
    """
    with locked(run_dir):
        before = open_run(run_dir)
        config = load_config(run_dir / CONFIG_FILE, [*extensions(run_dir), *overrides])
        changed = changed_keys(before, config)
        fixed = [key for key in changed if key not in EXTENDABLE]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)}: a run keeps what its rows and scores were made with. May change: "
                f"{', '.join(EXTENDABLE)}."
            )
        if changed:
            (run_dir / SUMMARY).unlink(missing_ok=True)
            write_json(run_dir / EXTENSIONS, [*extensions(run_dir), *overrides])


def create(config: EpisodeConfig, out: Path | None, *, own_teacher: bool = False) -> Path:
    """A new run folder with config.yaml and manifest.json.

    `own_teacher`: a teacher graph of the user's is to run in it, which no file can hold; `resume` asks for it.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.task.name}-{config.structure}-s{config.seed}"
    run_dir = out or Path("runs") / name
    check_free(run_dir)
    try:
        begin(config, run_dir, {"own_teacher": own_teacher})
    except OSError as error:
        raise RunFolderError(f"{run_dir} cannot be made ({error.strerror}); name another with --out") from error
    return run_dir


def begin(config: EpisodeConfig, run_dir: Path, notes: Mapping[str, Any]) -> None:
    """Write what makes a folder a run: manifest.json, with `notes` among its entries, then config.yaml."""
    text = dump_config(config)
    write_json(run_dir / MANIFEST, {**provenance(config.seed, text), **notes})
    write_bytes(run_dir / CONFIG_FILE, text.encode())


def check_free(run_dir: Path) -> None:
    """Refuse a folder that a new run cannot be put into, with a RunFolderError."""
    if (run_dir / CONFIG_FILE).exists():
        raise RunFolderError(f"{run_dir} already holds a run. Go on with it: dataenvgym resume {run_dir}")
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise RunFolderError(f"{run_dir} exists and is not empty; name another folder with --out")


def open_run(run_dir: Path) -> EpisodeConfig:
    """The config of an existing run, checked against what the run was started with."""
    if not (run_dir / CONFIG_FILE).is_file():
        raise RunFolderError(f"{run_dir} is not a run: it has no {CONFIG_FILE}")
    manifest = read_manifest(run_dir)
    recorded = manifest["config_sha256"]
    if (manifest.get("fork") or {}).get("plan"):
        Store(run_dir).read(manifest["fork"]["plan"], Plan)  # refuses one that was changed since
    text = (run_dir / CONFIG_FILE).read_text()
    if hashlib.sha256(text.encode()).hexdigest() != recorded:
        raise RunFolderError(
            f"{run_dir / CONFIG_FILE} was changed after the run was started, so its rows and scores belong to "
            "another config. Restore it, or start a new run with the changed config."
        )
    try:
        return load_config(run_dir / CONFIG_FILE, extensions(run_dir))
    except ConfigError as error:
        raise RunFolderError(f"{run_dir} was made by another version of dataenvgym: {error}") from error


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """What manifest.json of a run holds: versions, seed, the sha256 of its config, what it was forked from.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    try:
        manifest = json.loads((run_dir / MANIFEST).read_text())
        return {**manifest, "config_sha256": manifest["config_sha256"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{run_dir / MANIFEST} is missing or damaged; the run cannot be resumed") from error


def extensions(run_dir: Path) -> list[str]:
    """The `key=value` texts given to `extend` so far."""
    path = run_dir / EXTENSIONS
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged ({error}); delete it to go on with the first budget") from error
    return [str(text) for text in found]


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes from the run for the length of the block, or refuse with a RunFolderError."""
    from filelock import FileLock, Timeout

    if not run_dir.is_dir():
        raise RunFolderError(f"{run_dir} is not a run: there is no such folder")
    try:
        with FileLock(run_dir / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunFolderError(f"{run_dir} is being run by another process") from None


def _execute(
    run_dir: Path, config: EpisodeConfig, on_event: OnEvent | None, approve: Approve | None, teacher: Any
) -> Outcome:
    from dataenvgym.html_report import write_report
    from dataenvgym.report import REPORT

    with locked(run_dir), readable(run_dir / CHECKPOINTS):
        going = not (run_dir / SUMMARY).is_file()
        if going:
            run_now(_drive(run_dir.absolute(), config, on_event or (lambda _: None), approve, teacher))
        summary = read_summary(run_dir)
        if summary is not None and (going or not (run_dir / REPORT).is_file()):
            write_report(run_dir, summary)
    return Outcome(run_dir, summary)


@contextmanager
def readable(checkpoints: Path) -> Iterator[None]:
    """Tell of a damaged checkpoint file, of which SQLite only says that something is wrong."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise RunFolderError(f"{checkpoints} is damaged ({error}); the run cannot be resumed") from error


@asynccontextmanager
async def episode_graph(checkpoints: Path, config: EpisodeConfig, teacher: Any = None) -> AsyncIterator[Any]:
    """The compiled episode on a checkpoint file, which is made where there is none. Its thread is `THREAD`."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from dataenvgym.graphs.episode import build_episode

    async with AsyncSqliteSaver.from_conn_string(str(checkpoints)) as saver:
        yield build_episode(teacher, config.structure).compile(checkpointer=saver)


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """What summary.json of a run holds; None while the run has not finished.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = run_dir / SUMMARY
    if not path.is_file():
        return None
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise RunFolderError(
            f"{path} is damaged ({error}). Delete it and have it made again: dataenvgym resume {run_dir}"
        ) from error
    return summary


async def _drive(
    run_dir: Path, config: EpisodeConfig, on_event: OnEvent, approve: Approve | None, teacher: Any
) -> None:
    from langgraph.errors import GraphDrained
    from langgraph.runtime import RunControl
    from langgraph.types import Command

    from dataenvgym.graphs.episode import stop_reason
    from dataenvgym.graphs.live import gateway_of
    from dataenvgym.graphs.summary import summarise
    from dataenvgym.graphs.teacher import approved

    control, loop = RunControl(), asyncio.get_running_loop()

    def on_event_soon(event: Event) -> None:  # a signal handler must not print by itself
        loop.call_soon_threadsafe(on_event, event)

    part: Any
    async with episode_graph(run_dir / CHECKPOINTS, config, teacher) as graph:
        snapshot = await graph.aget_state(THREAD)
        # Not snapshot.next, which leaves out a node that ended with the process killed before the next checkpoint.
        open_nodes = [task.name for task in snapshot.tasks]
        begun = Path(snapshot.values.get("run_dir", run_dir))
        if open_nodes and not _same(begun, run_dir):
            raise RunFolderError(
                f"{run_dir} was begun as {begun} and goes on only there; `fork` can start from it"
            )
        if snapshot.created_at and open_nodes in ([], ["finish"]):  # ended, under the budget it had
            values = snapshot.values
            spent = gateway_of(config, str(run_dir)).spending.reached()
            reason = stop_reason(config, values["steps"], spent)
            if reason is None:
                await graph.aupdate_state(THREAD, {"stop_reason": None}, as_node="evaluate")
            elif not open_nodes:
                write_json(run_dir / SUMMARY, summarise(config, run_dir, values["steps"], reason))
                return
        step: Any = None if snapshot.created_at else {"run_dir": str(run_dir)}
        with _drained_by_signals(control, on_event_soon):
            try:
                while True:
                    async for part in graph.astream(
                        step,
                        THREAD,
                        context=config,
                        stream_mode="custom",
                        subgraphs=True,
                        durability="sync",
                        control=control,
                    ):
                        on_event(part[1])  # (namespace, event)
                    snapshot = await graph.aget_state(THREAD)
                    if not snapshot.interrupts:
                        break
                    question = snapshot.interrupts[0].value
                    answer = None if approve is None else await asyncio.to_thread(approve, question)
                    if answer is None:
                        on_event({"event": "waiting"})
                        break
                    approved(answer)  # a refusal ends the run here, with the question still open
                    step = Command(resume=answer)
            except GraphDrained:
                on_event({"event": "interrupted"})
            finally:
                await gateway_of(config, str(run_dir)).aclose()


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


@contextmanager
def _drained_by_signals(control: Any, on_event: Callable[[Event], object]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run after the node in hand, the second at once.

    `on_event` is called from within a signal handler, where printing is not safe: it may only pass the event on.
    """

    def handle(number: int, frame: Any) -> None:
        if control.drain_requested:
            # Work in threads cannot be interrupted; what is finished is on disk already.
            os._exit(128 + number)
        control.request_drain(signal.Signals(number).name)
        on_event({"event": "draining"})

    handled = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, handle) for number in handled]
    except ValueError:  # not the main thread: signals are somebody else's business
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
