"""Data are known by their content: the same wherever they lie, others for any change that makes another item."""

import json
import shutil
from pathlib import Path

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.tasks.fingerprint import fingerprint


def rows(count: int = 20) -> list[dict[str, str]]:
    return [{"question": f"How many are {i} and {i}?", "answer": f"{i} + {i}\n#### {2 * i}"} for i in range(count)]


def write(path: Path, content: list[dict[str, str]]) -> TaskConfig:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return TaskConfig(name="gsm8k", path=str(path))


def test_the_same_data_have_the_same_fingerprint_elsewhere(tmp_path: Path) -> None:
    config = write(tmp_path / "a.jsonl", rows())
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    found = fingerprint(load_task(config))
    assert {split: one["count"] for split, one in found.items()} == {"train": 8, "val": 8, "test": 4}
    assert fingerprint(load_task(config.model_copy(update={"path": str(tmp_path / "b.jsonl")}))) == found


@pytest.mark.parametrize("column", ["question", "answer"])
def test_one_changed_item_changes_the_fingerprint_of_its_split_alone(column: str, tmp_path: Path) -> None:
    task = load_task(write(tmp_path / "a.jsonl", rows()))
    before = fingerprint(task)
    content = rows()
    at = int(task.val[0].id.rsplit("/", 1)[1])
    content[at][column] += " of them"
    after = fingerprint(load_task(write(tmp_path / "a.jsonl", content)))
    assert [split for split in before if before[split] != after[split]] == ["val"]


def test_another_order_is_another_data_set(tmp_path: Path) -> None:
    before = fingerprint(load_task(write(tmp_path / "a.jsonl", rows())))
    assert fingerprint(load_task(write(tmp_path / "a.jsonl", rows()[::-1]))) != before


@pytest.mark.parametrize("name", ["arithmetic", "functions"])
def test_procedural_items_of_two_seeds_share_no_id(name: str) -> None:
    tasks = [load_task(TaskConfig(name=name, seed=seed, val_size=2, test_size=2)) for seed in (0, 3)]
    ids = [{item.id for item in (*task.train, *task.val, *task.test)} for task in tasks]
    assert not ids[0] & ids[1]
    assert all("-s3/" in one for one in ids[1])
    prints = [fingerprint(task) for task in tasks]
    assert all(prints[0][split] != prints[1][split] for split in prints[0])
