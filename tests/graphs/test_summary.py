"""The summary: what it holds, and how it follows from the files of the run."""

import hashlib
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.store import Store, write_json
from dataenvgym.envs.types import Prediction
from dataenvgym.graphs.config import load_config
from dataenvgym.graphs.state import Step
from dataenvgym.graphs.summary import best_step, summarise
from dataenvgym.graphs.timing import measured, totals
from dataenvgym.reports.report import show

NO_FILE: Any = {"path": "x", "count": 0, "sha256": hashlib.sha256(b"").hexdigest()}


def step(iteration: int, accuracy: float, rows: int, rejected: int = 0) -> Step:
    return Step(
        iteration=iteration,
        student=f"s{iteration}" if iteration else None,
        predictions=NO_FILE,
        accuracy=accuracy,
        n=10,
        rows=rows,
        plan=NO_FILE if iteration else None,
        accepted=NO_FILE if iteration else None,
        rejected={**NO_FILE, "count": rejected} if iteration else None,
    )


def predictions(**right: tuple[int, int]) -> list[Prediction]:
    """skill=(right, n)."""
    return [
        Prediction(id=f"{skill}/{i}", skill=skill, question="q", gold="1", text="t", answer="1", correct=i < good)
        for skill, (good, n) in right.items()
        for i in range(n)
    ]


def test_the_best_step_is_the_earliest_of_the_best() -> None:
    steps = [step(0, 0.2, 0), step(1, 0.5, 10), step(2, 0.5, 20), step(3, 0.4, 30)]
    assert best_step(steps)["iteration"] == 1
    assert best_step(steps[:1])["iteration"] == 0


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    store.save("x", [])
    store.save("test/base.jsonl", predictions(add=(1, 4), sub=(3, 4)))
    store.save("test/best.jsonl", predictions(add=(4, 4), sub=(2, 4)))
    return tmp_path


def test_numbers_follow_from_the_files(scored: Path) -> None:
    steps = [step(0, 0.4, 0), step(1, 0.6, 10, rejected=3), step(2, 0.5, 30, rejected=4)]
    found = summarise(load_config(None, ["budget.target=0.55"]), scored, steps, "why")
    assert (found["iterations"], found["rows_accepted"], found["rows_rejected"]) == (2, 30, 7)
    assert (found["best_iteration"], found["stop_reason"], found["calls"]) == (1, "why", 0)
    assert [(v["iteration"], v["rows"], v["accuracy"]) for v in found["val"]] == [
        (0, 0, 0.4),
        (1, 10, 0.6),
        (2, 30, 0.5),
    ]
    add, sub = found["skills"]["add"], found["skills"]["sub"]
    assert (add["base"], add["best"], add["n"]) == (0.25, 1.0, 4)
    assert (sub["base"], sub["best"], sub["n"]) == (0.75, 0.5, 4)
    assert found["lost"] == ["sub"]
    test = found["test"]
    assert (test["base"]["accuracy"], test["best"]["accuracy"], test["base"]["n"]) == (0.5, 0.75, 8)
    assert test["gain"]["value"] == pytest.approx(0.25)
    assert 0 < found["rows_to_target"] <= 10
    for part in ("base", "best"):
        assert 0 <= test[part]["low"] <= test[part]["accuracy"] <= test[part]["high"] <= 1
    json.dumps(found, allow_nan=False)


def test_what_a_training_noted_stands_with_its_iteration(scored: Path) -> None:
    note = "longer than student.train.max_length = 30 tokens: 1 of 10 rows left out, whose prompt alone is as long"
    for student, told in (("s1", {"left_out": 1, "notes": [note]}), ("s2", {})):
        write_json(scored / "students" / student / "train.json", told)
    unchanged: Any = {**step(3, 0.5, 30), "student": "s2"}
    steps = [step(0, 0.4, 0), step(1, 0.6, 10), step(2, 0.5, 30), unchanged]
    found = summarise(load_config(None), scored, steps, "why")
    assert [line["left_out"] for line in found["rows"]] == [1, 0, 0]
    assert [line["training_notes"] for line in found["rows"]] == [[note], [], []]


def test_partial_scores_are_means_over_what_they_apply_to(tmp_path: Path) -> None:
    def answers(*scores: dict[str, float]) -> list[Prediction]:
        return [
            one.model_copy(update={"scores": s}) for one, s in zip(predictions(add=(0, 3)), scores, strict=True)
        ]

    before = answers({"recall": 0.0, "F1": 0.2}, {"recall": 0.5}, {"recall": 0.25})
    after = answers({"recall": 1.0, "F1": 0.8}, {"recall": 0.5}, {"recall": 0.75})
    store = Store(tmp_path)
    points: Any = [
        {**step(0, 0.0, 0), "predictions": store.save("val0.jsonl", before)},
        {**step(1, 0.0, 9), "predictions": store.save("val1.jsonl", after)},
    ]
    store.save("x", [])
    store.save("test/base.jsonl", before)
    store.save("test/best.jsonl", after)
    found = summarise(load_config(None), tmp_path, points, "why")
    assert [point["scores"]["recall"]["value"] for point in found["val"]] == [0.25, 0.75]
    test = found["test"]
    assert list(test["base"]["scores"]) == ["recall", "F1"]
    recall = test["best"]["scores"]["recall"]
    assert (recall["value"], recall["n"], test["best"]["scores"]["F1"]["n"]) == (0.75, 3, 1)
    assert recall["low"] < 0.75 < recall["high"]
    assert test["score_gains"]["recall"]["value"] == pytest.approx(0.5)
    assert test["score_gains"]["F1"]["value"] == pytest.approx(0.6)
    console = Console(width=80, record=True, file=StringIO())
    show(found | {"task": "t"}, tmp_path, console)
    assert re.search(r"recall +0\.25 .* 0\.75 .* \+0\.50 .* 3", console.export_text())


def test_a_damaged_score_file_is_refused(scored: Path) -> None:
    (scored / "test" / "best.jsonl").write_text("{}\n")
    with pytest.raises(RunFolderError, match=r"best\.jsonl, line 1"):
        summarise(load_config(None), scored, [step(0, 0.4, 0)], "")


def test_seconds_add_up_over_interrupted_runs(tmp_path: Path) -> None:
    run_dir = str(tmp_path)
    assert totals(tmp_path)["total"] == 0
    with measured(run_dir, "train", "a"):
        pass
    with pytest.raises(ZeroDivisionError), measured(run_dir, "teach", "b"):
        raise ZeroDivisionError
    lines = ['{"phase": "train", "node": "a", "seconds": 1.5}', '{"phase": "teach", "node": "b", "seconds": 2}']
    (tmp_path / "timings.jsonl").write_text("\n".join([*lines, '{"phase": "tr']))
    assert totals(tmp_path) == {"teach": 2.0, "train": 1.5, "evaluate": 0.0, "setup": 0.0, "total": 3.5}
