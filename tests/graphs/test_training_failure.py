"""A training that fails: what the episode makes of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.commands.progress import _line
from dataenvgym.envs.errors import DivergedError, TrainingError
from dataenvgym.runs.run import resume, run


def failing(stub: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, at: int) -> list[int]:
    """Has the stub's `at`-th training raise; one entry per training."""
    calls: list[int] = []
    real = stub.train

    def train(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise error
        return real(*given, **more)

    monkeypatch.setattr(stub, "train", train)
    return calls


def test_a_training_that_diverges_ends_the_episode_with_the_last_good_student(
    stub: Any, stub_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(stub, monkeypatch, DivergedError("the training loss became nan at step 3 of 6"), at=2)
    outcome = run(stub_config("budget.iterations=4"), tmp_path / "run")
    assert outcome.summary is not None
    assert outcome.summary["stop_reason"] == (
        "the training of iteration 2 diverged: the training loss became nan at step 3 of 6"
    )
    assert len(calls) == 2
    val = outcome.summary["val"]
    assert [v["iteration"] for v in val] == [0, 1, 2]
    assert val[2]["accuracy"] == val[1]["accuracy"]  # of the same student
    assert outcome.summary["test"]["best"]["n"] == 12
    kept = [p.name for p in (tmp_path / "run" / "students").iterdir() if (p / "train.json").is_file()]
    assert len(kept) == 1


def test_a_training_tells_of_itself_when_it_is_done(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    real, events = stub.train, []

    def train(examples: Any, out: Path, **more: Any) -> Any:
        summary = real(examples, out, **more)
        told = json.loads((out / "train.json").read_text())
        (out / "train.json").write_text(json.dumps({**told, "final_loss": 0.4, "tokens_per_second": 1200.0}))
        return summary

    stub.train = train
    run(stub_config("budget.iterations=2"), tmp_path / "run", on_event=events.append)
    told = [event for event in events if event["event"] == "trained"]
    assert [event["iteration"] for event in told] == [1, 2]
    assert told[0]["final_loss"] == 0.4
    assert _line(told[0]) == "  trained: loss 0.400, 1,200 tokens/s"


def test_a_training_that_the_machine_has_failed_is_tried_again_on_resume(
    stub: Any, stub_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(stub, monkeypatch, TrainingError("the training process ended (signal SIGKILL)"), at=2)
    with pytest.raises(TrainingError, match="SIGKILL"):
        run(stub_config("budget.iterations=3"), tmp_path / "run")
    outcome = resume(tmp_path / "run")
    assert outcome.summary is not None
    assert outcome.summary["stop_reason"] == "all 3 iterations done"
    assert len(calls) == 4
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == outcome.summary


def test_a_run_that_diverged_goes_on_no_further(
    stub: Any, stub_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(stub, monkeypatch, DivergedError("nan"), at=1)
    run(stub_config("budget.iterations=2"), tmp_path / "run")
    outcome = resume(tmp_path / "run")
    assert outcome.summary is not None and "diverged" in outcome.summary["stop_reason"]
    assert len(calls) == 1
