"""DataEnvGym: a testbed in which data-generation agents teach student models in a closed loop.

Names are imported when first used, so that `import dataenvgym` and the command line start at once.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PUBLIC = {
    "DataEnv": "dataenvgym.gym.environment",
    "EpisodeConfig": "dataenvgym.graphs.config",
    "Policy": "dataenvgym.agents.policies",
    "Store": "dataenvgym.envs.store",
    "TeacherEnv": "dataenvgym.envs.teacher_env",
    "build_episode": "dataenvgym.graphs.episode",
    "build_teacher": "dataenvgym.graphs.teacher",
    "ask": "dataenvgym.graphs.own_nodes",
    "ask_student": "dataenvgym.graphs.own_nodes",
    "disconnect": "dataenvgym.graphs.compose",
    "extend": "dataenvgym.runs.extend",
    "fork": "dataenvgym.runs.fork",
    "generator": "dataenvgym.graphs.teacher",
    "gym_env": "dataenvgym.gym.adapter",
    "insert_after": "dataenvgym.graphs.compose",
    "load_config": "dataenvgym.graphs.config",
    "load_task": "dataenvgym.envs.tasks",
    "make": "dataenvgym.gym.environment",
    "make_student": "dataenvgym.envs.students",
    "merged": "dataenvgym.graphs.own_nodes",
    "planned": "dataenvgym.graphs.own_nodes",
    "planner": "dataenvgym.graphs.teacher",
    "recall": "dataenvgym.graphs.own_nodes",
    "remember": "dataenvgym.graphs.own_nodes",
    "replace_node": "dataenvgym.graphs.compose",
    "resume": "dataenvgym.runs.run",
    "run": "dataenvgym.runs.run",
    "student_scores": "dataenvgym.graphs.own_nodes",
    "teacher_from": "dataenvgym.graphs.compose",
}

__all__ = [*sorted(_PUBLIC), "__version__"]

try:
    __version__ = version("dataenvgym")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'dataenvgym' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
