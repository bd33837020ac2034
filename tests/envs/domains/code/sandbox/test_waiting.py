"""Programs that wait do not hold their place until the clock's limit, and no busy machine makes one of them."""

import time
from collections import Counter
from collections.abc import Callable

import pytest
from calls import call

from dataenvgym.envs.domains.code.sandbox import (
    Isolation,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    TestResult,
    judge,
)
from dataenvgym.envs.domains.code.sandbox import servers as servers_module
from dataenvgym.envs.domains.code.sandbox.inside import frames
from dataenvgym.envs.domains.code.sandbox.looking import LOOK_SECONDS, Seen, Waits, look
from dataenvgym.envs.domains.code.sandbox.servers import borrowed

Try = Callable[..., TestResult]

WAITING = {
    "sleeps in a call": "import time\ndef f(x):\n    time.sleep(1000)",
    "sleeps at the start": "import time\ntime.sleep(1000)\ndef f(x):\n    return 2",
    "looks each millisecond": "import time\ndef f(x):\n    while True:\n        time.sleep(0.001)",
    "waits for a lock": "import threading\ndef f(x):\n    lock = threading.Lock()\n    lock.acquire()\n    lock.acquire()",
    "waits for a thread": "import threading, time\ndef f(x):\n    t = threading.Thread(target=time.sleep, args=(1000,))\n"
    "    t.start()\n    t.join()",
    "waits for an event": "import threading\ndef f(x):\n    event = threading.Event()\n"
    "    while not event.wait(0.005):\n        pass",
    "stops itself": "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "gives itself a name that is no text": "import time\ntry:\n    open('/proc/self/comm', 'wb').write(b'\\xff) R 1')\n"
    "except OSError:\n    pass\ntime.sleep(1000)",
    "sleeps without its pipes": "import os, time\nos.closerange(0, 64)\ntime.sleep(1000)",
}
SAID = "it waited for 1 s, doing nothing"
PATIENT = Limits(cpu_seconds=1, wall_seconds=3600)


@pytest.mark.parametrize("kind", WAITING)
def test_a_program_that_waits_is_ended_and_told_so(kind: str, isolation: Isolation) -> None:
    program = Program(code=WAITING[kind], tests=(call([1], 2),), entry="f")
    (found,) = judge([program], isolation=isolation, limits=PATIENT)
    assert (found.results[0].status, found.results[0].detail) == ("timeout", SAID)


def test_a_program_on_standard_input_that_waits(judged: Try) -> None:
    result = judged("import time\nprint(2, flush=True)\ntime.sleep(1000)", StdinTest(stdin="", stdout="2"), "")
    assert (result.status, result.detail) == ("timeout", SAID)


def test_the_next_tests_are_run_all_the_same(isolation: Isolation) -> None:
    code = "import time\ndef f(x):\n    time.sleep(1000 * (x == 2))\n    return x"
    program = Program(code=code, entry="f", tests=tuple(call([x], x) for x in (1, 2, 3)))
    (found,) = judge([program], isolation=isolation, limits=PATIENT, stop_at_first=False)
    assert [result.status for result in found.results] == ["passed", "timeout", "passed"]


def test_the_waits_of_one_test_count_together(isolation: Isolation) -> None:
    code = "import time\ndef f(x):\n    time.sleep(0.3)\n    return x"
    short, long = (ScriptTest(code=f"for x in range({count}):\n    assert f(x) == x") for count in (2, 9))
    program = Program(code=code, entry="f", tests=(short, short, long))
    (found,) = judge([program], isolation=isolation, limits=PATIENT)
    assert [result.status for result in found.results] == ["passed", "passed", "timeout"]
    assert SAID in found.results[2].detail


def test_a_program_that_works_does_not_wait(isolation: Isolation) -> None:
    loop = Program(code="def f(x):\n    while True:\n        pass", entry="f", tests=(call([1], 1),))
    for found in judge([loop] * 4, isolation=isolation, limits=PATIENT, workers=4):
        assert "processor time" in found.results[0].detail


def test_where_the_system_does_not_tell_the_clock_decides(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers_module, "look", lambda pid, most: Seen(0, True))
    program = Program(code=WAITING["sleeps in a call"], entry="f", tests=(call([1], 2),))
    (found,) = judge([program], isolation=isolation, limits=Limits(cpu_seconds=0.1, wall_seconds=2))
    assert found.results[0].detail == "not done after 2 s by the clock"


def test_four_that_wait_among_35(isolation: Isolation) -> None:
    good = Program(code="def f(x):\n    return x + 1", entry="f", tests=(call([1], 2),))
    programs = [good] * 35
    for place, kind in zip((3, 11, 19, 27), WAITING, strict=False):
        programs[place] = good.model_copy(update={"code": WAITING[kind]})
    found = judge(programs, isolation=isolation, limits=PATIENT, workers=4)
    assert Counter(j.results[0].status for j in found) == {"passed": 31, "timeout": 4}


def test_looks_at_which_nothing_works_are_counted_not_time() -> None:
    waits = Waits(3 * LOOK_SECONDS)
    looks = [False, True, True, False, True, False]
    assert [waits.over(Seen(5, working)) for working in looks] == [False] * 5 + [True]


def test_what_is_not_there_counts_as_working() -> None:
    assert look(2**30, 5) == Seen(0, True)


def test_being_told_to_end_after_the_answer_changes_nothing(isolation: Isolation) -> None:
    with borrowed(isolation, "programs") as server:
        server._send(frames.framed({"do": "end"}), time.monotonic() + 5)
        assert "programs" in server.clean()


@pytest.mark.parametrize(("cpu", "idle"), [(0.1, 1.0), (5.0, 5.0), (30.0, 30.0)])
def test_a_program_may_wait_as_long_as_it_may_compute(cpu: float, idle: float) -> None:
    assert Limits(cpu_seconds=cpu).idle_seconds == idle
