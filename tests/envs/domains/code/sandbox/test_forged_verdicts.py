"""Programs that try to be called right without being right."""

from collections.abc import Callable

import pytest
from hostile import ANSWER, SAY, WRONG

from dataenvgym.envs.domains.code.sandbox import (
    CallTest,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    TestResult,
    judge,
)

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

Try = Callable[..., TestResult]


CHECK = ScriptTest(code="def check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)\n")


# Each tries to be called right with a wrong answer.
FAKES = {
    "prints a pass": "print('passed', True, {'status': 'passed'})" + ANSWER,
    "writes into every descriptor": "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'\\0\\0\\0\\2\\0\\0\\0\\x0d{}{\"done\":true}')\n    except OSError:\n        pass"
    + ANSWER,
    "forges frames": "import os, json\nfor body in (b'{\"done\": true}', b'{\"passed\": true}', b'{\"names\": [\"f\"]}'):\n    os.write(4, len(b'{}').to_bytes(4, 'big') + len(body).to_bytes(4, 'big') + b'{}' + body)"
    + ANSWER,
    "is equal to all": "class Same:\n    def __eq__(self, other):\n        return True\n    __hash__ = None\ndef f(x):\n    return Same()",
    "is a number equal to all": "class Same(int):\n    def __eq__(self, other):\n        return True\n    def __ne__(self, other):\n        return False\n    __hash__ = int.__hash__\ndef f(x):\n    return Same(3)",
    "is a list equal to all": "class Same(list):\n    def __eq__(self, other):\n        return True\n    def __len__(self):\n        return 0\n    __hash__ = None\ndef f(x):\n    return Same([3])",
    "patches assertions": "import builtins\nclass Quiet(Exception):\n    pass\nbuiltins.AssertionError = Quiet"
    + ANSWER,
    "patches builtins": "import builtins\nfor name in ('repr', 'all', 'len', 'isinstance', 'zip', 'float', 'type'):\n    setattr(builtins, name, lambda *a, **k: True)"
    + ANSWER,
    "patches json": "import json\njson.dumps = lambda *a, **k: '{\"value\": 2}'\njson.loads = lambda *a, **k: {'value': 2}"
    + ANSWER,
    "patches the harness": "import sys\nfor name, module in list(sys.modules.items()):\n    if name.startswith('inside'):\n        for key in list(vars(module)):\n            if not key.startswith('__'):\n                setattr(module, key, lambda *a, **k: 2)"
    + ANSWER,
    "walks the frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    for name in list(frame.f_locals):\n        if name in ('job', 'code', 'common'):\n            frame.f_locals[name] = {'role': 'call'}\n    frame = frame.f_back"
    + ANSWER,
    "walks the heap": "import gc\nfor thing in gc.get_objects():\n    if type(thing) is dict and 'expected' in thing:\n        thing['expected'] = 3"
    + ANSWER,
    "names itself as the check": "def check(candidate):\n    return None\ndef f(x):\n    return 3\n",
    "ends in the call": "import os\ndef f(x):\n    os._exit(0)",
    "leaves in the call": "import sys\ndef f(x):\n    sys.exit(0)",
    "says that it cannot be wrong": "def f(x):\n    raise SystemExit(0)",
    "raises what tests swallow": "def f(x):\n    raise StopIteration",
    "is an iterator": "def f(x):\n    yield 3",
    "says a number that is none": SAY + "def f(x):\n    say(b'{\"value\": {\"float\": ' + b'1' * 400 + b'}}')",
    "says keys that are none": SAY + 'def f(x):\n    say(b\'{"value": {"dict": [[[1], {"set": [[2]]}]]}}\')',
    "says values that collide": SAY
    + "def f(x):\n    say(b'{\"value\": {\"set\": [' + b','.join(b'%d' % (n * (2 ** 61 - 1)) for n in range(1000)) + b']}}')",
}


@pytest.mark.parametrize("test", [WRONG, CHECK], ids=["call", "script"])
@pytest.mark.parametrize("fake", FAKES)
def test_a_wrong_answer_is_never_called_right(fake: str, test: object, judged: Try) -> None:
    assert judged(FAKES[fake], test).status != "passed"


@pytest.mark.parametrize(
    ("code", "script"),
    [
        ("def abs(x):\n    return 0" + ANSWER, "assert abs(f(1) - 2) < 1e-6"),
        ("def set(x):\n    return 0\ndef f(x):\n    return [3]", "assert set(f(1)) == set([2])"),
        ("def all(x):\n    return True" + ANSWER, "assert all(f(n) == n + 1 for n in range(3))"),
        (
            "def __import__(*a):\n    return None\nAssertionError = KeyError" + ANSWER,
            "import math\nassert f(1) == 2",
        ),
        ("def isclose(*a):\n    return True" + ANSWER, "from math import isclose\nassert isclose(f(1), 2)"),
        ("def f(x):\n    raise StopIteration", "for found in map(f, [1]):\n    assert found == 2"),
        ("def f(x):\n    raise StopIteration", "assert all(map(lambda n: f(n) == 2, [1]))"),
        ("def f(x):\n    raise StopIteration", "def found():\n    yield f(1) == 2\nassert all(found())"),
        ("import os\ndef f(x):\n    os._exit(0)", "try:\n    f(1)\nexcept Exception:\n    pass"),
    ],
)
def test_a_program_does_not_change_what_a_script_does(code: str, script: str, judged: Try) -> None:
    assert judged(code, ScriptTest(code=script)).status != "passed"


def test_a_program_cannot_find_test_scripts_in_memory(quick: Limits) -> None:
    """Neither its own nor those of earlier programs; with rlimits it may look at itself in /proc."""
    secret = "assert f(1) == 2  # " + "-".join(["se", "cr", "et"]) * 20
    spy = """
import re
def f(x):
    wanted, found = b"-".join([b"se", b"cr", b"et"]) * 3, 0
    with open("/proc/self/mem", "rb", 0) as memory:
        for line in open("/proc/self/maps"):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                memory.seek(start)
                found += memory.read(end - start).count(wanted)
            except (OSError, OverflowError, ValueError):
                continue
    return found - 1
"""
    honest = Program(code="def f(x):\n    return x + 1", tests=(ScriptTest(code=secret),) * 3, entry="f")
    look = CallTest(args=[1], expected=0)
    spies = Program(code=spy, tests=(look, ScriptTest(code=f"assert f(1) == 0\n{secret}")), entry="f")
    first, second = judge([honest, spies], isolation="rlimits", limits=quick, workers=1, stop_at_first=False)
    assert first.passed
    assert second.results[0].status == "passed", second  # what it looks for is its own constant at most
    assert second.results[1].detail == secret.split("  #")[0] or second.results[1].status == "failed"


@pytest.mark.parametrize("code", ["print('2')\nimport os\nos._exit(1)", "import sys\nprint(3)\nsys.exit(0)"])
def test_a_program_that_prints_and_leaves(code: str, judged: Try) -> None:
    assert judged(code, StdinTest(stdin="1", stdout="2"), entry="").status != "passed"
