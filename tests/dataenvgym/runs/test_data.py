"""A run is of one data set: other data under the same config are refused wherever the run goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.graphs import resources
from dataenvgym.graphs.config import load_config
from dataenvgym.runs.extend import extend, extended
from dataenvgym.runs.fork import fork
from dataenvgym.runs.run import resume, run

Small = Callable[..., list[str]]
Cli = Callable[..., tuple[int, str, str]]


def data(path: Path, count: int = 30, other: str = "") -> Path:
    rows = [{"question": f"What is {i} + {i}{other}?", "answer": f"#### {2 * i}"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def settings(small: Small, tmp_path: Path) -> list[str]:
    """Of a run on a file, with skills that need no model."""
    file = data(tmp_path / "mine.jsonl")
    changes = {"task.name": "gsm8k", "task.path": file, "task.val_size": 4, "task.test_size": 4}
    return small(**changes, max_skills=2, structure="open_ended")[1::2]


@pytest.fixture
def ended(settings: list[str], tmp_path: Path) -> Path:
    """A finished run; what comes next is another process."""
    run(load_config(None, settings), tmp_path / "run")
    resources.close_all()
    return tmp_path / "run"


def manifest(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "manifest.json").read_text())
    return found


def forget(run_dir: Path) -> None:
    """Make it a run of a version that recorded no data."""
    old = {key: value for key, value in manifest(run_dir).items() if key != "data"}
    (run_dir / "manifest.json").write_text(json.dumps(old))


def test_the_manifest_has_the_fingerprint_of_each_split(ended: Path) -> None:
    found = manifest(ended)["data"]
    assert (found["hub"], found["revision"]) == (None, None)
    assert {split: one["count"] for split, one in found["splits"].items()} == {"train": 22, "val": 4, "test": 4}
    assert len({one["sha256"] for one in found["splits"].values()}) == 3


def test_other_data_are_refused_by_resume_extend_and_fork(ended: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in ended.rglob("*") if p.is_file()}
    data(tmp_path / "mine.jsonl", other=" now")
    more = "budget.iterations=3"
    says = (
        r"other data of task 'gsm8k'(.|\n)*train: 22 instances then and now, not the same\n"
        r"  val: 4 instances then and now, not the same; the first that differs: gsm8k/all/\d+\n"
        r"  test: 4 instances .* differs: gsm8k/all/\d+\nRestore .*mine\.jsonl as it was, or start a new run"
    )
    with pytest.raises(RunFolderError, match=says):
        extend(ended, [more])
    with pytest.raises(RunFolderError, match=says):
        fork(ended, 2, overrides=[more], out=tmp_path / "fork")
    assert not (tmp_path / "fork").exists()
    assert {p: p.read_bytes() for p in ended.rglob("*") if p.is_file()} == before
    assert resume(ended).summary is not None, "an ended run needs no data"


def test_a_begun_run_is_not_continued_on_other_data(cli: Cli, settings: list[str], tmp_path: Path) -> None:
    from dataenvgym.runs.folder import create

    begun = create(load_config(None, settings), tmp_path / "run")
    resources.close_all()
    data(tmp_path / "mine.jsonl", count=40)
    status, _, err = cli("resume", begun)
    assert status == 1 and "train: 22 instances then, 32 now" in err
    data(tmp_path / "mine.jsonl")
    resources.close_all()
    assert resume(begun).summary is not None


def test_restored_data_are_the_same(ended: Path, tmp_path: Path) -> None:
    data(tmp_path / "mine.jsonl")
    with extended(ended, ["budget.iterations=3"]):
        summary = resume(ended).summary
    assert summary is not None and summary["iterations"] == 3


def test_a_run_that_recorded_no_data_goes_on_with_a_note(ended: Path, tmp_path: Path) -> None:
    forget(ended)
    forked = fork(ended, 2, out=tmp_path / "fork")
    said: list[str] = []
    for run_dir in (ended, forked):
        with extended(run_dir, ["budget.iterations=3"]):
            resume(run_dir, on_event=lambda event: said.append(str(event.get("text"))))
    assert sum("were not recorded" in text for text in said) == 2


def test_data_of_the_hub_stay_those_of_the_commit_that_the_run_was_started_on(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    from huggingface_hub import HfApi, constants

    newest, asked = ["a" * 40], list[str]()

    class Found:
        def __init__(self, sha: str) -> None:
            self.sha = sha

    def load_dataset(name: str, config: str, revision: str) -> dict[str, list[dict[str, str]]]:
        asked.append(revision)
        rows = [{"question": f"{revision[0]} {n}?", "answer": f"#### {n}"} for n in range(24)]
        return {"train": rows[:20], "test": rows[20:]}

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, revision=newest[0], **__: Found(revision or newest[0]))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    out = tmp_path / "run"
    changes = {"task.name": "gsm8k", "structure": "open_ended", "max_skills": 2, "budget.iterations": 1}
    run(load_config(None, small(**changes)[1::2]), out)
    assert manifest(out)["data"]["hub"] == "openai/gsm8k"
    assert manifest(out)["data"]["revision"] == "a" * 40
    assert load_config(out / "config.yaml").task.revision == "a" * 40
    assert len(asked) == 1, "loaded once, though the config changed"
    resources.close_all()
    newest[0] = "b" * 40
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, revision=newest[0], **__: Found(revision))
    with extended(out, ["budget.iterations=2"]):
        summary = resume(out).summary
    assert summary is not None and summary["iterations"] == 2
    assert set(asked) == {"a" * 40}
