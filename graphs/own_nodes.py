"""What a node of your own may use: ask a model, ask the student, score answers, remember over iterations.

async def critic(state, runtime):
    found = await ask(runtime, state, "critic", Remark, rows=[row.question for row in generated_of(state)])

Calls of `ask` are cached, capped and recorded under the node's own name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langgraph.runtime import Runtime
from pydantic import BaseModel

from dataenvgym.envs.domains.base import Scored
from dataenvgym.envs.errors import TeacherError
from dataenvgym.envs.store import Store, write_json
from dataenvgym.envs.text import clean, counted
from dataenvgym.envs.types import Instance, Plan, Rejected, Row
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.files import rejected_of, save
from dataenvgym.graphs.node_name import node_name
from dataenvgym.graphs.resources import client_of, env_of, in_student_thread, task_of
from dataenvgym.graphs.state import TeacherState

M = TypeVar("M", bound=BaseModel)
Context = Runtime[EpisodeConfig]


async def ask(
    runtime: Context,
    state: TeacherState,
    prompt: str,
    item: type[M],
    *,
    sample: int = 0,
    least: int = 1,
    **variables: Any,
) -> list[M]:
    """Ask the node's chat model through a prompt of your own and return the valid items of its reply.

    The calls are recorded under the name of the node, in a graph within the graph that of the inner node.

    Args:
        prompt: the template `<domain>/<prompt>.jinja` of the folder `teacher.prompts`, or a packaged one.
        item: the pydantic model of one item of the reply; the tool that the template names takes a list of them.
        sample: another number is another draw of the same prompt.
        least: the fewest valid items to go on with; 0: an answer without one is an empty list.
        variables: what the template is given.

    Raises:
        TeacherError: the template is faulty; the server cannot be reached or refuses; or the reply has fewer valid
            items than `least` (the text has the reason and the reply).
        BudgetReachedError: a cap is used up.
    """
    client = await client_of(runtime.context, state, node_name())
    found = await client.items(client.prompt(prompt, **variables), item, sample=sample)
    if len(found.valid) < least:
        faults = [f"{one.reason}: {clean(str(one.raw)):.200}" for one in found.failures[:3]]
        why = "; ".join(faults) or "an empty reply"
        raise TeacherError(
            f"prompt {prompt!r}: {counted(len(found.valid), 'valid item')} of {item.__name__}, expected {least} "
            f"or more ({why}). With least=0 a node can go on without one"
        )
    return found.valid


async def ask_student(
    runtime: Context, state: TeacherState, prompts: Sequence[str], *, base: bool = False
) -> list[str]:
    """Return the student's answers to prompts, in order: of the one that the rows are for, or of the base.

    A prompt is what `task.domain.prompt(instance)` or `task.domain.example(row).prompt` gives.
    """
    key = None if base else state.get("student")
    return await in_student_thread(lambda: env_of(runtime.context, state["run_dir"]).texts(key, prompts))


async def student_scores(
    runtime: Context, state: TeacherState, items: Sequence[Row | Instance], *, base: bool = False
) -> list[Scored]:
    """Ask the student rows or instances, and score its answers by the task's own scorer."""
    domain = (await asyncio.to_thread(task_of, runtime.context)).domain
    prompts = [domain.example(item).prompt if isinstance(item, Row) else domain.prompt(item) for item in items]
    texts = await ask_student(runtime, state, prompts, base=base)
    return await asyncio.to_thread(domain.score, items, texts)


def planned(state: TeacherState, plan: Plan, key: str = "plan") -> dict[str, Any]:
    """Save a plan under the node's name; return the keys of the state with which `generate_data` goes on.

    `key`: with another one than "plan" only that key is written, for a later node to choose from (`plans_of`).
    """
    if key != "plan":
        return {key: save(state, f"plan-{node_name()}", [plan])}
    rows = sum(request.count for request in plan.requests)
    return {"plan": save(state, f"plan-{node_name()}", [plan]), "missing": rows, "stopped": None}


def merged(state: TeacherState, *keys: str) -> dict[str, Any]:
    """Put the rows of several generators together; return the keys of the state with which `verify_data` goes on.

    `keys`: those of `generator(key=...)`; the rows of the first come first. Blocks on the disk.
    """
    store, name, turn = Store(Path(state["run_dir"])), node_name(), state["round"]
    found: Mapping[str, Any] = state
    rows = [row for key in keys for row in store.read(found[key], Row)]
    failed = [record for key in keys for record in store.read(found[f"{key}_rejected"], Rejected)]
    earlier = rejected_of(state) if turn else []
    return {
        "generated": save(state, f"{name}-{turn}", rows),
        "rejected": save(state, f"{name}-{turn}-rejected", [*earlier, *failed]),
        "stopped": None,
    }


def remember(state: TeacherState, name: str, value: Any) -> None:
    """Keep a JSON value for later iterations; it survives resume and fork. Blocks on the disk."""
    write_json(Path(state["run_dir"]) / _memory(state["iteration"], name), value)


def recall(state: TeacherState, name: str, default: Any = None) -> Any:
    """Return what was last remembered under the name before this iteration, or `default`. Blocks on the disk."""
    for iteration in range(state["iteration"] - 1, 0, -1):
        path = Path(state["run_dir"]) / _memory(iteration, name)
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    return default


def _memory(iteration: int, name: str) -> str:
    return Store.iteration(iteration, f"memory-{name}.json")
