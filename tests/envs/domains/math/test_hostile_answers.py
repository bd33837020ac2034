"""Answers that would never come to an end, and scoring from many threads and processes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.domains.math.scoring import worker as math_worker
from dataenvgym.envs.domains.math.scoring.answers import equal, extract_answer
from dataenvgym.envs.errors import MissingDependencyError

BOMBS = [
    "9**9**9**9",
    "9^{9^{9^{9}}}",
    r"5^{\left(5^{\left(5^{\left(5^5\right)}\right)} - 4\right)}",
    "99999999!",
    "1e999999999",
    "(" * 500,
    "{" * 900,
    r"\frac{" * 150,
    r"\sqrt{" * 50 + "2" + "}" * 50,
    r"\pm" * 300,
    "x=" * 400,
    "1," * 499,
    "\x00\ud800",
    " " * 999,
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_hostile_answers_are_wrong_and_come_to_an_end(bomb: str) -> None:
    for gold in ("5", "x+1", "(1,2)"):
        assert equal(gold, bomb) is False
        assert equal(bomb, gold) is False
    extract_answer(bomb)
    extract_answer("\\boxed{" * 3000 + bomb)


def test_endless_algebra_is_stopped_and_the_next_comparison_works() -> None:
    # One call into C that no Python code can interrupt, past every pattern that catches towers.
    assert equal("x + 2", r"\binom{99999999}{4999999}") is False
    assert equal("x + 2", "2 + x") is True


def test_missing_algebra_is_an_error_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('no math_verify here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(math_worker, "_child", None)
    with pytest.raises(MissingDependencyError, match=r"no math_verify here.*pip install"):
        math_worker.compare("x+1", "1+x")


def test_scores_from_many_threads() -> None:
    pairs = [(f"x+{i}", f"{i + i % 2}+x") for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda pair: MATH.read_back(pair[0], f"Answer: {pair[1]}"), pairs))
    assert results == [(answer, i % 2 == 0) for i, (_, answer) in enumerate(pairs)]


def test_a_forked_process_does_not_talk_through_its_parents_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equal("y+3", "3+y")
    parents = math_worker._child
    # What a forked copy sees: a child that another process started.
    monkeypatch.setattr(math_worker, "_owner", -1)
    assert math_worker.compare("y+4", "4+y")
    assert math_worker._child is not parents
    assert parents is not None
    assert parents.poll() is None
    parents.kill()
    parents.communicate()
