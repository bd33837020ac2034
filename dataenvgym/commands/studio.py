"""`dataenvgym studio`: write the files with which LangGraph Studio opens a teacher of your own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dataenvgym.commands.arguments import Commands
from dataenvgym.envs.errors import ConfigError

GRAPHS, SERVER = "studio_graphs.py", "langgraph.json"
_GRAPHS = '''"""The graphs that LangGraph Studio opens, written by `dataenvgym studio {name}`."""

from dataenvgym.graphs.config import load_config
from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.own_teacher import load_own
from dataenvgym.graphs.studio import teacher_alone

STRUCTURE = {structure!r}
teacher = load_own(load_config(None, ["teacher.graph=" + {name!r}, "structure=" + STRUCTURE]))
episode = build_episode(teacher, STRUCTURE)
alone = teacher_alone(teacher, STRUCTURE)
'''


def add_parser(commands: Commands) -> None:
    """Add the command `studio`."""
    parser = commands.add_parser(
        "studio",
        help="prepare LangGraph Studio for a teacher of your own",
        description=f"Write {GRAPHS} and {SERVER}, with which `langgraph dev` opens your teacher: in an episode, "
        "and alone on a saved observation.",
        epilog="examples:\n"
        "  dataenvgym studio my_teacher.py:graph --structure skill_list\n"
        "  langgraph dev --no-reload",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("teacher", help="file.py:name or module:name, as for `run --teacher`")
    parser.add_argument(
        "--structure", default="skill_tree", help="open_ended, skill_list or skill_tree (the default)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="the folder to write into (default: .)"
    )
    parser.add_argument("--force", action="store_true", help="replace files of these names")
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from dataenvgym.envs.store import write_bytes
    from dataenvgym.graphs.config import load_config
    from dataenvgym.graphs.own_teacher import load_own

    given = [f"teacher.graph={json.dumps(arguments.teacher)}", f"structure={arguments.structure}"]
    config = load_config(None, given)
    load_own(config)  # what is no teacher is refused here
    out: Path = arguments.out
    graphs = _GRAPHS.format(name=config.teacher.graph, structure=config.structure)
    server = {
        "dependencies": ["."],
        "graphs": {
            "episode": {"path": f"./{GRAPHS}:episode", "description": "An episode with your teacher."},
            "teacher": {"path": f"./{GRAPHS}:alone", "description": "Your teacher alone, without a student."},
        },
        "http": {"app": "dataenvgym.commands.webapp:app"},
    }
    texts = {GRAPHS: graphs, SERVER: json.dumps(server, indent=2) + "\n"}
    there = [name for name in texts if (out / name).exists()]
    if there and not arguments.force:
        raise ConfigError(
            f"{' and '.join(there)} exists in {out.absolute()}; replace with --force, or set --out DIR"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_bytes(out / name, text.encode())
    where = "" if out == Path() else f"cd {out} && "
    print(f"wrote {GRAPHS} and {SERVER}\nopen them with: {where}langgraph dev --no-reload")  # noqa: T201
    return 0
