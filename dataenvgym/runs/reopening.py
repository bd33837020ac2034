"""A run that had ended goes on under another budget, from where that budget makes a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store
from dataenvgym.graphs.config import EpisodeConfig


async def reopen(graph: Any, thread: Any, snapshot: Any, config: EpisodeConfig, run_dir: Path) -> None:
    """Set the state of an ended episode to that before its next iteration, with the rows that it may now have.

    An iteration that a cap has cut short is taught again: the model's replies are cached, so that only what is
    missing is asked. A plan that a person has approved is kept.
    """
    from dataenvgym.graphs.episode import budget_left
    from dataenvgym.graphs.teacher import GIVEN_PLAN

    store, before = Store(run_dir), snapshot
    last = snapshot.values["steps"][-1]
    if last.get("stopped"):
        before = await _before(graph, thread, last["iteration"])
        if config.approve and last["plan"] is not None:
            given = Store.iteration(last["iteration"], GIVEN_PLAN)
            store.path(given).write_bytes(store.path(last["plan"]["path"]).read_bytes())
    values = before.values
    shown = store.read(values["observation"], Observation)[0]
    shown = shown.model_copy(update={"budget": budget_left(config, values["steps"][-1]["rows"])})
    seen = store.save(Store.iteration(shown.iteration, "observation.jsonl"), [shown])
    node = "evaluate" if len(values["steps"]) > 1 else "reset"
    await graph.aupdate_state(before.config, {"stop_reason": None, "observation": seen}, as_node=node)


async def _before(graph: Any, thread: Any, iteration: int) -> Any:
    """The checkpoint from which an iteration was taught."""
    async for snapshot in graph.aget_state_history(thread):
        if snapshot.next == ("teach",) and len(snapshot.values.get("steps", [])) == iteration:
            return snapshot
    raise LookupError(iteration)  # each iteration was taught from a checkpoint
