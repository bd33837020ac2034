"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the config file, optional, and `--set`."""
    parser.add_argument("config", nargs="?", type=Path, help="YAML file; without one, the defaults")
    add_set(parser)


def add_set(parser: argparse.ArgumentParser, text: str = "change one value, e.g. budget.rows=300") -> None:
    """Add `--set KEY=VALUE`, which may be given several times."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Add `--prompts DIR`."""
    parser.add_argument(
        "--prompts", type=Path, metavar="DIR", help="folder whose prompts override the packaged ones"
    )


def add_teacher(parser: argparse.ArgumentParser) -> None:
    """Add `--teacher NAME`."""
    parser.add_argument(
        "--teacher",
        metavar="NAME",
        help="a teacher of your own, as file.py:name or module:name (the same as --set teacher.graph=NAME)",
    )


def add_changed_teacher(parser: argparse.ArgumentParser) -> None:
    """Add `--changed-teacher`."""
    parser.add_argument(
        "--changed-teacher",
        action="store_true",
        help="go on although the file of the run's own teacher or policy has changed",
    )


def add_run_folder(parser: argparse.ArgumentParser) -> None:
    """Add the run folder."""
    parser.add_argument("run", type=Path, help="the run folder")


def overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides that `--set`, `--prompts` and `--teacher` ask for, for `load_config`."""
    found = [*arguments.set]
    if arguments.prompts is not None:
        found.append(f"teacher.prompts={json.dumps(str(arguments.prompts.absolute()))}")
    if getattr(arguments, "teacher", None) is not None:
        found.append(f"teacher.graph={json.dumps(arguments.teacher)}")
    return found
