"""Run a sweep's episodes as Ray tasks, on this machine or a cluster whose nodes share the sweep's folder."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataenvgym.envs.students.ray_session import check_room, connected, hide_gpus
from dataenvgym.sweeps.episode import EpisodeStatus, run_episode
from dataenvgym.sweeps.local import Change, Stop
from dataenvgym.sweeps.plan import LOGS, Episode, Resources

SWEEP = "sweep.yaml"
POLL = 0.5


def run_on_ray(
    episodes: Sequence[Episode], out: Path, address: str, resources: Resources, retries: int, stop: Stop
) -> Iterator[Change]:
    """Run the episodes as Ray tasks and yield each as it ends.

    Ray restarts a task whose worker or node dies, up to `retries` times; it continues in its run folder from the
    last finished node of its graph. Each task has its own process.

    Args:
        episodes: the episodes to run.
        out: the sweep's folder, under the same path on every node.
        address: `local` starts Ray on this machine; `auto` or host:port joins a cluster.
        resources: the resources of each episode.
        retries: restarts per episode.
        stop: see `run_local`.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address, or it lacks the resources of an episode.
    """
    with connected(address) as ray:
        asked = {"CPU": resources.num_cpus, "GPU": resources.num_gpus, **resources.custom}
        check_room(ray, asked, address, "an episode")
        task = ray.remote(
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            resources=resources.custom or None,
            max_retries=retries,
            max_calls=1,  # the process ends with its episode and frees the memory
        )(episode_task)
        stamp, running = stamp_of(out), {}
        for episode in episodes:
            given = (str(out), episode.name, episode.config.model_dump_json(), stamp)
            running[task.options(name=episode.name).remote(*given)] = episode.name
        cancelled = 0
        while running:
            done, _ = ray.wait(list(running), timeout=POLL)
            for reference in done:
                yield running.pop(reference), _result(ray, reference)
            if stop() > cancelled:
                cancelled = stop()
                for reference in running:
                    with suppress(Exception):  # it may have ended meanwhile
                        ray.cancel(reference, force=cancelled > 1)
            yield None


def episode_task(out: str, name: str, config: str, stamp: str) -> EpisodeStatus:
    """Run one episode in a Ray worker, if this node sees the sweep's folder."""
    hide_gpus()
    folder = Path(out)
    if stamp_of(folder) != stamp:
        where = socket.gethostname()
        return {
            "status": "failed",
            "reason": f"node {where} does not see {folder / SWEEP}: a sweep's folder must lie on storage that all "
            "nodes share, under the same path",
        }
    return run_episode(folder / name, config, folder / LOGS / f"{name}.log")


def stamp_of(out: Path) -> str:
    """Hash the sweep's file; nodes with equal hashes see the same folder."""
    try:
        return hashlib.sha256((out / SWEEP).read_bytes()).hexdigest()
    except OSError:
        return ""


def _result(ray: Any, reference: Any) -> EpisodeStatus:
    try:
        ended: EpisodeStatus = ray.get(reference)
        return ended
    except (ray.exceptions.TaskCancelledError, KeyboardInterrupt):
        return {"status": "interrupted", "reason": ""}
    except ray.exceptions.RayError as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return {"status": "failed", "reason": f"{type(error).__name__}: {first}"}
