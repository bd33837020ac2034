"""`dataenvgym check`: check that a teacher keeps its contract, without a student and a model."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.commands.arguments import Commands, add_config, add_prompts, overrides
from dataenvgym.envs.text import counted

if TYPE_CHECKING:
    from dataenvgym.graphs.config import EpisodeConfig


# The most steps of a teacher, and two more per refill round; ours takes 4 and those.
MOST_STEPS = 60
# The most seconds of a node, unless the command is told another number.
NODE_SECONDS = 30.0


class NodeRun(NamedTuple):
    """A node's run and the state keys that it returned."""

    node: str
    keys: tuple[str, ...]


class CheckResult(NamedTuple):
    """A rehearsal that kept the contract: the nodes in order, and the rows planned, accepted and rejected."""

    nodes: list[NodeRun]
    planned: int
    accepted: int
    rejected: int


def check_teacher(
    teacher: Any,
    config: EpisodeConfig,
    *,
    seconds: float = NODE_SECONDS,
    late: Callable[[str], None] | None = None,
) -> CheckResult:
    """Run the first iteration of a teacher on a made-up observation, and check the result.

    Nothing is trained or sent: the student is assumed to get every other val instance right, and the model is the
    scripted one.

    Args:
        teacher: a graph, compiled or not, or a plain function from the observation to rows.
        config: the episode that the teacher is for.
        seconds: the most that one node may take.
        late: called from another thread, once, with a message that names a node that takes longer. Code that loops
            ends only with its process. None: no limit.

    Raises:
        TeacherError: the teacher breaks the contract, or does not end; the text names the node, the key and what
            was expected.
    """
    from dataenvgym.agents.llm.loops import run_now

    with tempfile.TemporaryDirectory() as folder:
        return run_now(_check(teacher, config, Path(folder), seconds, late))


async def _check(
    teacher: Any, config: EpisodeConfig, folder: Path, seconds: float, late: Callable[[str], None] | None
) -> CheckResult:
    from langgraph.errors import GraphRecursionError

    from dataenvgym.envs.errors import TeacherError
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.store import Store
    from dataenvgym.envs.types import Plan, Rejected
    from dataenvgym.graphs.compose import compiled
    from dataenvgym.graphs.contract import check_delivery, check_update
    from dataenvgym.graphs.failures import told
    from dataenvgym.graphs.rehearsal import offline, rehearsed_input

    config = offline(config)
    given: Any = await rehearsed_input(config, folder)
    graph = compiled(teacher, config.structure)
    recorder = _update_recorder()
    most = MOST_STEPS + 2 * config.teacher.refill_rounds
    limits: Any = {"callbacks": [recorder], "recursion_limit": most}
    try:
        with _watched(recorder, folder, seconds, late):
            state = await graph.ainvoke(given, limits, context=config)
    except GraphRecursionError as error:
        lately = dict.fromkeys(node for node, _ in recorder.updates[-(most // 2) :])
        round_trip = " -> ".join(lately) or recorder.last
        raise TeacherError(
            f"{round_trip}: again and again; the teacher did not end within {most} steps. A node that replaces "
            "verify_data must return `missing` and `round`, which determine the next step"
        ) from error
    except Exception as error:
        if (in_words := told(error)) is None:
            raise
        raise in_words from error
    finally:
        keys = dict.fromkeys(name for name in graph.channels if name.isidentifier() and name[0] != "_")
        inner = {name for name, node in graph.builder.nodes.items() if hasattr(node.runnable, "nodes")}
        for node, update in [one for one in recorder.updates if one[0] not in inner]:
            check_update(node, update, keys)
    store = Store(folder)
    observation = store.read(given["observation"], Observation)[0]
    rows = check_delivery({**given, **state}, observation, who=recorder.last)
    plan = store.read(state["plan"], Plan)[0]
    nodes = [NodeRun(node, tuple(update or ())) for node, update in recorder.updates]
    return CheckResult(
        nodes, sum(r.count for r in plan.requests), len(rows), len(store.read(state["rejected"], Rejected))
    )


@contextmanager
def _watched(recorder: Any, folder: Path, seconds: float, late: Callable[[str], None] | None) -> Iterator[None]:
    """Call `late` when a node takes longer than `seconds`: from a thread, since a node may block the loop."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(min(seconds, 0.2)):
            if late is not None and time.monotonic() - recorder.since > seconds:
                ledger = folder / "ledger.jsonl"
                calls = len(ledger.read_bytes().splitlines()) if ledger.is_file() else 0
                late(
                    f"{recorder.last}: still at work after {seconds:g} s, with "
                    f"{counted(calls, 'call')} to the model. If it needs longer: --seconds"
                )
                return

    recorder.since = time.monotonic()
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _update_recorder() -> Any:
    """Make a callback that records what each node returns; the graph itself drops keys that the state lacks."""
    from langchain_core.callbacks import BaseCallbackHandler

    class UpdateRecorder(BaseCallbackHandler):
        def __init__(self) -> None:
            self.updates: list[tuple[str, Any]] = []
            self.last = "the teacher"
            self.since = 0.0
            self._running: dict[Any, str] = {}

        def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, **more: Any) -> None:
            name, about = more.get("name"), more.get("metadata") or {}
            if name is None or name != about.get("langgraph_node"):
                return
            self.since = time.monotonic()
            if "|" not in about.get("langgraph_checkpoint_ns", ""):  # no node within a node
                self._running[run_id] = self.last = name

        def on_chain_end(self, outputs: Any, *, run_id: Any, **more: Any) -> None:
            if run_id in self._running:
                self.updates.append((self._running.pop(run_id), outputs))

    return UpdateRecorder()


def add_parser(commands: Commands) -> None:
    """Add the command `check`."""
    parser = commands.add_parser(
        "check",
        help="check that your own teacher keeps the contract",
        description="Run a teacher's first iteration on a made-up observation with the scripted model: no key, no "
        "training. A node that asks the student asks the tiny one. Shows which node returned what, or what is "
        "wrong. A teacher that does not end is stopped.",
        epilog="examples:\n"
        "  dataenvgym check my_teacher:graph --set structure=skill_list\n"
        "  dataenvgym check examples/plain_function.py:addition_teacher",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checked", metavar="teacher", help="module:attribute or file.py:attribute; a graph or a plain function"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=NODE_SECONDS,
        help=f"the most that one node may take (default: {NODE_SECONDS:g})",
    )
    add_config(parser)
    add_prompts(parser)
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from dataenvgym.envs.loading import load_object
    from dataenvgym.graphs.config import load_config

    config = load_config(arguments.config, overrides(arguments))
    teacher = load_object(arguments.checked)
    console = Console()
    with console.status("rehearsing the first iteration") as status:

        def late(message: str) -> None:
            status.stop()
            print(f"error: {message}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)  # nothing else ends a loop in a thread

        found = check_teacher(teacher, config, seconds=arguments.seconds, late=late)
    table = Table("node", "returned")
    for run in found.nodes:
        table.add_row(run.node, ", ".join(run.keys) or "-")
    console.print(table)
    console.print(
        f"keeps the contract: {counted(found.planned, 'row')} planned, {found.accepted} accepted, "
        f"{found.rejected} rejected"
    )
    return 0
