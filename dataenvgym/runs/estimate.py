"""Estimate what an episode asks of the teacher's model: calls, tokens and dollars per node."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dataenvgym.agents.llm.client import CHARACTERS_PER_TOKEN
from dataenvgym.agents.llm.ledger import CallRecord, Ledger
from dataenvgym.agents.llm.loops import run_now
from dataenvgym.agents.llm.spending import cost, price_of
from dataenvgym.graphs.compose import compiled
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.own_teacher import load_own
from dataenvgym.graphs.rehearsal import offline, rehearsed_input
from dataenvgym.graphs.resources import task_of
from dataenvgym.graphs.teacher import build_teacher

# Nodes whose replies are rows or solutions; their length is estimated from the task's train instances.
WRITERS = ("generate_data", "verify_data")


class NodeEstimate(NamedTuple):
    """The use of its model by one node in a whole episode. `cost`: US dollars; null if the price is unknown."""

    node: str
    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def estimate(config: EpisodeConfig) -> list[NodeEstimate]:
    """Estimate the calls of a whole episode per node that asks the model; nothing is sent.

    The teacher runs its first iteration on this machine, with the real prompts and the scripted model, for a
    student that gets every other val instance right; the other iterations are assumed equal. Refill rounds,
    repeats after an unusable reply and replies from the cache are not included. Tokens are characters divided by
    `CHARACTERS_PER_TOKEN`.
    """
    with tempfile.TemporaryDirectory() as folder:
        records = run_now(_rehearse(config, Path(folder)))
    task = task_of(config)
    shown = task.train[:200]
    per_row = sum(len(i.question) + len(i.solution) + len(i.answer) for i in shown) / max(1, len(shown))
    found = []
    for node in dict.fromkeys(r.node for r in records):
        mine = [r for r in records if r.node == node]
        times = 1 if node == "discover_skills" else _iterations(config)
        written = sum(r.completion_tokens or 0 for r in mine)
        if node in WRITERS:
            written = max(written, round(sum(r.valid for r in mine) * per_row / CHARACTERS_PER_TOKEN))
        tokens = (times * sum(r.prompt_tokens or 0 for r in mine), times * written)
        model = config.teacher.model_of(node)
        spent = cost(price_of(model), *tokens)
        found.append(NodeEstimate(node, model.model, times * len(mine), *tokens, spent))
    return found


def _iterations(config: EpisodeConfig) -> int:
    """Count the iterations until the row budget ends the episode."""
    budget = config.budget
    if budget.rows is None:
        return budget.iterations
    return min(budget.iterations, -(-budget.rows // budget.rows_per_iteration))


async def _rehearse(config: EpisodeConfig, folder: Path) -> Sequence[CallRecord]:
    config = offline(config)
    teacher = config.teacher.model_copy(update={"refill_rounds": 0})
    config = config.model_copy(update={"teacher": teacher})
    given: Any = await rehearsed_input(config, folder)
    teacher = load_own(config)
    graph = build_teacher(config.structure).compile() if teacher is None else compiled(teacher, config.structure)
    await graph.ainvoke(given, context=config)
    return list(Ledger(folder / "ledger.jsonl").records())
