"""What the sandbox is given and what it says: programs, their tests, limits and verdicts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dataenvgym.envs.config import Section
from dataenvgym.envs.types import Frozen

Isolation = Literal["bubblewrap", "rlimits"]
Status = Literal["passed", "failed", "error", "timeout", "memory", "refused"]
"""failed: a wrong value or output; error: the program raised or ended early; timeout, memory: a limit was
reached; refused: it did what the sandbox forbids, or more came back than the limits allow."""


class CallTest(Frozen):
    """Call the program's `entry` with `args` and compare what it returns."""

    args: list[Any] = Field(description="JSON values, one per positional argument.")
    expected: Any = Field(description="A JSON value; a tuple that comes back counts as a list.")


class StdinTest(Frozen):
    """Run the program from its first line with this on its standard input and compare what it prints."""

    stdin: str
    stdout: str


class ScriptTest(Frozen):
    """Run a test script of the benchmark's own (assertions) that calls the program's functions.

    The script runs in a process of its own; names of the program are calls over to the program's process, so that
    the program can neither read the script nor change what it compares. Hence it sees the program's functions and
    classes (objects too, by their methods; to read a plain attribute is an error), imports what else it uses and
    has its own builtins: a function of a builtin's name is seen only where it is the `entry`. Packages (numpy)
    are not there. The limits of time hold for the script and its calls together.
    """

    code: str


Test = CallTest | StdinTest | ScriptTest


class Program(Frozen):
    """Untrusted code and the tests to run it on."""

    code: str
    tests: tuple[Test, ...]
    entry: str = Field("", description="The function of call tests, or `Class.method`.")


class Limits(Section):
    """What one test of a program may use."""

    cpu_seconds: float = Field(5.0, gt=0, description="Processor time per test.")
    wall_seconds: float = Field(
        60.0,
        gt=0,
        description="Clock time per test. A program that waits, and does nothing, ends after `cpu_seconds` of "
        "that (at least 1).",
    )
    memory_mb: int = Field(1024, ge=64, description="Address space.")
    output_kb: int = Field(
        1024, ge=1, description="Printed text, or a returned value as text; more where more is expected."
    )
    file_mb: int = Field(16, ge=0, description="Largest file that may be written, in the private /tmp only.")
    processes: int = Field(64, ge=1, description="Processes and threads, where the system can count them.")

    @property
    def idle_seconds(self) -> float:
        """How long a program may wait per test: as long as it may compute, and at least a second."""
        return max(1.0, self.cpu_seconds)


class TestResult(Frozen):
    """What came of one test. `detail`: the difference, or the error's type, line and text."""

    __test__ = False  # not a test class of pytest's

    status: Status
    detail: str = ""


class Judgement(Frozen):
    """What came of a program: one result per test, in order, up to the first that was not passed if so asked."""

    results: tuple[TestResult, ...]
    passed: bool
    """Every test was run and passed; a program without tests never passes."""
