"""The plan that waits for approval, and the plan that a person writes instead."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import DataError, RunFolderError
from dataenvgym.envs.text import counted

if TYPE_CHECKING:
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.types import Plan

# The plan in the iteration's folder, for a person to edit; it is never overwritten.
EDITABLE = "plan-to-edit.yaml"


def open_question(run_dir: Path) -> dict[str, Any] | None:
    """Read the `question` and `plan` that wait for a person's answer; None when the run waits for nobody.

    Raises:
        RunFolderError: not a run, in use by another process, or damaged.
    """
    from dataenvgym.agents.llm.loops import run_now
    from dataenvgym.runs.folder import CHECKPOINTS, locked, open_run, readable
    from dataenvgym.runs.run import THREAD, episode_graph

    config, checkpoints = open_run(run_dir), run_dir / CHECKPOINTS

    async def read() -> dict[str, Any] | None:
        async with episode_graph(checkpoints, config) as graph:
            asked = (await graph.aget_state(THREAD)).interrupts
        return dict(asked[0].value) if asked else None

    with locked(run_dir), readable(checkpoints):
        return run_now(read()) if checkpoints.is_file() else None


def latest_observation(run_dir: Path) -> Observation:
    """Read the observation of the run's current iteration.

    Raises:
        RunFolderError: there is none yet, or its file cannot be read.
    """
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.store import read_jsonl

    found = sorted(run_dir.glob("iterations/*/observation.jsonl"))
    if not found:
        raise RunFolderError(f"{run_dir} has no observation yet; continue it: dataenvgym resume {run_dir}")
    return read_jsonl(found[-1], Observation)[0]


def read_plan(path: Path, observation: Observation, asked: Plan | None = None) -> Plan:
    """Read and check a plan that a person wrote in YAML or JSON.

    Only the requests are required, as a list or under `requests`, without `id`; the rest comes from `asked`. In
    the skill tree the allocations in `actions` are adapted to the requests.

    Args:
        path: the file.
        observation: the observation of the plan's iteration, with its budget, skills and instances.
        asked: the plan that this one replaces.

    Raises:
        DataError: not a plan, more rows than the budget or none, an unknown skill or exemplar; the text says
            which and what is allowed.
    """
    from dataenvgym.graphs.edited_plan import plan_from

    return plan_from(_parse(path), observation, asked, str(path))


def write_editable(plan: Plan, observation: Observation, run_dir: Path) -> Path:
    """Write the plan as YAML into its iteration's folder, for a person to edit; keep an existing file."""
    import yaml

    from dataenvgym.envs.store import Store, write_bytes
    from dataenvgym.graphs.edited_plan import skills_of

    path = run_dir / Store.iteration(observation.iteration, EDITABLE)
    if not path.is_file():
        skills = ", ".join(skills_of(observation, plan) or ["any, written freely"])
        most = counted(observation.budget, "row")
        head = f"# The plan of iteration {observation.iteration}. At most {most} in total.\n"
        # The actions of the skill tree follow from the requests.
        text = yaml.safe_dump(plan.model_dump(exclude={"actions"}), sort_keys=False, allow_unicode=True, width=110)
        write_bytes(path, f"{head}# Skills: {skills}\n{text}".encode())
    return path


def _parse(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}). Expected yes, no, edit or a file.") from error
    with suppress(ValueError):
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: neither YAML nor JSON: {error}") from error
