"""`dataenvgym graph`: print a graph as Mermaid text, or draw it into a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dataenvgym.commands.arguments import Commands
from dataenvgym.envs.errors import ConfigError
from dataenvgym.reports.drawing import SUFFIXES, draw, drawable, mermaid


def add_parser(commands: Commands) -> None:
    """Add the command `graph`."""
    parser = commands.add_parser(
        "graph",
        help="print a graph as Mermaid text, or draw it into a file",
        description="Print a structure's graph, or a graph of your own, as Mermaid text, or draw it into a file.",
        epilog="examples:\n"
        "  dataenvgym graph skill_tree\n"
        "  dataenvgym graph skill_list --teacher --out teacher.svg\n"
        "  dataenvgym graph my_teacher:graph --out mine.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "structure",
        nargs="?",
        default="skill_tree",
        metavar="STRUCTURE",
        help="open_ended, skill_list or skill_tree (the default); or your own graph, as module:attribute or "
        "file.py:attribute",
    )
    parser.add_argument("--teacher", action="store_true", help="only the teacher, without the episode around it")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a file ending in .svg or .png (needs dataenvgym[draw]) or .mmd (Mermaid text)",
    )
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from dataenvgym.envs.store import write_bytes

    out: Path | None = arguments.out
    if out is not None and out.suffix not in SUFFIXES:
        raise ConfigError(f"--out {out}: the name must end in one of {', '.join(SUFFIXES)}")
    graph = drawable(arguments.structure, arguments.teacher)
    if out is None:
        sys.stdout.write(mermaid(graph))
        return 0
    data = mermaid(graph).encode() if out.suffix == ".mmd" else draw(graph, out.suffix)
    try:
        write_bytes(out, data)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from error
    sys.stdout.write(f"drawn into {out}\n")
    return 0
