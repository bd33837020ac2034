"""Judging programs: what is asked of the sandbox, and what its answers mean."""

from __future__ import annotations

import builtins
import json
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import Any, NamedTuple

from dataenvgym.envs.domains.code.sandbox.compare import MADE, same_output, same_value
from dataenvgym.envs.domains.code.sandbox.inside import frames
from dataenvgym.envs.domains.code.sandbox.looking import Waits
from dataenvgym.envs.domains.code.sandbox.servers import CrowdedError, LostError, Server, borrowed
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
from dataenvgym.envs.types import Progress

GRACE = 10.0
"""Seconds that a server may take beyond the limits of what runs in it."""
PAUSE = 2.0
"""Seconds after a server was lost; what another program has used up is free again by then."""
SHOWN = 120
LONGEST_DETAIL = 600
NOT_SET_UP = 77
PROGRAM, SCRIPT = 0, 1
MOST_NAMES = 10_000
BATCH_BYTES = 1 << 16
"""Arguments that are sent ahead, while the answer to the first call is still unknown."""
SLACK_BYTES = 1 << 16
"""What may come back, whatever the limit, beyond four times what is expected (a value travels with its types)."""


class Answer(NamedTuple):
    """What came from a process: a message, or (None) the result that its end is."""

    message: dict[str, Any] | None
    ended: TestResult


class Clock:
    """What is left of a test's time, where more than one process runs for it."""

    def __init__(self, limits: Limits) -> None:
        self.cpu, self._end = limits.cpu_seconds, time.monotonic() + limits.wall_seconds
        self.waits = Waits(limits.idle_seconds)

    def wall(self) -> float:
        """Seconds left by the clock."""
        return max(0.0, self._end - time.monotonic())


_NONE = TestResult(status="error", detail="")


def judge(
    programs: Sequence[Program],
    *,
    isolation: Isolation = "bubblewrap",
    limits: Limits | None = None,
    stop_at_first: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Judgement]:
    """Run each program on its tests; the verdicts, in order. May be called from several threads.

    Args:
        isolation: `bubblewrap`, or `rlimits`, which only limits time, memory, processes, files and output and
            filters system calls. It does NOT stop a program from reading the files that this user can read and
            from writing where this user can write; where the machine has no call filter (neither x86-64 nor
            arm64), it stops neither network nor signals. Use it for programs that you would run yourself.
        limits: per test; None: the defaults.
        stop_at_first: leave out the tests after the first that is not passed.
        workers: programs at the same time; None: one per core.
        progress: called with (done, total), in the thread of the caller. What it raises ends the judging.

    Raises:
        MissingDependencyError: bubblewrap is missing or not allowed here; the text says what to do.
    """
    limits = limits or Limits()
    if not programs:
        return []
    with ThreadPoolExecutor(min(len(programs), workers or os.cpu_count() or 1)) as threads:
        futures = [threads.submit(_judged, one, isolation, limits, stop_at_first) for one in programs]
        try:
            for done, _ in enumerate(as_completed(futures), 1):
                if progress:  # in the caller's thread: a graph's stream is found through its context
                    progress(done, len(programs))
        except BaseException:  # Ctrl-C too
            threads.shutdown(cancel_futures=True)  # what is running comes to its end
            raise
    return [future.result() for future in futures]


def _judged(program: Program, isolation: Isolation, limits: Limits, stop_at_first: bool) -> Judgement:
    # A server may be lost through no fault of the program; lost twice, it is the program.
    for pause in (PAUSE, 0.0):
        results: list[TestResult] = []
        try:
            with ExitStack() as stack:
                servers = {PROGRAM: stack.enter_context(borrowed(isolation, "programs"))}
                if any(isinstance(test, ScriptTest) for test in program.tests):
                    servers[SCRIPT] = stack.enter_context(borrowed(isolation, "scripts"))
                run = _Run(servers, program, limits)
                while len(results) < len(program.tests):
                    results += run.next(program.tests[len(results) :])
                    wrong = next((n for n, r in enumerate(results, 1) if r.status != "passed"), None)
                    if stop_at_first and wrong:
                        del results[wrong:]
                        break
            break
        except CrowdedError as error:
            results.append(TestResult(status="refused", detail=str(error)))
            break
        except LostError as error:
            results.append(TestResult(status="refused", detail=_clean(f"its sandbox was lost: {error}")))
            time.sleep(pause)
    passed = len(results) == len(program.tests) > 0 and all(r.status == "passed" for r in results)
    return Judgement(results=tuple(results), passed=passed)


class _Run:
    """One program on its server, and the test scripts on another."""

    def __init__(self, servers: dict[int, Server], program: Program, limits: Limits) -> None:
        self._servers, self._program, self._limits = servers, program, limits
        self._names: list[str] | None = None
        self._broken: TestResult | None = None

    def next(self, tests: Sequence[Test]) -> list[TestResult]:
        """The results of the first of these tests: of one, or of calls that were made in one go."""
        if isinstance(tests[0], StdinTest):
            return [self._stdin(tests[0])]
        broken = self._opened()
        if broken is not None:
            return [broken]
        if isinstance(tests[0], ScriptTest):
            return [self._script(tests[0])]
        return self._calls(tests)

    def _opened(self) -> TestResult | None:
        """The program's process, once run to its end and ready for calls; or why it is not."""
        if self._names is not None or self._broken is not None:
            return self._broken
        found = self._open(PROGRAM, "call", self._program.code)
        names = found.message.get("names") if found.message else None
        if found.message is None or not isinstance(names, list):
            # That the program does not even load will not change for the next test.
            self._broken = found.ended if found.message is None else _error(found.message)
            return self._broken
        entry = self._program.entry.partition(".")[0]
        self._names = [name for name in names[:MOST_NAMES] if isinstance(name, str)]
        if entry and entry not in self._names:  # nor may a builtin of that name stand in for it
            self._broken = TestResult(status="error", detail=f"the program has no {entry!r}")
        return self._broken

    def _open(self, number: int, role: str, code: str, clock: Clock | None = None, **more: Any) -> Answer:
        job, body = self._opening(number, role, code, **more)
        header, answer = self._send(job, body, clock=clock)
        return _read(answer) if header.get("frame") else Answer(None, self._ended(header, answer))

    def _opening(self, number: int, role: str, code: str, **more: Any) -> tuple[dict[str, Any], bytes]:
        limits = self._limits
        job = {
            "do": "open",
            "id": number,
            "role": role,
            "cpu_total": limits.cpu_seconds * (len(self._program.tests) + 1),
            **limits.model_dump(exclude={"cpu_seconds", "wall_seconds", "output_kb"}),
            **more,
        }
        return job, code.encode("utf-8", "replace")

    def _send(
        self, job: dict[str, Any], body: bytes, *, tests: Iterable[Test] = (), clock: Clock | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Ask the process's server. `tests`: whose answers come back; `clock`: None: a test's whole time."""
        clock = clock or Clock(self._limits)
        wall = clock.wall()
        output = max(self._limits.output_kb * 1024, *(4 * _size(test) + SLACK_BYTES for test in tests), 0)
        within = {"cpu": clock.cpu, "wall": wall, "output": output}
        server, most = self._servers[job["id"]], self._limits.processes
        header, answer = server.ask({**job, **within}, body, wall + GRACE, most, clock.waits)
        clock.cpu -= header.get("used", 0.0)
        return {**header, "output": output}, answer

    def _message(self, number: int, message: bytes, clock: Clock) -> Answer:
        return self._messages(number, [message], clock=clock)[0]

    def _messages(
        self, number: int, messages: Sequence[bytes], tests: Iterable[Test] = (), clock: Clock | None = None
    ) -> list[Answer]:
        """Answers to the first of the messages; at least one, and the last may be how the process ended."""
        sizes = [len(message) for message in messages]
        job = {"do": "ask", "id": number, "sizes": sizes}
        header, body = self._send(job, b"".join(messages), tests=tests, clock=clock)
        found, start = [], 0
        for size in header["sizes"]:
            found.append(_read(body[start : start + size]))
            start += size
        return found if header.get("frame") else [*found, Answer(None, self._ended(header, body[start:]))]

    def _calls(self, tests: Sequence[Test]) -> list[TestResult]:
        """The results of the first of these tests, at least of one."""
        path = self._program.entry.split(".")
        calls: list[CallTest] = []
        messages: list[bytes] = []
        for test in tests:
            if not isinstance(test, CallTest) or sum(map(len, messages)) > BATCH_BYTES:
                break
            try:
                args = [frames.pack(value) for value in test.args]
            except (TypeError, RecursionError) as error:
                if messages:
                    break
                return [TestResult(status="error", detail=f"the test's arguments cannot be given: {error}")]
            calls.append(test)
            messages.append(frames.dump({"path": path, "args": args, "keep": False}))
        answers = self._messages(PROGRAM, messages, calls)
        return [self._called(path[-1], *pair) for pair in zip(calls, answers, strict=False)]

    def _called(self, name: str, test: CallTest, found: Answer) -> TestResult:
        if found.message is None:
            self._names = None  # the process has ended; the next test gets another
            return found.ended
        if "value" not in found.message:
            return _error(found.message)
        try:
            got = frames.unpack(found.message["value"], made=MADE)
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
            return TestResult(status="refused", detail="what came back is no value")
        if same_value(test.expected, got):
            return TestResult(status="passed")
        shown = ", ".join(_short(value) for value in test.args)
        return _failed(f"{name}({shown})", _short(test.expected), _short(got))

    def _stdin(self, test: StdinTest) -> TestResult:
        self._names = None  # its process takes the place of the one that answers calls
        opening = self._opening(PROGRAM, "stdin", self._program.code, stdin=test.stdin)
        header, body = self._send(*opening, tests=[test])
        split = header.get("split", 0)
        if header.get("ended") != "exit" or header.get("code") != 0:
            return self._ended(header, body[split:])
        got = body[:split].decode("utf-8", "replace")
        if same_output(test.stdout, got):
            return TestResult(status="passed")
        return _failed(f"input {_short(test.stdin)}", _short(test.stdout), _short(got))

    def _script(self, test: ScriptTest) -> TestResult:
        clock, fault = Clock(self._limits), None
        found = self._open(SCRIPT, "script", test.code, clock, names=self._proxies())
        while found.message is not None and "path" in found.message:
            answer = self._message(PROGRAM, frames.dump(found.message), clock)
            if answer.message is None:
                self._names = None
                return answer.ended
            if "error" in answer.message:
                fault = _error(answer.message)
            found = self._message(SCRIPT, frames.dump(answer.message), clock)
        if found.message is None:
            return TestResult(status=found.ended.status, detail=_clean(f"in the test: {found.ended.detail}"))
        if found.message.get("done") is True:
            return TestResult(status="passed")
        if fault is not None and fault.status != "error":
            return fault
        told = str(found.message.get("error"))
        line = re.match(r"\w+ \(line (\d+)\)", told)
        lines = test.code.split("\n")
        source = lines[int(line[1]) - 1].strip() if line and int(line[1]) <= len(lines) else ""
        if told.startswith("AssertionError"):
            return TestResult(status="failed", detail=_clean(source or told))
        why = fault.detail if fault is not None else told
        return TestResult(status="error", detail=_clean(f"{why}, in the test: {source}" if source else why))

    def _proxies(self) -> list[str]:
        """The names that a script finds of the program: none that would change what the script itself does."""
        entry = self._program.entry.partition(".")[0]
        own = vars(builtins)
        return [n for n in self._names or () if n == entry or not (n in own or n.startswith("__"))]

    def _ended(self, header: dict[str, Any], answer: bytes) -> TestResult:
        """What the end of a process means, when an answer was awaited."""
        limits, why = self._limits, header.get("ended")
        code = header.get("code")
        if why == "timeout" or code == -signal.SIGXCPU:
            return TestResult(status="timeout", detail=f"more than {limits.cpu_seconds:g} s of processor time")
        if why == "idle":
            return TestResult(status="timeout", detail=f"it waited for {limits.idle_seconds:g} s, doing nothing")
        if why == "wall":
            return TestResult(status="timeout", detail=f"not done after {limits.wall_seconds:g} s by the clock")
        if why == "output":
            return TestResult(status="refused", detail=f"more than {header['output'] // 1024} kB came back")
        if header.get("error"):
            found = _read(answer)
            return _error(found.message) if found.message is not None else found.ended
        if isinstance(code, int) and code < 0:
            return TestResult(status="error", detail=f"it was ended by the signal {_signal(-code)}")
        if code == NOT_SET_UP:
            return TestResult(status="refused", detail="its process could not be set up")
        return TestResult(status="error", detail=f"it ended by itself (exit code {code}) before its test did")


def _size(test: Test) -> int:
    """Of what is expected, in bytes."""
    if isinstance(test, StdinTest):
        return len(test.stdout)
    try:
        return len(json.dumps(test.expected)) if isinstance(test, CallTest) else 0
    except (TypeError, ValueError, RecursionError):  # no JSON value, which nothing equals
        return 0


def _read(body: bytes) -> Answer:
    """A message from a program's process, of which nothing is believed."""
    try:
        message = frames.load(body)
    except ValueError:
        message = None
    if isinstance(message, dict):
        return Answer(message, _NONE)
    return Answer(None, TestResult(status="refused", detail="what came back is no message"))


def _error(message: dict[str, Any]) -> TestResult:
    """An exception of the program, as its process tells it."""
    told, kind = str(message.get("error", "no value came back")), message.get("kind")
    status = {"MemoryError": "memory", "PermissionError": "refused"}.get(str(kind), "error")
    return TestResult.model_validate({"status": status, "detail": _clean(told)})


def _failed(what: str, expected: str, got: str) -> TestResult:
    return TestResult(status="failed", detail=_clean(f"{what}: expected {expected}, got {got}"))


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of more digits than Python writes, or nested too deep
        text = "a value too large or too deep to be shown"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 20]}... ({len(text):,} characters)"


def _clean(text: str) -> str:
    """Text that any file and terminal can hold."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in plain)[:LONGEST_DETAIL]


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
