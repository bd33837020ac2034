"""Test scripts: assertions of a benchmark that run beside the program."""

from collections.abc import Callable

import pytest
from calls import ADD

from dataenvgym.envs.domains.code.sandbox import (
    Isolation,
    Limits,
    Program,
    ScriptTest,
    TestResult,
    judge,
)

Try = Callable[..., TestResult]


def test_scripts_of_assertions(judged: Try) -> None:
    passed = ScriptTest(code="def check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)\n")
    assert judged(ADD, passed, "add").status == "passed"
    failed = judged(ADD, ScriptTest(code="assert add(1, 2) == 3\nassert add(1, 1) == 3\n"), "add")
    assert (failed.status, failed.detail) == ("failed", "assert add(1, 1) == 3")
    error = judged("def add(a, b):\n    return a / 0\n", ScriptTest(code="assert add(1, 2) == 3"), "add")
    assert error.status == "error"
    assert error.detail.startswith("ZeroDivisionError (line 2): division by zero")
    endless = "def add(a, b):\n    while True:\n        pass"
    slow = judged(endless, ScriptTest(code="assert add(1, 2) == 3"), "add")
    assert slow.status == "timeout"


def test_scripts_use_classes_changes_and_exceptions_of_the_program(judged: Try) -> None:
    code = """
class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b
    def total(self):
        return self.a + self.b
def longest(pairs):
    return max(p.b for p in pairs)
def clear(items):
    items.sort()
    items.append(9)
def fail(x):
    raise KeyError(x)
def count(n):
    yield from range(n)
"""
    script = """
assert longest([Pair(5, 24), Pair(15, 25)]) == 25
assert Pair(1, 2).total() == 3
total = Pair(1, 2).total
assert list(map(lambda call: call(), [total, total])) == [3, 3]
items = [3, 1]
clear(items)
assert items == [1, 3, 9]
try:
    fail(2)
except KeyError:
    pass
else:
    raise AssertionError
assert list(count(3)) == [0, 1, 2]
helper = lambda x: x
assert helper(4) == 4
"""
    result = judged(code, ScriptTest(code=script), "")
    assert result.status == "passed", result


@pytest.mark.parametrize(
    "look",
    [
        "assert f(1).ok",
        "assert not f(1).ok",
        "assert f(1).missing",
        "assert f(1).ok != False",
        "assert False != f(1).ok",
        "assert f(1).ok == True",
        "assert f(1).ok < 2 or True",
        "assert f(1).ok not in {1, 2}",
        "assert str(f(1).ok) != 'True'",
        "assert f'{f(1).ok}'",
    ],
)
def test_a_script_that_looks_at_a_plain_attribute_is_in_error(look: str, judged: Try) -> None:
    code = "class Box:\n    def __init__(self, ok):\n        self.ok = ok\ndef f(x):\n    return Box(False)"
    result = judged(code, ScriptTest(code=look))
    assert result.status == "error"
    assert "of an object of the program can be called but not read" in result.detail


def test_the_limits_of_time_are_of_a_script_and_its_calls_together(isolation: Isolation) -> None:
    calls = ScriptTest(code="for n in range(8):\n    assert f(n) == n")
    for code, limits in (
        ("import time\ndef f(x):\n    time.sleep(0.3)\n    return x", Limits(wall_seconds=1)),
        (
            "import time\ndef f(x):\n    end = time.process_time() + 0.3\n    while time.process_time() < end:\n        pass\n    return x",
            Limits(cpu_seconds=1),
        ),
    ):
        (found,) = judge([Program(code=code, tests=(calls,), entry="f")], isolation=isolation, limits=limits)
        assert found.results[0].status == "timeout"


def test_scripts_compare_what_only_python_has(judged: Try) -> None:
    code = "from decimal import Decimal\nfrom fractions import Fraction\ndef f(x):\n    return Decimal(x), Fraction(1, x), {x}, deque([x])"
    script = "from decimal import Decimal\nfrom fractions import Fraction\na, b, c, d = f(2)\nassert (a, b, c) == (Decimal(2), Fraction(1, 2), {2})\nassert list(d) == [2] and len(d) == 1 and d[0] == 2"
    assert judged(code, ScriptTest(code=script)).status == "passed"
    unimported = judged(f"import math\n{code}", ScriptTest(code="assert math.isclose(f(2)[1], 0.5)"))
    assert (unimported.status, unimported.detail[:9]) == ("error", "NameError")
