"""A small config with the tiny student, and the command line called in this process."""

import os
from collections.abc import Callable

import pytest

from dataenvgym.cli import main

SETTINGS = {
    "student.name": "tiny",
    "student.generation.max_new_tokens": 4,
    "task.val_size": 1,
    "task.test_size": 1,
    "structure": "skill_list",
    "budget.iterations": 2,
    "budget.rows_per_iteration": 12,
}

Said = tuple[int, str, str]
"""(exit status, stdout, stderr)"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no setting of the shell reaches a test."""
    for name in list(os.environ):
        if name.upper().endswith("_API_KEY") or name.startswith("OPENAI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs `dataenvgym` in this process; a traceback fails the test."""

    def call(*arguments: object) -> Said:
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:  # argparse
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture(scope="session")
def small() -> Callable[..., list[str]]:
    """`--set` arguments of the small config, with changes on top: small(**{"budget.iterations": 1})."""

    def settings(**changes: object) -> list[str]:
        return [word for key, value in {**SETTINGS, **changes}.items() for word in ("--set", f"{key}={value}")]

    return settings
