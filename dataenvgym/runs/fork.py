"""Forks: a new run that starts at an iteration of another run, with another plan or other settings."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import ConfigError, RunFolderError
from dataenvgym.runs.plans import read_plan

if TYPE_CHECKING:
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.types import Plan
    from dataenvgym.graphs.config import EpisodeConfig

LEDGER = "ledger.jsonl"
# The keys that may differ from the parent, and the reasons why others may not.
FREE = ("budget.", "teacher.", "approve", "imports")
FIXED = {
    "task.": "the earlier iterations were measured on its instances",
    "student.": "the earlier iterations were measured on it",
    "seed": "the earlier iterations were drawn from it",
    "structure": "the earlier plans and observations depend on it",
    "state": "the earlier observations depend on it",
    "skills": "the val instances have their skills already",
    "max_skills": "the val instances have their skills already",
}


def fork(
    parent: Path, at: int, *, plan: Path | None = None, overrides: Sequence[str] = (), out: Path | None = None
) -> Path:
    """Create a run that starts from the state of `parent` before iteration `at`; `resume` runs it.

    It takes over predictions, rows, students, replies of the teacher's model, skills and earlier spending.
    The parent is only read.

    Args:
        parent: the run to start from.
        at: the first iteration that the fork runs itself, 1 or more.
        plan: a YAML or JSON file with a plan, which replaces the planner's in that iteration. None: a plan that a
            person wrote for it in the parent stays, unless `overrides` change the teacher or the rows.
        overrides: `key=value` changes from that iteration on: `budget.*`, `teacher.*` and `approve`.
        out: the new folder; None: beside the parent, `<parent>-at<iteration>`.

    Returns:
        The new folder.

    Raises:
        ConfigError: a change of a key that shared results depend on, or a budget that ends the run before `at`.
        DataError: `plan` is not a valid plan.
        RunFolderError: the parent is not a run, in use, damaged, has not reached `at` or was started on other
            data; or `out` is taken.
    """
    from dataenvgym.agents.llm.loops import run_now
    from dataenvgym.envs.store import Store
    from dataenvgym.graphs.config import CONFIG_FILE, changed_keys, load_config
    from dataenvgym.graphs.teacher import GIVEN_PLAN
    from dataenvgym.runs.data import DATA, check_data
    from dataenvgym.runs.folder import (
        TEACHERS,
        begin,
        check_free,
        extensions,
        open_run,
        read_manifest,
        read_summary,
    )
    from dataenvgym.runs.scorings import TEST_SCORED, inherited

    if at < 1:
        raise ConfigError(f"--at {at}: iterations are counted from 1")
    before, manifest = open_run(parent), read_manifest(parent)
    config = load_config(parent / CONFIG_FILE, [*extensions(parent), *overrides])
    _check_changes(changed_keys(before, config))
    if manifest.get("own_teacher") and plan is not None:
        raise ConfigError(f"{parent} has its own teacher graph, which makes its plans itself; leave out --plan")
    out = out or _beside(parent, at)
    if parent.resolve() in out.resolve().parents:
        raise RunFolderError(f"{out} lies in {parent}, which a fork does not change; name another with --out")
    check_free(out)
    check_data(parent, config, manifest)
    partial = out.absolute().with_name(f".{out.absolute().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _unused(parent):
            values = run_now(_values_before(parent, before, at))
            observation = _observation(parent, config, values)
            edited = _edited(parent, at, overrides) if plan is None else read_plan(plan, observation)
            _share(parent, partial, at)
        _check_budget(config, values, at, partial)
        store = Store(partial)
        values["observation"] = store.save(Store.iteration(at, "observation.jsonl"), [observation])
        given = None if edited is None else store.save(Store.iteration(at, GIVEN_PLAN), [edited])
        run_now(_write_values(partial, config, {**values, "run_dir": str(out.absolute())}))
        origin = {
            "parent": str(parent.absolute()),
            "iteration": at,
            "parent_config_sha256": manifest["config_sha256"],
            "changes": list(overrides),
            "plan": given,
            TEST_SCORED: inherited(parent, read_summary(parent), manifest),
        }
        own = bool(manifest.get("own_teacher"))
        kept = {TEACHERS: manifest[TEACHERS]} if own and TEACHERS in manifest else {}
        # The data of the parent: where it recorded none, nobody knows what its iterations were measured on.
        notes = {"own_teacher": own, DATA: manifest.get(DATA), **kept, "fork": origin}
        begin(config, partial, notes)
        if out.is_dir():
            out.rmdir()  # empty, as was checked
        partial.rename(out)
    except OSError as error:
        raise RunFolderError(f"{out} cannot be created ({error.strerror}); name another with --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _edited(parent: Path, at: int, overrides: Sequence[str]) -> Plan | None:
    """The plan that a person wrote for that iteration of the parent, unless the fork changes the teacher."""
    from dataenvgym.envs.store import Store, read_jsonl
    from dataenvgym.envs.types import Plan
    from dataenvgym.graphs.teacher import GIVEN_PLAN

    if any(override.startswith(("teacher.", "budget.rows")) for override in overrides):
        return None
    for name in ("plan-approved.jsonl", GIVEN_PLAN):
        file = parent / Store.iteration(at, name)
        if file.is_file():
            return read_jsonl(file, Plan)[0]
    return None


def _check_changes(changed: Sequence[str]) -> None:
    refused = [key for key in changed if not key.startswith(FREE)]
    if refused:
        lines = [f"  {key}: {_why_fixed(key)}" for key in refused]
        allowed = ", ".join(f"{name}*" if name.endswith(".") else name for name in FREE)
        raise ConfigError(
            "\n".join(["a fork shares results with its parent, so it keeps:", *lines, f"May change: {allowed}."])
        )


def _why_fixed(key: str) -> str:
    return next(
        (why for start, why in FIXED.items() if key.startswith(start)), "the earlier iterations were made with it"
    )


def _beside(parent: Path, at: int) -> Path:
    """Find the first free name of RUN-at2, RUN-at2-2, RUN-at2-3."""
    named = parent if parent.name not in ("", "..") else parent.resolve()
    base = named.with_name(f"{named.name}-at{at}")
    names = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in count(1))
    return next(path for path in names if not path.exists())


@contextmanager
def _unused(run_dir: Path) -> Iterator[None]:
    """Lock the run without writing to its lock file, as the lock's own class would."""
    try:
        import fcntl
    except ImportError:  # no such locks here
        yield
        return
    lock = run_dir / ".lock"
    if not lock.is_file():  # never run
        yield
        return
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise RunFolderError(
                f"{run_dir} is being run by another process; stop it, or wait until it ends"
            ) from None
        yield


async def _values_before(run_dir: Path, config: EpisodeConfig, at: int) -> dict[str, Any]:
    """Read the episode's state after the evaluation before iteration `at`, from a copy of the checkpoints."""
    from dataenvgym.envs.store import copy_database
    from dataenvgym.runs.folder import CHECKPOINTS, readable
    from dataenvgym.runs.run import THREAD, episode_graph

    reached = 0
    with tempfile.TemporaryDirectory(prefix="dataenvgym-") as folder, readable(run_dir / CHECKPOINTS):
        copy = Path(folder) / CHECKPOINTS
        copy_database(run_dir / CHECKPOINTS, copy)
        async with episode_graph(copy, config) as graph:
            async for snapshot in graph.aget_state_history(THREAD):
                values = dict(snapshot.values)
                steps = len(values.get("steps", []))
                reached = max(reached, steps)
                if snapshot.next in (("teach",), ("finish",)) and steps == at:
                    return {key: value for key, value in values.items() if key not in ("stop_reason", "summary")}
    found = f"it can be forked at 1 to {reached}" if reached else "its base was not evaluated yet"
    raise RunFolderError(f"{run_dir} has not reached iteration {at}: {found}")


def _observation(parent: Path, config: EpisodeConfig, values: dict[str, Any]) -> Observation:
    """Read the observation of the parent's teacher, and set the budget of the fork in it."""
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.store import Store
    from dataenvgym.graphs.episode import budget_left

    shown = Store(parent).read(values["observation"], Observation)[0]
    return shown.model_copy(update={"budget": budget_left(config, values["steps"][-1]["rows"])})


def _check_budget(config: EpisodeConfig, values: dict[str, Any], at: int, run_dir: Path) -> None:
    """Refuse a fork that would end before it starts."""
    from dataenvgym.agents.llm.ledger import Ledger
    from dataenvgym.agents.llm.spending import Caps, Spending
    from dataenvgym.graphs.episode import stop_reason

    budget = config.budget
    caps = Caps(budget.max_calls, budget.max_tokens, budget.max_cost)
    spent = Spending(
        list(config.teacher.all_models().values()), caps, Ledger(run_dir / LEDGER).records()
    ).reached()
    reason = stop_reason(config, values["steps"], spent)
    if reason is not None:
        raise ConfigError(f"iteration {at} would not start: {reason}. Raise the budget: --set budget.KEY=VALUE")


def _share(parent: Path, into: Path, at: int) -> None:
    """Copy the parent's files from before iteration `at`; link students where the disk supports it.

    Students and replies of later iterations are included. They are found by content, so the fork does not
    repeat work that the parent has done in the same way.
    """
    from dataenvgym.envs.store import Store, copy_database, write_bytes
    from dataenvgym.envs.teacher_env import TRAINED
    from dataenvgym.graphs.episode import PROMPT, SKILLS
    from dataenvgym.graphs.resources import RESPONSES
    from dataenvgym.graphs.teacher import GIVEN_PLAN
    from dataenvgym.graphs.timing import FILE as TIMINGS

    for number in range(at):
        folder = Path(Store.iteration(number, ""))
        shutil.copytree(parent / folder, into / folder)
    given = Store.iteration(at, GIVEN_PLAN)
    if (parent / given).is_file():
        (into / given).parent.mkdir(parents=True)
        shutil.copy2(parent / given, into / given)
    shutil.copy2(parent / SKILLS, into / SKILLS)
    if (parent / PROMPT).is_file():
        shutil.copy2(parent / PROMPT, into / PROMPT)
    copy_database(parent / RESPONSES, into / RESPONSES)
    for name, before in ((LEDGER, _called_before), (TIMINGS, _timed_before)):
        kept = before(_records(parent / name), at)
        write_bytes(into / name, "".join(json.dumps(record) + "\n" for record in kept).encode())
    for student in parent.glob(f"students/*/{TRAINED}"):
        if not student.parent.name.endswith(".partial"):
            shutil.copytree(student.parent, into / "students" / student.parent.name, copy_function=_link)


def _link(source: str, target: str) -> None:
    """Link a file that is never written again; copy it where the disk has no links."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a JSONL file; skip those cut by a kill."""
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _called_before(records: Iterator[dict[str, Any]], at: int) -> Iterator[dict[str, Any]]:
    return (record for record in records if record.get("iteration", 0) < at)


def _timed_before(records: Iterator[dict[str, Any]], at: int) -> Iterator[dict[str, Any]]:
    """Yield the timings before iteration `at`. They have no number; an iteration ends with one or two evaluations
    (two after a kill)."""
    done, last, ends = 0, "", ("reset", "evaluate")
    for record in records:
        node = str(record.get("node"))
        done += last in ends and node not in ends
        if done == at:
            return
        if node != "finish":  # the parent's own test, if it had ended and was continued
            yield record
        last = node


async def _write_values(run_dir: Path, config: EpisodeConfig, values: dict[str, Any]) -> None:
    """Write the first checkpoint of the fork; the next node is `teach`."""
    from dataenvgym.runs.folder import CHECKPOINTS
    from dataenvgym.runs.run import THREAD, episode_graph

    async with episode_graph(run_dir / CHECKPOINTS, config) as graph:
        await graph.aupdate_state(THREAD, values, as_node="evaluate")
