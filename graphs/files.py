"""Read and write the files that a teacher's state refers to.

For your own nodes: `plan_of(state)` and the like read; `save(state, "plan-edited", [plan])` writes a file of
the iteration and returns the reference to put into the state. All block on the disk; an async node calls
them through `asyncio.to_thread`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store
from dataenvgym.envs.types import DataRequest, Plan, Provenance, Ref, Rejected, Row
from dataenvgym.graphs.state import TeacherState

M = TypeVar("M", bound=BaseModel)


def save(state: TeacherState, name: str, items: Iterable[BaseModel]) -> Ref:
    """Write one JSON line per item as `<name>.jsonl` of the state's iteration; return the reference to it."""
    return _store(state).save(Store.iteration(state["iteration"], f"{name}.jsonl"), items)


def row_for(
    state: TeacherState, request: DataRequest, number: int, *, question: str, solution: str, answer: str
) -> Row:
    """Make a row of `request` written without a model; `number` distinguishes the rows of a generation."""
    turn = state["round"]
    source = Provenance(
        iteration=state["iteration"], request=request.id, round=turn, model="none", prompt="none", prompt_hash=""
    )
    return Row(
        id=f"{state['iteration']:03d}-{request.id}-{turn}-own-{number}",
        question=question,
        solution=solution,
        answer=answer,
        skill=request.skill,
        subskill=request.subskill,
        provenance=source,
    )


def read(state: TeacherState, ref: Ref, model: type[M]) -> list[M]:
    """Read what `save` wrote, as items of that model.

    Raises:
        RunFolderError: the file is gone, changed or not of that model.
    """
    return _store(state).read(ref, model)


def observation_of(state: TeacherState) -> Observation:
    """Read the observation."""
    return _store(state).read(state["observation"], Observation)[0]


def feedback_of(state: TeacherState) -> Feedback:
    """Read the feedback that the feedback reader selected."""
    return _store(state).read(state["feedback"], Feedback)[0]


def plan_of(state: TeacherState) -> Plan:
    """Read the current plan."""
    return _store(state).read(state["plan"], Plan)[0]


def plans_of(state: TeacherState, *keys: str) -> dict[str, Plan]:
    """Read the plans that several planners left under keys of their own, by key (`planner(policy, key=...)`)."""
    found: Mapping[str, Any] = state
    return {key: _store(state).read(found[key], Plan)[0] for key in keys}


def generated_of(state: TeacherState) -> list[Row]:
    """Read the unverified rows of the last generation."""
    return _store(state).read(state["generated"], Row)


def accepted_of(state: TeacherState) -> list[Row]:
    """Read the rows accepted in this iteration; none before the first verification."""
    return _store(state).read(state["accepted"], Row) if state.get("round") else []


def rejected_of(state: TeacherState) -> list[Rejected]:
    """Read the rows and replies rejected in this iteration; none before the first generation."""
    return _store(state).read(state["rejected"], Rejected) if "rejected" in state else []


def earlier_of(state: TeacherState) -> list[Row]:
    """Read the rows accepted in earlier iterations."""
    return [row for ref in state.get("earlier", []) for row in _store(state).read(ref, Row)]


def _store(state: TeacherState) -> Store:
    return Store(Path(state["run_dir"]))
