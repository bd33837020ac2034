"""`dataenvgym check`: check that a teacher keeps its contract, without a student and a model."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.commands.arguments import Commands, add_config

if TYPE_CHECKING:
    from dataenvgym.graphs.config import EpisodeConfig


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


def check_teacher(teacher: Any, config: EpisodeConfig) -> CheckResult:
    """Run the first iteration of a teacher on a made-up observation, and check the result.

    Nothing is trained or sent: the student is assumed to get every other val instance right, and the model is the
    scripted one.

    Args:
        teacher: a graph, compiled or not, or a plain function from the observation to rows.

    Raises:
        TeacherError: the teacher breaks the contract; the text names the node, the key and what was expected.
    """
    from dataenvgym.agents.llm.loops import run_now

    with tempfile.TemporaryDirectory() as folder:
        return run_now(_check(teacher, config, Path(folder)))


# The most steps of a teacher; ours takes 4, and 2 more per refill round.
MOST_STEPS = 200


async def _check(teacher: Any, config: EpisodeConfig, folder: Path) -> CheckResult:
    from langgraph.errors import GraphRecursionError, InvalidUpdateError

    from dataenvgym.envs.errors import TeacherError
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.store import Store
    from dataenvgym.envs.types import Plan, Rejected
    from dataenvgym.graphs.compose import compiled
    from dataenvgym.graphs.contract import check_delivery, check_update
    from dataenvgym.graphs.rehearsal import offline, rehearsed_input

    config = offline(config)
    given: Any = await rehearsed_input(config, folder)
    graph = compiled(teacher, config.structure)
    recorder = _update_recorder()
    limits: Any = {"callbacks": [recorder], "recursion_limit": MOST_STEPS}
    try:
        state = await graph.ainvoke(given, limits, context=config)
    except InvalidUpdateError as error:
        raise TeacherError(f"{recorder.last}: {error}") from error
    except GraphRecursionError as error:
        raise TeacherError(
            f"{recorder.last}: the teacher did not end within {MOST_STEPS} steps; a node that replaces "
            "verify_data must return `missing` and `round`, which determine the next step"
        ) from error
    finally:
        keys = dict.fromkeys(name for name in graph.channels if name.isidentifier() and name[0] != "_")
        for node, update in recorder.updates:
            check_update(node, update, keys)
    store = Store(folder)
    observation = store.read(given["observation"], Observation)[0]
    rows = check_delivery({**given, **state}, observation, who=recorder.last)
    plan = store.read(state["plan"], Plan)[0]
    nodes = [NodeRun(node, tuple(update or ())) for node, update in recorder.updates]
    return CheckResult(
        nodes, sum(r.count for r in plan.requests), len(rows), len(store.read(state["rejected"], Rejected))
    )


def _update_recorder() -> Any:
    """Make a callback that records what each node returns; the graph itself drops keys that the state lacks."""
    from langchain_core.callbacks import BaseCallbackHandler

    class UpdateRecorder(BaseCallbackHandler):
        def __init__(self) -> None:
            self.updates: list[tuple[str, Any]] = []
            self.last = "the teacher"
            self._running: dict[Any, str] = {}

        def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, **more: Any) -> None:
            name, about = more.get("name"), more.get("metadata") or {}
            nested = "|" in about.get("langgraph_checkpoint_ns", "")
            if name is not None and name == about.get("langgraph_node") and not nested:
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
        description="Run a teacher's first iteration on a made-up observation with the scripted model: no "
        "student, no key, no training. Shows which node returned what, or what is wrong.",
        epilog="examples:\n"
        "  dataenvgym check my_teacher:graph --set structure=skill_list\n"
        "  dataenvgym check examples/plain_function.py:addition_teacher",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("teacher", help="module:attribute or file.py:attribute; a graph or a plain function")
    add_config(parser)
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from dataenvgym.envs.loading import load_object
    from dataenvgym.graphs.config import load_config

    config = load_config(arguments.config, arguments.set)
    teacher = load_object(arguments.teacher)
    console = Console()
    with console.status("rehearsing the first iteration"):
        found = check_teacher(teacher, config)
    table = Table("node", "returned")
    for run in found.nodes:
        table.add_row(run.node, ", ".join(run.keys) or "-")
    console.print(table)
    console.print(
        f"keeps the contract: {found.planned} rows planned, {found.accepted} accepted, {found.rejected} rejected"
    )
    return 0
