"""Builds the documentation site: `python docs/build.py [--out site]`. Nothing is fetched; a warning makes it fail.

The pages of docs/ are copied to a temporary folder, the lines `<!-- build: NAME -->` in them are replaced by what
the code says of itself (the command line, the config, the public names), and `zensical build --strict` does the
rest. A folder of links shows it the packages as they are imported: in a checkout the rooms stand elsewhere.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

import dataenvgym
from dataenvgym import agents, envs, graphs, prompts
from dataenvgym.cli import _parser
from dataenvgym.graphs.config import describe

ROOT = Path(__file__).parents[1]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WIDTH = "88"  # columns of the usage lines
# What a task, a student or a teacher of one's own is written against, beside the public names.
CONTRACTS = {
    "Tasks": (
        "dataenvgym.envs.tasks.base",
        "dataenvgym.envs.domains.base",
        "dataenvgym.envs.tasks.records",
        "dataenvgym.envs.tasks.hub",
        "dataenvgym.envs.tasks.splits",
    ),
    "Students": ("dataenvgym.envs.students.base", "dataenvgym.envs.students.StudentSpec"),
    "Teachers": ("dataenvgym.graphs.own_nodes", "dataenvgym.graphs.files", "dataenvgym.graphs.state"),
    "Shared types": ("dataenvgym.envs.types", "dataenvgym.envs.observation"),
    "Statistics": ("dataenvgym.envs.stats",),
    "Comparisons": ("dataenvgym.runs.comparison", "dataenvgym.sweeps.comparison"),
    "Errors": ("dataenvgym.envs.errors",),
}


def cli_reference() -> str:
    """Every command with its usage, arguments and examples, from the argument parser."""
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1")
    return "\n\n".join(_commands(_parser()))


def _commands(parser: argparse.ArgumentParser, summary: str | None = None) -> list[str]:
    """The parser's section, then those of its commands, theirs too."""
    parts = [_command(parser, summary)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            help_of = {chosen.dest: chosen.help for chosen in action._choices_actions}
            for name, inner in action.choices.items():
                parts += _commands(inner, help_of.get(name))
    return parts


def _command(parser: argparse.ArgumentParser, summary: str | None = None) -> str:
    text = parser.description or f"{summary or ''}.".capitalize()
    parts = [f"## {parser.prog}", text, f"```text\n{parser.format_usage().rstrip()}\n```"]
    formatter = parser._get_formatter()
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if isinstance(action, argparse._SubParsersAction):
            names = [(f"{parser.prog} {one.dest}", one.help or "") for one in action._choices_actions]
            rows += [(f"[`{name}`](#{name.replace(' ', '-')})", text) for name, text in names]
            continue
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        name = action.metavar if isinstance(action.metavar, str) else action.dest
        if action.option_strings:
            name = ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {metavar}")
        rows.append((_cell(f"`{name}`"), _cell(formatter._expand_help(action) if action.help else "")))
    if rows:
        parts.append(_table(("argument", "what it is"), rows))
    if parser.epilog and (parser.prog == "dataenvgym" or parser.epilog != _parser().epilog):
        parts.append(f"```text\n{parser.epilog.rstrip()}\n```")
    return "\n\n".join(parts)


def config_reference() -> str:
    """Every key of the config with its default, a table per section."""
    parts = []
    keys = sorted(describe(), key=lambda row: row[0].rpartition(".")[0])
    for section, rows in groupby(keys, key=lambda row: row[0].rpartition(".")[0]):
        parts.append(f"## {section or 'Top level'}")
        cells = [(f"`{key}`", _cell(f"`{default}`"), _cell(text)) for key, default, text in rows]
        parts.append(_table(("key", "default", "what it is"), cells))
    return "\n\n".join(parts)


def api_reference() -> str:
    """The public names of `dataenvgym`, then the modules that one's own parts are written against."""
    public = [name for name in dataenvgym.__all__ if name != "__version__"]
    parts = ["## dataenvgym"]
    for name in public:
        full, short = f"{getattr(dataenvgym, name).__module__}.{name}", f"dataenvgym.{name}"
        parts.append(f"::: {full}\n    options:\n      heading: {short}\n      toc_label: {name}")
    for title, modules in CONTRACTS.items():
        parts += [f"## {title}", *(f"::: {module}" for module in modules)]
    return "\n\n".join(parts)


GENERATED: dict[str, Callable[[], str]] = {
    "cli": cli_reference,
    "config": config_reference,
    "api": api_reference,
}


def fill(text: str) -> str:
    """A page with its `<!-- build: NAME -->` lines replaced."""
    for name, make in GENERATED.items():
        mark = f"<!-- build: {name} -->"
        if mark in text:
            text = text.replace(mark, make())
    return text


def astray(settings: dict[str, Any], docs: Path) -> list[str]:
    """What zensical's strict mode lets pass: pages in the navigation that do not exist, and pages not in it."""

    def pages(entry: Any) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        return set().union(*(pages(part) for part in (entry.values() if isinstance(entry, dict) else entry)))

    named = pages(settings["nav"])
    there = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    absent = [f"mkdocs.yml: docs/{page} is in the navigation and does not exist" for page in sorted(named - there)]
    return absent + [f"mkdocs.yml: docs/{page} is not in the navigation" for page in sorted(there - named)]


def build(out: Path) -> int:
    """Build the site into the folder `out`, replacing what was there; 0, or 1 after a warning."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    problems = astray(settings, ROOT / "docs")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copytree(ROOT / "docs", work / "docs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for page in (work / "docs").rglob("*.md"):
            page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
        _link_packages(work / "source")
        for plugin in settings["plugins"]:
            if isinstance(plugin, dict) and "mkdocstrings" in plugin:
                plugin["mkdocstrings"]["handlers"]["python"]["paths"] = ["source"]
        (work / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]  # it finds mkdocs.yml
        run = subprocess.run(command, cwd=work, check=False, capture_output=True, text=True)  # noqa: S603
        said = COLOUR.sub("", run.stdout + run.stderr).partition("Traceback")[0]
        print("\n".join([said.strip(), *problems]))  # noqa: T201
        if run.returncode or problems:
            return 1
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(work / settings["site_dir"], out)
    return 0


def _link_packages(source: Path) -> None:
    """The packages as one folder `dataenvgym`, wherever each is installed."""
    package = source / "dataenvgym"
    package.mkdir(parents=True)
    for room in (agents, envs, graphs, prompts):
        (package / room.__name__.rpartition(".")[2]).symlink_to(Path(str(room.__file__)).parent)
    for entry in Path(str(dataenvgym.__file__)).parent.iterdir():
        if entry.name not in ("__pycache__", *(link.name for link in package.iterdir())):
            (package / entry.name).symlink_to(entry)


def _cell(text: str) -> str:
    """Text for a table cell: on one line, bars escaped, and `<` outside of code no tag."""
    parts = text.replace("|", "\\|").replace("\n", " ").split("`")
    return "`".join(part if n % 2 else part.replace("<", "&lt;") for n, part in enumerate(parts))


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield "| " + " | ".join(header) + " |"
        yield "|" + " --- |" * len(header)
        for row in rows:
            yield "| " + " | ".join(row) + " |"

    return "\n".join(lines())


def main() -> int:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder for the site (default: site)")
    return build(parser.parse_args().out)


if __name__ == "__main__":
    sys.exit(main())
