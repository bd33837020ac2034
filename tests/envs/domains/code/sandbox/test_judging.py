"""What a verdict is: statuses, details, order, determinism; and where the sandbox is missing."""

import multiprocessing
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
from calls import ADD, call

from dataenvgym.envs.domains.code.sandbox import (
    Isolation,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    TestResult,
    judge,
)
from dataenvgym.envs.errors import MissingDependencyError

Try = Callable[..., TestResult]


def test_right_and_wrong_values(judged: Try) -> None:
    assert judged(ADD, call([1, 2], 3), "add").status == "passed"
    wrong = judged(ADD, call([1, 2], 4), "add")
    assert (wrong.status, wrong.detail) == ("failed", "add(1, 2): expected 4, got 3")


def test_an_error_is_told_with_its_line(judged: Try) -> None:
    result = judged("def f(x):\n    y = 1\n    return y / 0\n", call([1], 1))
    assert (result.status, result.detail) == ("error", "ZeroDivisionError (line 3): division by zero")
    missing = judged("def g(x):\n    return x\n", call([1], 1))
    assert missing.status == "error"
    assert "the program has no 'f'" in missing.detail


def test_programs_that_read_and_print(judged: Try) -> None:
    code = "import sys\na, b = map(int, input().split())\nprint(a + b)\nprint(sys.stdin.readline().strip())"
    test = StdinTest(stdin="1 2\nlast\n", stdout="3\nlast\n")
    assert judged(code, test, "").status == "passed"
    assert judged("print(open(0).read())", StdinTest(stdin="x", stdout="x"), "").status == "passed"
    wrong = judged("print(4)", test, "")
    assert wrong.status == "failed"
    assert "expected '3\\nlast\\n', got '4\\n'" in wrong.detail
    left = judged("print(5)\nraise SystemExit(0)", StdinTest(stdin="", stdout="5"), "")
    assert left.status == "passed"
    main = "if __name__ == '__main__':\n    print(7)"
    assert judged(main, StdinTest(stdin="", stdout="7"), "").status == "passed"


@pytest.mark.parametrize(
    "code",
    [
        "print(int(open('/dev/stdin').read()) + 1)\nquit()\nprint(3)",
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint(int(input()) + 1)\nexit(0)",
        "import sys\nout = open(1, 'w', closefd=False)\nout.write(str(int(sys.__stdin__.readline()) + 1))",
        "import os\nos.write(1, b'%d' % (int(os.read(0, 99)) + 1))",
        "stdout.write(str(int(stdin.readline()) + 1))",
        "import pathlib\nprint(int(pathlib.Path('/dev/stdin').read_text()) + 1)",
        "import io\nprint(int(io.open('/dev/stdin').read()) + 1)",
        "import pathlib\npathlib.Path('/dev/stdout').open('w').write(str(int(input()) + 1))",
        "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    print(int(input()) + 1)\nasyncio.run(main())",
        "import atexit\natexit.register(lambda: print(int(input()) + 1))",
    ],
)
def test_ways_to_read_and_print(code: str, judged: Try) -> None:
    assert judged(code, StdinTest(stdin="1", stdout="2"), "").status == "passed"


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    def __getattribute__(self, name):\n        raise KeyError(name)\na = A()",
        "import gc\ndef full():\n    raise MemoryError\ngc.get_objects = full",
        "import weakref\nclass A:\n    pass\na = A()\ngone = weakref.proxy(a)\ndel a",
        "class A:\n    __class__ = property(lambda self: 1 / 0)\na = A()",
        "import io\nclass A(io.IOBase):\n    def flush(self):\n        raise KeyError\na = A()",
    ],
)
def test_what_a_program_has_in_memory_at_its_end_does_not_matter(code: str, isolation: Isolation) -> None:
    program = Program(code=f"{code}\nprint(2)", tests=(StdinTest(stdin="", stdout="2"),))
    (found,) = judge([program], isolation=isolation)
    assert found.passed, found


def test_a_program_whose_memory_is_full_to_the_last_byte(isolation: Isolation) -> None:
    code = "a = []\ntry:\n    while True:\n        a.append([])\nexcept MemoryError:\n    print(2)"
    program = Program(code=code, tests=(StdinTest(stdin="", stdout="2"),))
    (found,) = judge([program], isolation=isolation, limits=Limits(memory_mb=128))
    assert found.results[0].status in {"memory", "passed"}  # as there is room for the line or not


def test_a_right_answer_may_be_larger_than_the_limit_of_output(judged: Try, quick: Limits) -> None:
    size = quick.output_kb * 4096
    assert judged("def f(n):\n    return [1] * n", call([size], [1] * size)).status == "passed"
    assert (
        judged("print('x' * int(input()))", StdinTest(stdin=str(size), stdout="x" * size), "").status == "passed"
    )
    digits = StdinTest(stdin="9" * 20_000, stdout="9" * 19_999 + "8")
    assert judged("print(int(input()) - 1)", digits, "").status == "passed"


def test_more_tests_than_a_process_may_open_files(isolation: Isolation, quick: Limits) -> None:
    tests = tuple(StdinTest(stdin=str(n), stdout=str(n + 1)) for n in range(400))
    assert judge([Program(code="print(int(input()) + 1)", tests=tests)], isolation=isolation, limits=quick)[
        0
    ].passed


def test_programs_that_run_their_main_in_a_large_thread(judged: Try) -> None:
    code = """
import sys, threading
def main():
    sys.setrecursionlimit(10 ** 6)
    def depth(n):
        return 0 if n == 0 else 1 + depth(n - 1)
    print(depth(20000))
threading.stack_size(64 * 1024 * 1024)
threading.Thread(target=main).start()
"""
    assert judged(code, StdinTest(stdin="", stdout="20000"), "").status == "passed"


def test_methods_of_a_solution_class_and_common_imports(judged: Try) -> None:
    code = "class Solution:\n    def most(self, words: List[str]) -> str:\n        return Counter(words).most_common(1)[0][0]"
    assert judged(code, call([["a", "b", "a"]], "a"), "Solution.most").status == "passed"
    power = "def f(x):\n    return [pow(2, 10, 1000), heapq.heappop([x]), math.sqrt(4), reduce(add, [1, 2])]"
    assert judged(power, call([5], [24, 5, 2.0, 3])).status == "passed"


def test_a_common_import_is_not_what_the_program_was_asked_to_define(isolation: Isolation, quick: Limits) -> None:
    for name, args, value in (("gcd", [4, 6], 2), ("add", [1, 2], 3), ("max", [1, 2], 2)):
        call_test, script = call(args, value), ScriptTest(code=f"assert {name}(*{args}) == {value}")
        programs = [Program(code="x = 1", entry=name, tests=(test,)) for test in (call_test, script)]
        found = judge(programs, isolation=isolation, limits=quick)
        assert [j.results[0].detail for j in found] == [f"the program has no {name!r}"] * 2


def test_a_verdict_holds_though_its_server_is_lost_afterwards(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataenvgym.envs.domains.code.sandbox import servers

    used: list[servers.Server] = []

    def lost(server: servers.Server) -> None:
        used.append(server)
        raise servers.LostError("gone")

    monkeypatch.setattr(servers.Server, "clean", lost)
    program = Program(code=ADD, tests=(call([1, 2], 3),), entry="add")
    assert all(j.passed for j in judge([program] * 3, isolation=isolation, workers=1))
    assert len(set(map(id, used))) == 3


def test_where_the_system_has_no_process_left_for_a_server_it_is_tried_again(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dataenvgym.envs.domains.code.sandbox import judging, servers

    program = Program(code=ADD, tests=(call([1, 2], 3),), entry="add")
    assert judge([program], isolation=isolation)[0].passed
    monkeypatch.setattr(servers, "_idle", [])
    monkeypatch.setattr(judging, "PAUSE", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    starts, start = [0], subprocess.Popen

    def few(*args: Any, **named: Any) -> Any:
        starts[0] += 1
        if starts[0] in (1, 3, 4):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*args, **named)

    monkeypatch.setattr(subprocess, "Popen", few)
    assert judge([program], isolation=isolation)[0].passed
    servers.close_all()
    (lost,) = judge([program], isolation=isolation)
    assert (lost.results[0].status, "unavailable" in lost.results[0].detail) == ("refused", True)
    assert not list(tmp_path.iterdir())


def test_results_come_in_order_up_to_the_first_that_is_not_passed(isolation: Isolation, quick: Limits) -> None:
    tests = (call([1, 1], 2), call([1, 1], 3), call([2, 2], 4))
    program = Program(code=ADD, tests=tests, entry="add")
    (found,) = judge([program], isolation=isolation, limits=quick)
    assert [r.status for r in found.results] == ["passed", "failed"]
    (whole,) = judge([program], isolation=isolation, limits=quick, stop_at_first=False)
    assert [r.status for r in whole.results] == ["passed", "failed", "passed"]
    assert not found.passed
    assert not whole.passed


def test_after_a_test_that_ended_the_process_the_next_gets_another(isolation: Isolation, quick: Limits) -> None:
    code = "import os\ndef f(x):\n    return x if x else os._exit(3)"
    program = Program(code=code, tests=(call([0], 0), call([1], 1)), entry="f")
    (found,) = judge([program], isolation=isolation, limits=quick, stop_at_first=False)
    assert [r.status for r in found.results] == ["error", "passed"]


def test_tests_of_all_kinds_in_turn(isolation: Isolation, quick: Limits) -> None:
    code = "def f(x):\n    return x + 1\nif __name__ == '__main__':\n    print(f(int(input())))"
    kinds = (call([1], 2), StdinTest(stdin="1", stdout="2"), ScriptTest(code="assert f(1) == 2"))
    program = Program(code=code, tests=(*kinds, *reversed(kinds), *kinds), entry="f")
    (found,) = judge([program], isolation=isolation, limits=quick)
    assert found.passed, found


def test_a_program_without_tests_does_not_pass(isolation: Isolation) -> None:
    assert not judge([Program(code=ADD, tests=())], isolation=isolation)[0].passed
    assert judge([], isolation=isolation) == []


def test_progress_is_told_in_the_callers_thread(isolation: Isolation) -> None:
    told: list[tuple[int, int, int]] = []
    program = Program(code=ADD, tests=(call([1, 1], 2),), entry="add")
    judge([program] * 5, isolation=isolation, progress=lambda *count: told.append((*count, get_ident())))
    assert told == [(n, 5, get_ident()) for n in range(1, 6)]


def test_an_error_in_progress_leaves_the_rest_unjudged(
    isolation: Isolation, quick: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataenvgym.envs.domains.code.sandbox import judging

    lent: list[str] = []

    def counted(*what: Any) -> Any:
        lent.append(what[1])
        return borrowed(*what)

    def progress(done: int, total: int) -> None:
        raise KeyboardInterrupt

    borrowed = judging.borrowed
    monkeypatch.setattr(judging, "borrowed", counted)
    program = Program(code=ADD, tests=(call([1, 1], 2),), entry="add")
    with pytest.raises(KeyboardInterrupt):
        judge([program] * 100, isolation=isolation, limits=quick, workers=1, progress=progress)
    assert 0 < len(lent) < 100


def test_nothing_depends_on_chance(isolation: Isolation) -> None:
    code = "import random\ndef f(x):\n    return [random.random(), list({'a', 'b', 'c', 'd'}), hash('text')]"
    program = Program(code=code, tests=(call([1], 0),), entry="f")
    found = judge([program] * 6, isolation=isolation, workers=3)
    assert len({j.results[0].detail for j in found}) == 1


def _burn() -> None:
    while True:
        pass


@pytest.mark.slow
def test_the_same_verdicts_under_load(isolation: Isolation) -> None:
    loops = [
        "def f(x):\n    return x + 1",
        "def f(x):\n    return sum(range(10 ** 6)) * 0 + x + 1",
        "def f(x):\n    while True:\n        pass",
        "import time\ndef f(x):\n    time.sleep(0.3)\n    return x + 1",
    ]
    programs = [Program(code=loops[n % 4], tests=(call([1], 2),), entry="f") for n in range(60)]
    limits = Limits(cpu_seconds=0.5, wall_seconds=60)
    alone = judge(programs, isolation=isolation, limits=limits)
    busy = [multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) for _ in range(8)]
    for process in busy:
        process.start()
    try:
        beside = judge(programs, isolation=isolation, limits=limits)
    finally:
        for process in busy:
            process.kill()
    assert [j.results[0].status for j in beside] == [j.results[0].status for j in alone]
    assert [j.results[0].status for j in alone] == ["passed", "passed", "timeout", "passed"] * 15


@pytest.mark.parametrize(
    "wait", ["time.sleep(3000)", "threading.Event().wait()", "[time.sleep(0.5) for _ in range(9000)]"]
)
def test_a_program_that_waits_holds_no_place_for_long(wait: str, isolation: Isolation) -> None:
    """Its clock limit is an hour; that it uses no processor ends it."""
    code = f"import threading, time\ndef f(x):\n    {wait}\n    return x + 1"
    program = Program(code=code, tests=(call([1], 2),), entry="f")
    (found,) = judge([program], isolation=isolation, limits=Limits(cpu_seconds=0.5, wall_seconds=3600))
    assert found.results[0].status == "timeout" and "it waited for 1 s" in found.results[0].detail


def test_where_bubblewrap_is_missing_the_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataenvgym.envs.domains.code.sandbox import servers

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(servers, "_idle", [])
    with pytest.raises(
        MissingDependencyError, match=r"apt-get install bubblewrap.*task\.options\.sandbox=rlimits"
    ):
        judge([Program(code=ADD, tests=(call([1, 1], 2),), entry="add")])
