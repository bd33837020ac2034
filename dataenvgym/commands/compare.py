"""`dataenvgym compare`: finished runs side by side, or the settings of a sweep over its seeds and tasks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.commands.arguments import Commands
from dataenvgym.envs.errors import ConfigError, RunFolderError, is_full

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """\
examples:
  dataenvgym compare runs/list runs/tree                   the second run against the first
  dataenvgym compare runs/a runs/b runs/c --html abc.html  each against the first, also as a page
  dataenvgym compare runs/teachers                         a sweep: over seeds and tasks
"""


def add_parser(commands: Commands) -> None:
    """Add the command `compare`."""
    parser = commands.add_parser(
        "compare",
        help="compare runs of one task, or the settings of a sweep",
        description="Compare finished runs that were tested on the same instances: curves, skills, the test "
        "instances that one solves and the other does not, the paired difference with its interval and McNemar's "
        "exact test, and what each used. Of a sweep: means over seeds, paired differences over seeds and tasks "
        "with Holm's correction, and the table of structures, states and tasks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN", help="two or more run folders, or the folder of one sweep"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as one page too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of its figures and instances too")
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.envs.store import write_json

    _check_files(arguments)
    found, page = _compare(arguments.folders, Console())
    for file, write, words in (
        (arguments.json, lambda file: write_json(file, _plain(found)), "all figures are in"),
        (arguments.html, page, "HTML page:"),
    ):
        if file is not None:
            _written(file, write)
            print(f"{words} {file}")  # noqa: T201
    return 0


def _written(file: Path, write: Callable[[Path], object]) -> None:
    try:
        write(file)
    except OSError as error:
        if is_full(error):
            raise
        raise ConfigError(f"{file} cannot be written ({error.strerror}); name another file") from error


def _plain(value: Any) -> Any:
    """Intervals as objects, which JSON would write as bare lists."""
    from dataenvgym.envs.types import Interval

    if isinstance(value, Interval):
        return value._asdict()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _check_files(arguments: argparse.Namespace) -> None:
    for option, file in (("--html", arguments.html), ("--json", arguments.json)):
        if file is not None and file.is_dir():
            raise ConfigError(f"{option} {file} is a folder; name a file")


def _compare(folders: list[Path], console: Console) -> tuple[Any, Callable[[Path], object]]:
    """Print the comparison, and return it with what writes its page."""
    from dataenvgym.sweeps.results import RESULTS

    sweeps = [folder for folder in folders if (folder / RESULTS).is_file()]
    if sweeps and len(folders) > 1:
        raise RunFolderError(f"{sweeps[0]} is a sweep; compare one sweep alone, or name runs (its folders)")
    return _sweep(sweeps[0], console) if sweeps else _runs(folders, console)


def _runs(folders: list[Path], console: Console) -> tuple[Any, Callable[[Path], object]]:
    from dataenvgym.reports.comparison import show_runs
    from dataenvgym.reports.comparison_page import write_runs
    from dataenvgym.runs.comparison import compare_runs

    found = compare_runs(folders)
    show_runs(found, console)
    return found, lambda file: write_runs(file, found)


def _sweep(folder: Path, console: Console) -> tuple[Any, Callable[[Path], object]]:
    from dataenvgym.sweeps.comparison import compare_sweep
    from dataenvgym.sweeps.comparison_display import show_sweep, write_sweep

    found = compare_sweep(folder)
    show_sweep(found, console)
    return found, lambda file: write_sweep(file, found)
