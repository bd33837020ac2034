"""Running untrusted Python programs on tests: many at once, each in a process of its own that can do no harm.

Two walls stand around a program. Its process may not start others, use the network, signal or trace anybody
(a system call filter), and has limits on time, memory, files and output. And it lives in a bubblewrap sandbox: no
network, no files but Python's and the system's programs (/usr), read-only, and a private /tmp. What a test expects
never enters it: values and printed text come out as plain data and are compared here, so no program can declare
itself right.
"""

from dataenvgym.envs.domains.code.sandbox.judging import judge
from dataenvgym.envs.domains.code.sandbox.types import (
    CallTest,
    Isolation,
    Judgement,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    Test,
    TestResult,
)

__all__ = [
    "CallTest",
    "Isolation",
    "Judgement",
    "Limits",
    "Program",
    "ScriptTest",
    "StdinTest",
    "Test",
    "TestResult",
    "judge",
]
