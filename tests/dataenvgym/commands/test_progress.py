"""What a run shows of itself where there is no terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from dataenvgym.commands import progress as display


class Clock:
    """Stands for the time module: seconds go by when the test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(display, "time", made)
    return made


def progress(what: str, done: int, total: int) -> dict[str, Any]:
    return {"event": "progress", "what": what, "done": done, "total": total}


def test_long_work_is_told_by_the_quarter_and_short_work_not_at_all(clock: Clock) -> None:
    text = io.StringIO()
    with display.live(Console(file=text, width=80)) as show:
        show({"event": "phase", "name": "evaluate", "iteration": 1})
        for done in range(1, 9):
            show(progress("val: answers", done, 8))
            clock.now += 1.5
        for done in range(1, 1_001):
            show(progress("val: programs", done, 1_000))
        for done in (0, 50, 100):  # the next piece of that name
            show(progress("val: answers", done, 100))
            clock.now += 1.5
    assert text.getvalue().splitlines() == [
        "  val: answers: 3/8",
        "  val: answers: 4/8",
        "  val: answers: 6/8",
        "  val: answers: 8/8",
        "  val: answers: 100/100",
    ]


def test_one_row_is_in_the_singular() -> None:
    text = io.StringIO()
    step = {"iteration": 1, "accuracy": 0.5, "n": 2, "rows": 1}
    with display.live(Console(file=text, width=80)) as show:
        show({"event": "plan", "rows": 1, "requests": 1})
        show({"event": "evaluated", "step": step, "stop": None})
    assert "plan: 1 row in 1 request\n" in text.getvalue() and text.getvalue().endswith("(n=2), 1 row\n")
