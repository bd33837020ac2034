"""`dataenvgym show`: the tables of a finished run."""

from __future__ import annotations

import argparse

from dataenvgym.commands.arguments import Commands, add_run_folder
from dataenvgym.envs.errors import RunFolderError


def add_parser(commands: Commands) -> None:
    """Add the command `show`."""
    parser = commands.add_parser("show", help="print the tables of a run")
    add_run_folder(parser)
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.reports import report
    from dataenvgym.runs.folder import open_run, read_summary

    open_run(arguments.run)
    summary = read_summary(arguments.run)
    if summary is None:
        raise RunFolderError(f"{arguments.run} has not finished. Continue it: dataenvgym resume {arguments.run}")
    report.show(summary, arguments.run, Console())
    return 0
