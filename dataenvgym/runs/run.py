"""Run an episode on disk: start it, resume it, and end it cleanly on a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dataenvgym.agents.llm.loops import run_now
from dataenvgym.envs.errors import BudgetReachedError, RunFolderError
from dataenvgym.envs.store import write_json
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.runs.data import check_data, pin
from dataenvgym.runs.folder import (
    CHECKPOINTS,
    SUMMARY,
    check_teacher,
    create,
    kept_unless_it_goes_on,
    locked,
    open_run,
    read_manifest,
    read_summary,
    readable,
)
from dataenvgym.runs.relocation import relocate
from dataenvgym.runs.reopening import reopen
from dataenvgym.runs.scorings import TEST_SCORED, with_scorings

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
Approve = Callable[[Any], Any]

# The graph takes five steps per iteration and one per refill round; the limit only stops endless loops.
THREAD: Any = {"configurable": {"thread_id": "episode"}, "recursion_limit": 100_000}


class Outcome(NamedTuple):
    """The result of a run: its summary, or None when it was interrupted and can be resumed."""

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
        on_event: called with each phase, progress and evaluation event.
        approve: takes the interrupt's value and returns "yes", an edited plan, or None, which stops the run with
            the question still open (config.approve).
        teacher: a teacher graph instead of the structure's own.

    Raises:
        RunFolderError: the folder already holds a run.
    """
    run_dir = create(config, out, teacher=teacher)
    return _execute(run_dir, pin(config), on_event, approve, teacher)


def resume(
    run_dir: Path,
    *,
    on_event: OnEvent | None = None,
    approve: Approve | None = None,
    teacher: Any = None,
    changed_teacher: bool = False,
) -> Outcome:
    """Continue an interrupted run from its last finished node; return a finished run unchanged.

    `teacher`: the one that the run was started with from Python; one that the config names is loaded again.
    `changed_teacher`: go on although it has changed.

    Raises:
        RunFolderError: not a run, changed since, damaged, or started with another teacher or on other data; the
            text says which.
    """
    config = open_run(run_dir)
    own = bool(read_manifest(run_dir).get("own_teacher"))
    if own != (teacher is not None):
        raise RunFolderError(
            f"{run_dir} was started with its own teacher graph; continue it from Python: "
            f"dataenvgym.resume(Path({str(run_dir)!r}), teacher=...)"
            if own
            else f"{run_dir} was started with the structure's own teacher; continue without `teacher`"
        )
    check_teacher(run_dir, config, teacher, changed_teacher)
    return _execute(run_dir, config, on_event, approve, teacher)


def _execute(
    run_dir: Path, config: EpisodeConfig, on_event: OnEvent | None, approve: Approve | None, teacher: Any
) -> Outcome:
    from dataenvgym.reports.html_report import write_report
    from dataenvgym.reports.report import REPORT

    with locked(run_dir), readable(run_dir / CHECKPOINTS):
        ended = read_summary(run_dir)
        budget = config.budget.model_dump(mode="json")
        going = ended is None or ended.get("budget", budget) != budget  # it ended under another one
        manifest = read_manifest(run_dir)
        if going:
            note = check_data(run_dir, config, manifest)
            if note is not None and on_event is not None:
                on_event({"event": "note", "text": note})
            if ended is not None:
                with_scorings(run_dir, ended, manifest)  # kept, since the summary is written anew
            run_now(_drive(run_dir.absolute(), config, on_event or (lambda _: None), approve, teacher))
        summary = read_summary(run_dir)
        if summary is not None and (going or TEST_SCORED not in summary):
            summary = with_scorings(run_dir, summary, manifest)
            write_json(run_dir / SUMMARY, summary)
        if summary is not None and (going or not (run_dir / REPORT).is_file()):
            write_report(run_dir, summary)
    return Outcome(run_dir, summary)


@asynccontextmanager
async def episode_graph(checkpoints: Path, config: EpisodeConfig, teacher: Any = None) -> AsyncIterator[Any]:
    """Compile the episode on a checkpoint file, created if missing. Its thread is `THREAD`."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from dataenvgym.graphs.episode import build_episode

    async with AsyncSqliteSaver.from_conn_string(str(checkpoints)) as saver:
        yield build_episode(teacher, config.structure).compile(checkpointer=saver)


async def _drive(
    run_dir: Path, config: EpisodeConfig, on_event: OnEvent, approve: Approve | None, teacher: Any
) -> None:
    from langgraph.errors import GraphDrained
    from langgraph.runtime import RunControl
    from langgraph.types import Command

    from dataenvgym.envs.types import Plan
    from dataenvgym.graphs.edited_plan import answered
    from dataenvgym.graphs.episode import stop_reason
    from dataenvgym.graphs.failures import told
    from dataenvgym.graphs.own_teacher import load_own
    from dataenvgym.graphs.resources import gateways_of, spending_of
    from dataenvgym.graphs.summary import summarise
    from dataenvgym.runs.plans import latest_observation

    control, loop = RunControl(), asyncio.get_running_loop()

    def on_event_soon(event: Event) -> None:  # a signal handler must not print
        loop.call_soon_threadsafe(on_event, event)

    part: Any
    teacher = load_own(config) if teacher is None else teacher
    await asyncio.to_thread(relocate, run_dir / CHECKPOINTS, run_dir)
    async with episode_graph(run_dir / CHECKPOINTS, config, teacher) as graph:
        snapshot = await graph.aget_state(THREAD)
        # Not snapshot.next, which leaves out a node that ended with the process killed before the next checkpoint.
        open_nodes = [task.name for task in snapshot.tasks]
        if snapshot.created_at and open_nodes in ([], ["finish"]):  # ended, under the budget it had
            values = snapshot.values
            spent = spending_of(config, str(run_dir)).reached()
            reason = stop_reason(config, values["steps"], spent)
            if reason is None:
                await reopen(graph, THREAD, snapshot, config, run_dir)
            elif not open_nodes:
                write_json(run_dir / SUMMARY, summarise(config, run_dir, values["steps"], reason))
                return
        step: Any = None if snapshot.created_at else {"run_dir": str(run_dir)}
        with kept_unless_it_goes_on(run_dir, SUMMARY), _drained_by_signals(control, on_event_soon):
            (run_dir / SUMMARY).unlink(missing_ok=True)  # a run that goes on has none
            try:
                while True:
                    try:
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
                    except BudgetReachedError as reached:  # in a node of the user's own; ours end by themselves
                        await _end_at_cap(graph, str(reached))
                        step = None
                        continue
                    except Exception as error:
                        if (in_words := told(error)) is None:
                            raise
                        raise in_words from error
                    snapshot = await graph.aget_state(THREAD)
                    if not snapshot.interrupts:
                        break
                    question = snapshot.interrupts[0].value
                    answer = None if approve is None else await asyncio.to_thread(approve, question)
                    if answer is None:
                        on_event({"event": "waiting"})
                        break
                    # A refusal raises here, and the question stays open; the node itself would ask again.
                    answered(answer, latest_observation(run_dir), Plan.model_validate(question["plan"]))
                    step = Command(resume=answer)
            except GraphDrained:
                on_event({"event": "interrupted"})
            finally:
                for gateway in gateways_of(config, str(run_dir)):
                    await gateway.aclose()


async def _end_at_cap(graph: Any, reason: str) -> None:
    """Let the episode end with what it has, since a cap was reached inside a node; `resume` teaches again.

    Raises:
        BudgetReachedError: nothing has been evaluated yet, or the episode is ending already.
    """
    snapshot = await graph.aget_state(THREAD)
    if not snapshot.values.get("steps") or snapshot.values.get("stop_reason"):
        raise BudgetReachedError(reason)
    await graph.aupdate_state(THREAD, {"stop_reason": reason}, as_node="evaluate")


@contextmanager
def _drained_by_signals(control: Any, on_event: Callable[[Event], object]) -> Iterator[None]:
    """End the run after the current node at the first Ctrl-C or SIGTERM, and at once at the second.

    `on_event` is called from within a signal handler, where printing is not safe: it may only pass the event on.
    """

    def handle(number: int, frame: Any) -> None:
        if control.drain_requested:
            # Work in threads cannot be interrupted; finished work is already on disk.
            os._exit(128 + number)
        control.request_drain(signal.Signals(number).name)
        on_event({"event": "draining"})

    handled = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, handle) for number in handled]
    except ValueError:  # not the main thread; leave signal handling alone
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
