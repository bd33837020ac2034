"""A teacher or a policy of the user's own, by name in the config: `file.py:name` or `package.module:name`.

The code runs where a run starts or goes on from the command line or Python. A config that comes over the network
(Studio) never has code loaded for it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataenvgym.agents.policies import own_policy
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.loading import load_object
from dataenvgym.graphs.config import EpisodeConfig

TAKES_CONFIG = "config"
"""The parameter by whose name a function is one that makes a teacher from the config."""


def load_own(config: EpisodeConfig) -> Any:
    """Load what `teacher.graph` and `teacher.policy` name. Return the teacher; None: the structure's own.

    The teacher is a graph, compiled or not, or a plain function from the observation to rows. A function whose one
    parameter is called `config` is called with the config and returns one of these.

    Raises:
        ConfigError, UnknownNameError: no such file, module or name, its import fails, or it is none of these; or
            `teacher.models` names no node of it.
    """
    name = config.teacher.policy
    if name is not None and ":" in name:
        own_policy(name, config.structure, load_object(name))
    if config.teacher.graph is None:
        config.teacher.check_nodes()
        return None
    found = load_object(config.teacher.graph)
    if inspect.isfunction(found) and list(inspect.signature(found).parameters) == [TAKES_CONFIG]:
        found = found(config)
    if not (inspect.isfunction(found) or hasattr(found, "nodes") or hasattr(found, "ainvoke")):
        raise ConfigError(
            f"teacher.graph: {config.teacher.graph} is of type {type(found).__name__}. Expected a graph, compiled "
            f"or not, a function from the observation to rows, or a function of `{TAKES_CONFIG}` that returns one"
        )
    config.teacher.check_nodes(node_names(found))
    return found


def node_names(teacher: Any) -> set[str]:
    """Name the nodes of a graph, those of graphs inside it included."""
    nodes = getattr(getattr(teacher, "builder", teacher), "nodes", {})
    inner = (node_names(getattr(node, "runnable", None)) for node in nodes.values())
    return {*nodes}.union(*inner)


def fingerprint(teacher: Any) -> str:
    """Digest a teacher or a policy: the files of its functions, and how the nodes of a graph are wired.

    Files of this package and of installed ones are left out, and what the files import.
    """
    graph = getattr(teacher, "builder", teacher)
    wiring: list[Any] = []
    if hasattr(graph, "nodes") and hasattr(graph, "edges"):
        branches = {node: sorted(of) for node, of in graph.branches.items()}
        wiring = [sorted(graph.nodes), sorted(map(list, graph.edges)), branches]
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in set(_files(teacher))}
    return hashlib.sha256(json.dumps([wiring, files], sort_keys=True).encode()).hexdigest()


def fingerprints(config: EpisodeConfig, teacher: Any = None) -> dict[str, str]:
    """Return the fingerprints of a run's own teacher (`graph`) and policy; empty where it has neither.

    `teacher`: one given from Python; None: what the config names.
    """
    found = {}
    if teacher is None:
        teacher = load_own(config)
    else:
        config.teacher.check_nodes(node_names(teacher))
    if teacher is not None:
        found["graph"] = fingerprint(teacher)
    if config.teacher.policy is not None and ":" in config.teacher.policy:
        found["policy"] = fingerprint(load_object(config.teacher.policy))
    return found


def _files(part: Any) -> Iterator[Path]:
    graph = getattr(part, "builder", part)
    if hasattr(graph, "nodes") and hasattr(graph, "edges"):
        for node in graph.nodes.values():
            yield from _files(getattr(node, "runnable", node))
        return
    for function in (getattr(part, name, None) for name in ("func", "afunc", "plan")):
        if function is not None:
            yield from _files(function)
    if callable(part) and not hasattr(part, "invoke"):
        code = inspect.unwrap(part) if hasattr(part, "__module__") else type(part)
        if (code.__module__ or "").partition(".")[0] in ("dataenvgym", "builtins"):
            return
        try:
            file = inspect.getsourcefile(code)
        except TypeError:  # an object of a class
            file = inspect.getsourcefile(type(part))
        if file is not None and Path(file).is_file() and "site-packages" not in Path(file).parts:
            yield Path(file).resolve()
