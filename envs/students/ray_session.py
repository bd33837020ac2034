"""Start Ray quietly on this machine, or join a cluster at an address."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from dataenvgym.envs.errors import ConfigError, MissingDependencyError
from dataenvgym.envs.loading import OWN

LOCAL = "local"
AUTO = "auto"
ANSWER = 5.0  # seconds for a cluster to accept a connection
# Ray reserves 30% of the memory for objects by default; here only texts and paths are passed.
OBJECT_STORE = 128 * 2**20


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield the module `ray`, connected during the block; an existing connection is reused.

    Args:
        address: `local` starts Ray on this machine, on the loopback interface only, protected by a random token,
            without a dashboard; `auto` joins the cluster of this machine; host:port joins that cluster.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """
    ray, mine = connect(address)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def connect(address: str) -> tuple[Any, bool]:
    """Connect like `connected`, for a caller that disconnects; return the module and whether this made it."""
    if "ray" not in sys.modules:  # Ray reads these variables when it is imported
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
            # Despite its name, the first variable sets the interface on Linux too: 0 is loopback. The token
            # keeps other users of this machine out.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise MissingDependencyError(
            "Ray is not installed. Install it with: pip install 'dataenvgym[ray]'"
        ) from None
    for name in [
        name for name in sys.modules if name.startswith(OWN)
    ]:  # pickled by value: no worker can import it
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    if ray.is_initialized():
        return ray, False
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        settings |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    ending = signal.getsignal(signal.SIGTERM)
    try:
        _reach(os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address)
        ray.init(**settings)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        if address == LOCAL:
            raise
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"no Ray cluster can be joined at {address!r} ({first}). Start one with: ray start --head   "
            f"or use {LOCAL!r}, which starts Ray on this machine while it is needed"
        ) from error
    if callable(ending):  # Ray has replaced our handler, which ends a run cleanly
        with suppress(ValueError):  # not the main thread: nothing was replaced
            signal.signal(signal.SIGTERM, ending)
    return ray, True


def _reach(address: str) -> None:
    """Raise an OSError if nothing listens at host:port; Ray itself would retry for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and "://" not in address and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()


def hide_gpus() -> None:
    """Hide all GPUs from torch in a worker that asked for none; Ray leaves all GPUs of the node visible."""
    import ray

    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def check_room(ray: Any, asked: Mapping[str, float], address: str, what: str) -> None:
    """Raise a ConfigError for resources that this machine can never give. A cluster may grow, so wait there."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if address == LOCAL and not any(all(n.get(key, 0) >= least for key, least in asked.items()) for n in nodes):
        has = {key: nodes[0].get(key, 0) for key in asked} if nodes else {}
        raise ConfigError(f"{what} asks Ray for {dict(asked)}, and this machine has {has}")
