"""The command line. Commands import heavy modules inside their functions, so that --help is fast."""

from __future__ import annotations

import argparse
import atexit
import gc
import sys

from dataenvgym.commands import (
    check,
    compare,
    estimate,
    fork,
    graph,
    listings,
    plot,
    prompts,
    resume,
    run,
    show,
    studio,
    task,
    verify,
)
from dataenvgym.envs.errors import DataEnvGymError, is_full
from dataenvgym.machine import doctor
from dataenvgym.sweeps import sweep

COMMANDS = (
    run,
    resume,
    fork,
    task,
    check,
    estimate,
    verify,
    show,
    compare,
    plot,
    listings,
    graph,
    studio,
    prompts,
    sweep,
    doctor,
)
"""The modules of the commands, in the order of --help."""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit status (0 success, 1 a user's mistake, 130 interrupted)."""
    arguments = _parser().parse_args(argv)
    # At its end Python looks through all objects for garbage: 2 s of work once torch is loaded, for nothing.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        status: int = arguments.command(arguments)
    except DataEnvGymError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if not is_full(error):
            raise
        print(  # noqa: T201
            f"error: the disk is full ({error}). What is finished is kept: make room, then go on with `dataenvgym "
            "resume RUN`.",
            file=sys.stderr,
        )
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dataenvgym",
        description="Teachers that generate training data for a student, in a closed loop.",
        epilog=run.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _version() -> str:
    from dataenvgym import __version__

    return f"dataenvgym {__version__}"


if __name__ == "__main__":
    sys.exit(main())
