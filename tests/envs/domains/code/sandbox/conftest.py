"""Both isolations; the one that is missing here is left out by name."""

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from dataenvgym.envs.domains.code.sandbox import CallTest, Isolation, Limits, Program, Test, TestResult, judge

Try = Callable[..., TestResult]

QUICK = Limits(cpu_seconds=1, wall_seconds=5, memory_mb=256, output_kb=64, file_mb=4)


@pytest.fixture(params=["bubblewrap", "rlimits"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: apt-get install bubblewrap")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def judged(isolation: Isolation) -> Try:
    """judged(code, test, entry="f"): the result of one test, with a good program judged beside it and after it, which
    must pass whatever the first did."""

    def call(code: str, test: Test, entry: str = "f") -> TestResult:
        good = Program(code="def f(x):\n    return x + 1\n", tests=(CallTest(args=[1], expected=2),), entry="f")
        bad = Program(code=code, tests=(test,), entry=entry)
        first, *others = judge([bad, good, good], isolation=isolation, limits=QUICK, workers=2)
        (after,) = judge([good], isolation=isolation, limits=QUICK)
        assert all(judgement.passed for judgement in [*others, after])
        assert first.passed == (first.results[0].status == "passed")
        return first.results[0]

    return call


@pytest.fixture
def quick() -> Limits:
    return QUICK


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """No process of a program outlives it: those of the servers alone are there afterwards."""
    yield
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "outlives-its-program" not in found
