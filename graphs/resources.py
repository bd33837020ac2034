"""Process-wide registry of live objects by config: tasks, students, gateways. They never enter the state."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.llm.spending import Caps, Spending
from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.students import Student, make_student
from dataenvgym.envs.tasks import TASKS, Task, load_task
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import Report
from dataenvgym.graphs import answers
from dataenvgym.graphs.config import CONFIG_FILE, EpisodeConfig, changed_keys, load_config
from dataenvgym.graphs.state import TeacherState

T = TypeVar("T")
RESPONSES, LEDGER = "responses.sqlite", "ledger.jsonl"

_objects: dict[tuple[str, ...], Any] = {}
_lock = threading.RLock()
# All students work in this one thread. Each thread that runs torch keeps its own OpenMP workers, and those of
# several threads compete for the cores: a training step took 2.6 s in changing threads, 1.5 s in one.
_student_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="student")


async def in_student_thread(work: Callable[[], T]) -> T:
    """Run `work` in the thread that all students share, off the event loop, and return its result."""
    context = copy_context()  # as asyncio.to_thread does: the graph's stream writer is found through it
    return await asyncio.get_running_loop().run_in_executor(_student_thread, lambda: context.run(work))


def stream_reporter(writer: Callable[[Any], None], prefix: str = "") -> Report:
    """Report progress as events of the graph's stream; each name begins with `prefix`."""

    def report(what: str, done: int, total: int) -> None:
        writer({"event": "progress", "what": f"{prefix}{what}", "done": done, "total": total})

    return report


def task_of(config: EpisodeConfig) -> Task:
    """Return the config's task."""
    return _get_or_create(("task", config.task.model_dump_json()), lambda: load_task(config.task))


def check_config(config: EpisodeConfig, run_dir: str) -> None:
    """Refuse to continue a run with a config other than its own; budgets and `approve` may change.

    LangGraph stores no context with a thread: a resume without it would silently use the defaults.

    Raises:
        RunFolderError: another config; the text names the keys that differ.
    """

    def compare() -> bool:
        path = Path(run_dir) / CONFIG_FILE
        begun = load_config(path) if path.is_file() else config
        keys = [key for key in changed_keys(begun, config) if key != "approve" and not key.startswith("budget.")]
        if keys:
            raise RunFolderError(
                f"{run_dir} was started with another config: {', '.join(keys)}. Give its own context "
                f"({path}; in Studio an assistant keeps it), or name another run_dir."
            )
        return True

    _get_or_create(("same config", run_dir, config.model_dump_json()), compare)


def held_out_of(config: EpisodeConfig) -> HeldOut:
    """Return the index of the task's val and test questions that rows are compared with."""
    task, overlap = task_of(config), config.teacher.checks.overlap
    key = ("held out", config.task.model_dump_json(), str(overlap))
    return _get_or_create(key, lambda: HeldOut([*task.val, *task.test], overlap, task.domain.identity))


def student_of(config: EpisodeConfig, report: Report | None = None, run_dir: str | None = None) -> Student:
    """Return the config's student. Its preparation may take minutes the first time; `report` is called meanwhile.

    A server started for the student writes its log into the first run that uses it.
    """
    student, folder = config.student_config(), None if run_dir is None else Path(run_dir)
    return _get_or_create(("student", student.model_dump_json()), lambda: make_student(student, report, folder))


def env_of(config: EpisodeConfig, run_dir: str, report: Report | None = None) -> TeacherEnv:
    """Make the environment of a run."""
    check_config(config, run_dir)
    return TeacherEnv(
        task_of(config),
        student_of(config, report, run_dir),
        config.student_config().train,
        Path(run_dir) / "students",
        seed=config.seed,
        answered=partial(answers.record, Path(run_dir)),
    )


def gateway_of(config: EpisodeConfig, run_dir: str, node: str) -> Gateway:
    """Return the gateway of a node's model, with the run's ledger and response cache in its folder.

    Nodes with the same model share it.
    """
    check_config(config, run_dir)
    model, spending = config.teacher.model_of(node), spending_of(config, run_dir)

    def make() -> Gateway:
        folder = Path(run_dir)
        return Gateway(
            model,
            seed=config.seed,
            cache=ResponseCache(folder / RESPONSES),
            ledger=Ledger(folder / LEDGER),
            spending=spending,
            domain=TASKS.find(config.task.name).domain,
        )

    return _get_or_create(("gateway", *_spending_key(config, run_dir), model.model_dump_json()), make)


def gateways_of(config: EpisodeConfig, run_dir: str) -> list[Gateway]:
    """Return the gateways of all models that the run may ask."""
    return list(
        {id(g): g for g in (gateway_of(config, run_dir, node) for node in config.teacher.all_models())}.values()
    )


def spending_of(config: EpisodeConfig, run_dir: str) -> Spending:
    """Return the count of what the run has spent on all its models, against its caps."""

    def make() -> Spending:
        folder = Path(run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        caps = Caps(config.budget.max_calls, config.budget.max_tokens, config.budget.max_cost)
        return Spending(list(config.teacher.all_models().values()), caps, Ledger(folder / LEDGER).records())

    return _get_or_create(("spending", *_spending_key(config, run_dir)), make)


def _spending_key(config: EpisodeConfig, run_dir: str) -> tuple[str, ...]:
    teacher = config.teacher.model_dump_json(include={"llm", "models"})
    return run_dir, teacher, config.budget.model_dump_json(), str(config.seed)


async def client_of(config: EpisodeConfig, state: TeacherState, node: str) -> TeacherClient:
    """Make the client of `node`: it renders prompts by name and records each call in the ledger."""
    gateway = await asyncio.to_thread(gateway_of, config, state["run_dir"], node)
    task = await asyncio.to_thread(task_of, config)
    return TeacherClient(gateway, task.domain, config.teacher, node, state["iteration"])


def close_all() -> None:
    """Free every live object of the process."""
    with _lock:
        for (kind, *_), value in list(_objects.items()):
            if kind in ("student", "gateway"):
                value.close()
        _objects.clear()


def _get_or_create(key: tuple[str, ...], make: Callable[[], T]) -> T:
    with _lock:
        if key not in _objects:
            _objects[key] = make()
        found: T = _objects[key]
        return found
