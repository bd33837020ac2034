"""How many programs the sandbox judges a second, beside the plain ways of doing it.

    python benchmarks/sandbox.py [--programs 300]

All ways run the same programs on the same tests, as many at a time as there are cores:
- sandbox: `judge`, a process per program forked within one bubblewrap per core;
- plain: a fresh bubblewrap with a fresh python per program, all its tests in it (the same isolation);
- python: a fresh python per program without isolation;
- fork: `multiprocessing.Process` per program that runs it by exec, without isolation, as LiveCodeBench's evaluator
  and the released DataEnvGym do.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dataenvgym.envs.domains.code.sandbox import CallTest, Program, judge
from dataenvgym.envs.domains.code.sandbox.servers import borrowed, bubblewrap

CORES = os.cpu_count() or 1


SUM = """
def f(items, n):
    total = 0
    for x in items:
        if x > n:
            total += x * {0}
    return total
"""
BUSY = """
import time
def f(seconds):
    while time.process_time() < seconds:
        pass
    return time.process_time()
"""


def programs(count: int) -> list[Program]:
    """Small functions of five tests each."""
    made = []
    for number in range(count):
        lists = [[1, 2, 3], [], [number, 7], list(range(20)), [-1, 5]]
        tests = tuple(
            CallTest(args=[items, 2], expected=sum(x * number for x in items if x > 2)) for items in lists
        )
        made.append(Program(code=SUM.format(number), tests=tests, entry="f"))
    return made


def script(program: Program) -> str:
    """The program with its tests as one text that prints a 1."""
    checks = [f"assert f(*{t.args!r}) == {t.expected!r}" for t in program.tests if isinstance(t, CallTest)]
    return "\n".join([program.code, *checks, "print(1)"])


def sandboxed(made: list[Program]) -> int:
    return sum(j.passed for j in judge(made))


def plain(made: list[Program]) -> int:
    return _fresh(made, lambda code: bubblewrap([os.path.realpath(sys.executable), "-S", "-s", "-P", "-c", code]))


def python(made: list[Program]) -> int:
    return _fresh(made, lambda code: [os.path.realpath(sys.executable), "-S", "-s", "-P", "-c", code])


def _fresh(made: list[Program], command: Callable[[str], list[str]]) -> int:
    def one(program: Program) -> bool:
        return subprocess.run(command(script(program)), capture_output=True).stdout == b"1\n"

    with ThreadPoolExecutor(CORES) as threads:
        return sum(threads.map(one, made))


def _executed(code: str, answer: "multiprocessing.Queue[bool]") -> None:
    with Path(os.devnull).open("w") as sys.stdout:
        exec(code, {})
    answer.put(True)


def fork(made: list[Program]) -> int:
    context = multiprocessing.get_context("fork")

    def one(program: Program) -> bool:
        answer = context.Queue()
        process = context.Process(target=_executed, args=(script(program), answer))
        process.start()
        process.join()
        return not answer.empty()

    with ThreadPoolExecutor(CORES) as threads:
        return sum(threads.map(one, made))


def _processor() -> float:
    """Processor seconds so far: of this process, of the sandbox's servers and of all programs in them."""
    with ExitStack() as stack:
        servers = [stack.enter_context(borrowed("bubblewrap", "programs")) for _ in range(CORES)]
        replies = [server.clean() for server in servers]
    return time.process_time() + sum(reply["own"] + reply["programs"] for reply in replies)


def busy_share(seconds: float, count: int) -> tuple[float, float]:
    """Of programs that compute for so many seconds: the processor time of all that is no program, as a share of
    the whole and in milliseconds a program."""
    test = CallTest(args=[seconds], expected=None)
    before = _processor()
    found = judge([Program(code=BUSY, tests=(test,), entry="f")] * count)
    whole = _processor() - before
    inside = sum(float(j.results[0].detail.rsplit("got ", 1)[1]) for j in found)
    return (whole - inside) / whole, 1000 * (whole - inside) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=300, help="programs to judge (300)")
    count = parser.parse_args().programs
    made = programs(count)
    judge(made[:CORES])  # starts the servers
    rates = {}
    for way in (sandboxed, plain, python, fork):
        began = time.perf_counter()
        assert way(made) == count, way.__name__
        rates[way.__name__] = count / (time.perf_counter() - began)
    table = Table(title=f"{count} programs of five tests, {CORES} cores")
    for column in ("way", "programs/s", "over plain"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / rates['plain']:.2f}")
    console = Console()
    console.print(table)
    share, each = busy_share(0.1, 20 * CORES)
    console.print(
        f"outside the judged programs (0.1 s each): {share:.1%} of the processor time, {each:.1f} ms a program"
    )
    figures = {
        "programs": count,
        "cores": CORES,
        "per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "over_plain": round(rates["sandboxed"] / rates["plain"], 2),
        "outside_share": round(share, 4),
        "outside_ms": round(each, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
