"""`dataenvgym sweep`: many episodes from one file, one by one or on Ray, and one table of results."""

from __future__ import annotations

import argparse
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    from dataenvgym.sweeps.display import Display
    from dataenvgym.sweeps.episode import EpisodeStatus
    from dataenvgym.sweeps.local import Change, Stop
    from dataenvgym.sweeps.plan import Episode, Sweep
    from dataenvgym.sweeps.results import SweepResult

EXAMPLES = """\
examples:
  dataenvgym sweep mine.yaml                         one episode after the other, into runs/mine
  dataenvgym sweep mine.yaml --jobs 4                four at a time
  dataenvgym sweep mine.yaml --dry-run               list the episodes and check their configs
  dataenvgym sweep mine.yaml --address local         Ray on this machine, with the file's `resources`
  dataenvgym sweep mine.yaml --address auto --out /shared/mine    the Ray cluster of this machine

mine.yaml:
  base: demo.yaml              # or the config's keys themselves
  grid:
    structure: [skill_list, skill_tree]
    state: [true, false]
    seed: [0, 1, 2]
  runs:                        # further grids, expanded separately
    - {structure: skill_tree, teacher.policy: [ucb, random], seed: [0, 1, 2]}
  resources: {num_cpus: 4, num_gpus: 1}    # per episode, for Ray
"""


def add_parser(commands: Any) -> None:
    """Add the command `sweep`."""
    parser = commands.add_parser(
        "sweep",
        help="run many episodes: a grid over tasks, structures, teachers, students, seeds",
        description="Run every episode of a grid in its own folder under DIR, and print one table. Run it again "
        "after an interruption or a failure: finished episodes are kept, others continue where they stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP.yaml", help="the base config and the grid")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the sweep's folder (default: runs/<name of the file>)"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="episodes at a time, without Ray (default: 1)"
    )
    parser.add_argument("--address", metavar="ADDR", help="run on Ray: local, auto, or host:port of a cluster")
    parser.add_argument("--dry-run", action="store_true", help="check and list the episodes, and run none")
    parser.set_defaults(command=run_sweep)


def run_sweep(arguments: argparse.Namespace) -> int:
    """Run the command `sweep`; return 0 when all have finished, 1 when one failed, 130 when stopped."""
    from rich.console import Console

    from dataenvgym.sweeps import display
    from dataenvgym.sweeps.plan import expand, keys_of, load_sweep

    console = Console()
    if arguments.dry_run:
        episodes = expand(load_sweep(arguments.sweep))
        display.show_episodes(episodes, keys_of(episodes), console)
        return 0
    out = arguments.out or Path("runs") / arguments.sweep.stem
    with display.live(console) as shown:
        found = sweep(arguments.sweep, out, jobs=arguments.jobs, address=arguments.address, display=shown)
    display.show_results(found, out, console)
    status = {record["status"] for record in found.records}
    if status <= {"finished"}:
        return 0
    words = ["dataenvgym", "sweep", str(arguments.sweep)]
    for option, value in (("--out", arguments.out), ("--address", arguments.address)):
        words += [option, str(value)] if value is not None else []
    words += ["--jobs", str(arguments.jobs)] if arguments.jobs > 1 else []
    console.print(f"continue with: {shlex.join(words)}", highlight=False, markup=False, soft_wrap=True)
    return 130 if "interrupted" in status else 1


def sweep(
    file: Path, out: Path, *, jobs: int = 1, address: str | None = None, display: Display | None = None
) -> SweepResult:
    """Run the episodes of a sweep that have not finished, and write results.jsonl, results.csv, comparisons.json.

    All configs and folders are checked before the first episode starts. A failed episode is recorded with its
    reason, and the others continue. The first Ctrl-C or SIGTERM ends the episodes after their current work, the
    second at once; finished work is kept.

    Args:
        file: the sweep (docs/scaling.md).
        out: the sweep's folder. With a cluster: on storage that its nodes share, under one path.
        jobs: episodes at a time, without Ray.
        address: Ray's, see `run_on_ray`; None: without Ray, one process per episode.
        display: a `sweeps.display.Display`, or None.

    Raises:
        ConfigError: an invalid sweep or config; the text names the episodes.
        UnknownNameError: an unknown key; the text names the nearest.
        RunFolderError: a folder of the sweep holds something else, another process is running the sweep, or runs
            with the same task settings are on different data; each run's figures are written all the same.
        MissingDependencyError: Ray is requested but not installed.
    """
    from dataenvgym.envs.store import write_bytes
    from dataenvgym.runs.folder import SUMMARY, locked
    from dataenvgym.sweeps.plan import dump_sweep, expand, keys_of, load_sweep
    from dataenvgym.sweeps.ray import SWEEP
    from dataenvgym.sweeps.results import SweepResult, differences, mixed_data, record, with_areas, write_results

    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: expected 1 or more")
    if address is not None and jobs > 1:
        raise ConfigError("--jobs is for sweeps without Ray; with --address, `resources` says how many fit")
    plan = load_sweep(file)
    episodes = expand(plan)
    keys, out = keys_of(episodes), out.absolute()
    for episode in episodes:
        check_folder(out / episode.name, episode)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{out} cannot be made ({error.strerror}); name another with --out") from error
    with locked(out), stopped_by_signals() as stop:
        write_bytes(out / SWEEP, dump_sweep(plan).encode())
        ends: dict[str, EpisodeStatus] = {}

        def write(last: bool = False) -> SweepResult:
            records = with_areas([record(episode, keys, out, ends.get(episode.name)) for episode in episodes])
            refused = mixed_data(episodes, out)
            found = SweepResult(records, [] if refused else differences(records, out))
            write_results(out, found.records, found.differences, refused)
            if refused and (last or not ends):  # not while episodes run, which have a result of their own
                raise RunFolderError(refused)
            return found

        left = [e for e in episodes if not (out / e.name / SUMMARY).is_file()]
        write()
        if display is not None:
            display.begin(episodes, left, out)
        for change in _changes(plan, left, out, jobs, address, stop):
            if change is not None:
                name, ends[name] = change
                write()
            if display is not None:
                display.change(change, stop())
        return write(last=True)


def _changes(
    plan: Sweep, left: Sequence[Episode], out: Path, jobs: int, address: str | None, stop: Stop
) -> Iterator[Change]:
    if not left:
        return iter(())
    if address is None:
        from dataenvgym.sweeps.local import run_local

        return run_local(left, out, jobs, stop)
    from dataenvgym.sweeps.ray import run_on_ray

    return run_on_ray(left, out, address, plan.resources, plan.retries, stop)


def check_folder(folder: Path, episode: Episode) -> None:
    """Refuse a folder that has another run or other files, with a RunFolderError."""
    from dataenvgym.envs.tasks.hub import COMMIT
    from dataenvgym.graphs.config import CONFIG_FILE, changed_keys, load_config
    from dataenvgym.runs.folder import changed_parts
    from dataenvgym.runs.manifest import MANIFEST

    if (folder / CONFIG_FILE).is_file():
        try:
            changed = changed_keys(load_config(folder / CONFIG_FILE), episode.config)
            if "task.revision" in changed and not COMMIT.fullmatch(episode.config.task.revision or ""):
                changed.remove("task.revision")  # a branch, or the newest: the run names the commit that it was
        except ConfigError as error:
            raise RunFolderError(f"{folder} has a run of another version of dataenvgym: {error}") from error
        if changed:
            raise RunFolderError(
                f"{folder} was made with another value of {', '.join(changed)}. Name another folder for the "
                "changed sweep (--out), or delete that run."
            )
        if other := changed_parts(folder, episode.config):
            raise RunFolderError(
                f"{folder} was made with {' and '.join(other)} as it was before it changed. Name another folder "
                "for the changed teacher (--out), or delete that run."
            )
        return
    # A worker that was killed while it created the run leaves the manifest and hidden files.
    strange = (
        [p.name for p in folder.iterdir() if p.name != MANIFEST and not p.name.startswith(".")]
        if folder.is_dir()
        else []
    )
    if strange or (folder.exists() and not folder.is_dir()):
        raise RunFolderError(f"{folder} is not a run and not empty; name another folder with --out")


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Count Ctrl-C and SIGTERM during the block; outside the main thread the count stays 0."""
    count = 0

    def handle(number: int, frame: Any) -> None:
        nonlocal count
        count += 1

    handled = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, handle) for number in handled]
    except ValueError:
        yield lambda: 0
        return
    try:
        yield lambda: count
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
