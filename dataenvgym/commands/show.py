"""`dataenvgym show`: the tables of a finished run, or the prompt of its student."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dataenvgym.commands.arguments import Commands, add_run_folder
from dataenvgym.envs.errors import RunFolderError

if TYPE_CHECKING:
    from rich.console import Console


def add_parser(commands: Commands) -> None:
    """Add the command `show`."""
    parser = commands.add_parser("show", help="print the tables of a run")
    add_run_folder(parser)
    parser.add_argument(
        "--prompt",
        action="store_true",
        help="print the prompt of one val instance as the student's model gets it, with its special tokens",
    )
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.reports import report
    from dataenvgym.runs.folder import open_run, read_summary

    open_run(arguments.run)
    if arguments.prompt:
        return _show_prompt(arguments.run, Console())
    summary = read_summary(arguments.run)
    if summary is None:
        raise RunFolderError(f"{arguments.run} has not finished. Continue it: dataenvgym resume {arguments.run}")
    report.show(summary, arguments.run, Console())
    return 0


def _show_prompt(run_dir: Path, console: Console) -> int:
    from rich.text import Text

    from dataenvgym.envs.text import clean
    from dataenvgym.graphs.episode import PROMPT

    try:
        text = (run_dir / PROMPT).read_bytes().decode(errors="replace")
    except OSError as error:
        raise RunFolderError(
            f"{run_dir / PROMPT} cannot be read ({error.strerror}). A run writes it before its first evaluation; "
            "one that was begun by an older version has none"
        ) from error
    console.print(Text(clean(text)), soft_wrap=True)
    return 0
