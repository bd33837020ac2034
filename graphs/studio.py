"""A teacher alone, for LangGraph Studio: it works on a saved observation, without a student, in seconds.

open_observation -> teach (the teacher, a subgraph) -> show_rows

`teacher_alone` wraps any teacher graph. Each call works in a new folder under `runs/debug`; the run with the
observation is only read.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import Field
from typing_extensions import TypedDict

from dataenvgym.agents.checks import find_check
from dataenvgym.envs.errors import ConfigError, RunFolderError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store, copy_database, read_jsonl, write_bytes
from dataenvgym.envs.types import Plan, Ref, Rejected, Row
from dataenvgym.graphs.compose import compiled
from dataenvgym.graphs.config import (
    CONFIG_FILE,
    EpisodeConfig,
    Structure,
    config_for,
    dump_config,
    load_config,
    parse_config,
)
from dataenvgym.graphs.edited_plan import plan_from
from dataenvgym.graphs.rehearsal import rehearsed_input
from dataenvgym.graphs.resources import RESPONSES
from dataenvgym.graphs.state import TeacherInput, TeacherOutput, given
from dataenvgym.graphs.teacher import GIVEN_PLAN, build_teacher

Context = Runtime[EpisodeConfig]

FOLDER = Path("runs/debug")
OWN_CONFIG = "teacher.yaml"
"""The config of a teacher alone. Not config.yaml: its teacher settings may change from call to call."""
# The keys that may differ from the run's config; the observation depends on all others.
FREE = ("teacher", "budget", "approve")
SHOWN = 10
WIDEST = 300


class AloneInput(TypedDict, total=False):
    """The observation to use; empty: a rehearsed first observation, made without a student."""

    run: Annotated[
        str,
        Field(description="Folder of a finished or running run, which is only read; empty: a rehearsed start."),
    ]
    iteration: Annotated[
        int, Field(ge=0, description="The iteration whose observation the teacher sees; 0: the last one.")
    ]
    given_plan: Annotated[
        dict[str, Any], Field(description="A plan to generate instead of the planner's own; empty: none.")
    ]


class TeachingPreview(TypedDict):
    """A preview of the result, short enough for Studio; the files of the folder have everything."""

    plan: list[str]
    accepted: int
    rows: list[str]
    rejected: dict[str, int]
    reasons: list[str]


class AloneState(AloneInput, TypedDict, total=False):
    """The input, the working folder, the teacher's input and references, and the preview."""

    folder: str
    given: TeacherInput
    plan: Ref
    accepted: Ref
    rejected: Ref
    shown: TeachingPreview


class AloneOutput(TypedDict, total=False):
    """The folder with the files, and a preview of them."""

    folder: str
    shown: TeachingPreview


def teacher_alone(
    teacher: Any = None, structure: Structure = "skill_tree"
) -> StateGraph[AloneState, EpisodeConfig, AloneInput, AloneOutput]:
    """Build a graph, uncompiled, that runs a teacher by itself.

    With a run, the config is the run's own; the context's `teacher`, `budget` and `approve` override it. The
    folder stores the config, so continuing after a question to a person needs no context. The check `student`
    is left out.

    Args:
        teacher: as for `build_episode`; None: the standard teacher of `structure`.
        structure: the structure of its observations.

    Raises (when the graph runs):
        RunFolderError: `run` is not a run folder or has no observation of that iteration.
        ConfigError: the run is of another structure or task.
    """
    graph_of_teacher = compiled(build_teacher(structure) if teacher is None else teacher, structure)

    async def open_observation(state: AloneState, runtime: Context) -> AloneState:
        """Copy the observation, the earlier rows and the config into a new folder."""
        run = (given(state, "run", str, "the folder of a run, as text") or "").strip()
        number = given(state, "iteration", int, "a whole number") or 0
        given(state, "given_plan", dict, "a plan")
        folder = await asyncio.to_thread(_new_folder, structure)
        if run:
            start = await asyncio.to_thread(
                _copy_input, Path(run).expanduser(), number, folder, structure, runtime.context
            )
        elif number in (0, 1):
            config = _without_student(runtime.context)
            await asyncio.to_thread(_write_config, config, folder)
            start = await rehearsed_input(config, folder)
        else:
            raise ConfigError(
                f"iteration: {number} needs the folder of a run under 'run'; without one there is only 1"
            )
        return {"folder": str(folder), "given": start}

    async def teach(state: AloneState, runtime: Context) -> TeacherOutput:
        """Run the teacher with the config of the folder."""
        config = await asyncio.to_thread(_in_force, Path(state["folder"]) / OWN_CONFIG, runtime.context)
        await asyncio.to_thread(_put_plan, state)
        found: TeacherOutput = await graph_of_teacher.ainvoke(state["given"], context=config)
        return found

    graph = StateGraph(
        AloneState, context_schema=config_for(structure), input_schema=AloneInput, output_schema=AloneOutput
    )
    graph.add_node("open_observation", open_observation)
    graph.add_node("teach", teach)
    graph.add_node("show_rows", show_rows)
    graph.add_edge(START, "open_observation")
    graph.add_edge("open_observation", "teach")
    graph.add_edge("teach", "show_rows")
    graph.add_edge("show_rows", END)
    return graph


async def show_rows(state: AloneState) -> AloneState:
    """Show the plan, the first rows and the reasons for rejections as text."""
    return {"shown": await asyncio.to_thread(_preview, state)}


def _new_folder(structure: Structure) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{time.strftime('%Y%m%d-%H%M%S')}-{structure}-", dir=FOLDER)).absolute()


def _copy_input(
    run: Path, number: int, folder: Path, structure: Structure, context: EpisodeConfig
) -> TeacherInput:
    """Copy the input of `run`'s teacher in an iteration into files of `folder`."""
    number, observation = _observation(run, number)
    if not (run / CONFIG_FILE).is_file():
        raise ConfigError(f"run: {run} has no {CONFIG_FILE}, so it is no run")
    config = _in_force(run / CONFIG_FILE, context)
    if observation.structure != structure:
        raise ConfigError(
            f"{run} is a run of the structure {observation.structure}, this teacher is of {structure}; "
            f"open it with {observation.structure}_teacher"
        )
    if "rows_per_iteration" in context.budget.model_fields_set:
        observation = observation.model_copy(update={"budget": config.budget.rows_per_iteration})
    store = Store(folder)
    taught = {point.iteration: point.rows for point in observation.history}
    earlier = [
        store.save(Store.iteration(i, "accepted.jsonl"), _accepted_rows(run, i, _rows_added(taught, i)))
        for i in range(1, number)
    ]
    _copy_replies(run / RESPONSES, folder / RESPONSES)
    _write_config(_without_student(config), folder)
    return {
        "run_dir": str(folder),
        "iteration": number,
        "observation": store.save(Store.iteration(number, "observation.jsonl"), [observation]),
        "earlier": earlier,
    }


def _observation(run: Path, number: int) -> tuple[int, Observation]:
    """Find the iteration and read its observation."""
    if not run.is_dir():
        raise RunFolderError(f"run: there is no folder {run.absolute()}")
    there = sorted(int(path.parent.name) for path in run.glob("iterations/[0-9]*/observation.jsonl"))
    if not there:
        raise RunFolderError(f"run: {run.absolute()} is no run folder: it has no iterations/*/observation.jsonl")
    number = number or there[-1]
    if number not in there:
        found = ", ".join(map(str, there))
        raise RunFolderError(f"iteration: {run} has no observation of iteration {number}. It has: {found}.")
    return number, read_jsonl(run / Store.iteration(number, "observation.jsonl"), Observation)[0]


def _rows_added(taught: Mapping[int, int], iteration: int) -> int | None:
    """Count the rows that an iteration added; None where the observation does not show it."""
    if iteration not in taught:
        return None
    return taught[iteration] - taught.get(iteration - 1, 0)


def _accepted_rows(run: Path, iteration: int, count: int | None) -> list[Row]:
    """Read the rows accepted in an earlier iteration from the last round's file, which has those of all rounds."""
    folder = run / Store.iteration(iteration, "")
    files = sorted(
        folder.glob("accepted*.jsonl"), key=lambda path: int("".join(re.findall(r"\d", path.stem)) or 0)
    )
    rows = read_jsonl(files[-1], Row) if files else []
    if count is not None and len(rows) != count:
        raise RunFolderError(f"{folder}: found {len(rows)} accepted rows, expected {count} as in the observation")
    return rows


def _copy_replies(source: Path, target: Path) -> None:
    """Copy the run's replies, so that an unchanged call is not paid again; skip them where unreadable."""
    copy_database(source, target)
    if not target.is_file():
        return
    try:  # a running run may have written to it meanwhile
        with sqlite3.connect(target) as copy:
            sound = copy.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        copy.close()
    except sqlite3.DatabaseError:
        sound = False
    if not sound:
        for path in target.parent.glob(f"{target.name}*"):
            path.unlink()


def _in_force(saved: Path, context: EpisodeConfig) -> EpisodeConfig:
    """Load a saved config and override the keys of `FREE` that the context sets."""
    config = load_config(saved)
    chosen = context.model_dump(mode="json", exclude_unset=True, include=set(FREE))
    return _without_student(parse_config(_merge(json.loads(config.model_dump_json()), chosen), "context"))


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings; `above` wins."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = _merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return found


def _without_student(config: EpisodeConfig) -> EpisodeConfig:
    """Remove the checks that need a student from the config."""
    names = [name for name in config.teacher.checks.names if find_check(name).cost != "student"]
    checks = config.teacher.checks.model_copy(update={"names": names})
    return config.model_copy(update={"teacher": config.teacher.model_copy(update={"checks": checks})})


def _write_config(config: EpisodeConfig, folder: Path) -> None:
    write_bytes(folder / OWN_CONFIG, dump_config(config).encode())


def _put_plan(state: AloneState) -> None:
    """Write the given plan where the planner finds it; remove that of another branch."""
    name = Store.iteration(state["given"]["iteration"], GIVEN_PLAN)
    seen = Store(Path(state["folder"])).read(state["given"]["observation"], Observation)[0]
    plan = plan_from(state["given_plan"], seen, None, "given_plan") if state.get("given_plan") else None
    if plan is None:
        Path(state["folder"], name).unlink(missing_ok=True)
    else:
        Store(Path(state["folder"])).save(name, [plan])


def _preview(state: AloneState) -> TeachingPreview:
    store = Store(Path(state["folder"]))
    plan = store.read(state["plan"], Plan)[0]
    rows = store.read(state["accepted"], Row)
    rejected = store.read(state["rejected"], Rejected) if state["rejected"]["count"] else []
    failed = [(one.verdicts[-1], str(one.row.get("question", ""))) for one in rejected]
    return {
        "plan": [_line(f"{r.count} x {r.skill} {r.subskill}".rstrip(), r.reason) for r in plan.requests],
        "accepted": len(rows),
        "rows": [_line(row.skill, row.question, f"-> {row.answer}") for row in rows[:SHOWN]],
        "rejected": dict(Counter(verdict.check for verdict, _ in failed)),
        "reasons": [_line(verdict.check, verdict.reason, question) for verdict, question in failed[:SHOWN]],
    }


def _line(*parts: str) -> str:
    text = " | ".join(" ".join(part.split()) for part in parts if part)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
