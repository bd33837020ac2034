"""The teacher's contract, checked before any training."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from dataenvgym.envs.errors import RunFolderError, TeacherError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Plan, Ref, Rejected, Row

M = TypeVar("M", bound=BaseModel)
DELIVERS = ("plan", "accepted", "rejected")


def check_delivery(
    given: Mapping[str, Any], observation: Observation, before: Mapping[str, Any] | None = None, who: str = "teach"
) -> list[Row]:
    """Check what a teacher delivers and return its accepted rows.

    Args:
        given: the state after the teacher: `run_dir`, and references under `plan`, `accepted`, `rejected`.
        observation: what the teacher saw; its budget limits the rows that it may plan and deliver.
        before: the references of the previous iteration; a teacher that delivers nothing leaves them unchanged.
        who: the node to name.

    Raises:
        TeacherError: a key is missing, a file does not fit its schema, a row is of another iteration, or there
            are more rows than planned or allowed. The text names the node, the key and what was expected.
    """
    absent = [key for key in DELIVERS if not given.get(key) or (before and given[key] == before.get(key))]
    if absent:
        raise TeacherError(
            f"{who}: the teacher gave no {', '.join(map(repr, absent))} in iteration {observation.iteration}. "
            f"Expected references under {', '.join(DELIVERS)}, as `save(state, name, items)` of "
            "dataenvgym.graphs.files returns them."
        )
    store = Store(Path(given["run_dir"]))
    plans = _read(store, given["plan"], Plan, f"{who}: plan")
    if len(plans) != 1:
        raise TeacherError(f"{who}: plan: expected one Plan in the file, got {len(plans)}")
    _read(store, given["rejected"], Rejected, f"{who}: rejected")
    rows = _read(store, given["accepted"], Row, f"{who}: accepted")
    planned = sum(request.count for request in plans[0].requests)
    if planned > observation.budget:
        raise TeacherError(
            f"{who}: plan: it asks for {counted(planned, 'row')}; the budget of this iteration is "
            f"{observation.budget}"
        )
    if len(rows) > planned:
        raise TeacherError(f"{who}: accepted: {counted(len(rows), 'row')}, but the plan asks for {planned}")
    foreign = next((r for r in rows if r.provenance.iteration != observation.iteration), None)
    if foreign is not None:
        raise TeacherError(
            f"{who}: accepted: row {foreign.id!r} says it is of iteration {foreign.provenance.iteration}, "
            f"expected {observation.iteration}; earlier rows are trained on again without being delivered again"
        )
    return rows


def check_update(node: str, update: Any, known: Mapping[str, Any]) -> None:
    """Refuse a node's return value if the graph would silently drop a part of it.

    A graph within the graph may have keys of its own, so it is not given here.

    Raises:
        TeacherError: the value is not a mapping, or has an unknown key; the text names the nearest known key.
    """
    if update is None:
        return
    if not isinstance(update, Mapping):
        raise TeacherError(f"{node}: returned {type(update).__name__}, expected a mapping of state keys")
    for key in update:
        if key not in known:
            near = get_close_matches(str(key), list(known), n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TeacherError(
                f"{node}: returned the key {key!r}, which the state does not have.{hint} "
                f"Known: {', '.join(known)}. Declare your own keys in a class that inherits from TeacherState: "
                "build_teacher(structure, MyState)."
            )


def _read(store: Store, ref: Ref, model: type[M], what: str) -> list[M]:
    if not isinstance(ref, Mapping) or not {"path", "count", "sha256"} <= set(ref):
        raise TeacherError(f"{what}: expected a reference (path, count, sha256), got {ref!r:.200}")
    try:
        return store.read(ref, model)
    except RunFolderError as error:
        raise TeacherError(f"{what}: {error}") from error
