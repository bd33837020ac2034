"""Data of the hub by their commit: asked for, loaded, known afterwards. The hub's packages are fakes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.tasks import HubData, load_task, pinned
from dataenvgym.envs.tasks.hub import download_files, watched

NAME, OLD, NEW = "openai/gsm8k", "a" * 40, "b" * 40
COMMITS = {None: NEW, "main": NEW, "v1": OLD, OLD: OLD, NEW: NEW}


class Part(list[dict[str, str]]):
    """A split as `datasets` gives it, with the addresses that it was loaded from."""

    def __init__(self, name: str, commit: str, said: bool) -> None:
        super().__init__({"question": f"{commit[0]} {name} {i}?", "answer": f"#### {i}"} for i in range(6))
        addresses = {f"hf://datasets/{NAME}@{commit}/a.parquet": {}} if said else None
        self.info = SimpleNamespace(download_checksums=addresses)


class Hub:
    """What the hub's packages are asked for. `cached`: the one commit that a cache has, whatever is asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.cached: str | None = None
        self.said = True

    def dataset_info(self, _: object, name: str, revision: str | None = None, **more: object) -> Any:
        return SimpleNamespace(sha=COMMITS[revision])

    def load_dataset(self, name: str, config: str, revision: str | None = None) -> dict[str, Part]:
        self.asked.append(revision)
        commit = self.cached or COMMITS[revision]
        return {split: Part(split, commit, self.said) for split in ("train", "test")}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    import datasets
    from huggingface_hub import HfApi, constants

    fake = Hub()
    monkeypatch.setattr("dataenvgym.envs.tasks._ready", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *a, **k: fake.dataset_info(*a, **k))
    monkeypatch.setattr(datasets, "load_dataset", fake.load_dataset)
    return fake


@pytest.mark.parametrize(("revision", "commit"), COMMITS.items())
def test_a_revision_is_loaded_by_its_commit_which_is_known_afterwards(
    revision: str | None, commit: str, hub: Hub
) -> None:
    config = TaskConfig(name="gsm8k", revision=revision)
    task = load_task(config)
    assert hub.asked == [commit]
    assert task.hub == HubData(NAME, commit)
    assert task.test[0].question.startswith(commit[0])
    assert pinned(config, task).revision == commit


def test_without_a_connection_the_cache_says_what_it_has(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.cached = OLD
    assert load_task(TaskConfig(name="gsm8k")).hub == HubData(NAME, OLD)
    assert hub.asked == [None]
    with pytest.raises(DataError, match=rf"expected its commit {NEW}.*has {OLD}.*HF_HUB_OFFLINE"):
        load_task(TaskConfig(name="gsm8k", revision=NEW))
    hub.said = False
    config = TaskConfig(name="gsm8k")
    task = load_task(config)
    assert task.hub == HubData(NAME, None)
    assert pinned(config, task) == config
    assert load_task(TaskConfig(name="gsm8k", revision=NEW)).hub == HubData(NAME, None), "nobody says what it is"


def test_files_are_of_the_commit_in_their_path(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(name: str, file: str, repo_type: str, revision: str) -> str:
        return str(tmp_path / "snapshots" / revision / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with watched() as loads:
        (path,) = download_files("some/data", ["a.jsonl"], "v1")
    assert path.parent.name == OLD
    assert loads == [HubData("some/data", OLD)]


def test_a_revision_of_what_is_not_the_hubs_is_refused(tmp_path: Path) -> None:
    rows = [f'{{"question": "{n}?", "answer": "#### {n}"}}\n' for n in range(9)]
    (tmp_path / "a.jsonl").write_text("".join(rows))
    with pytest.raises(ConfigError, match=r"task\.revision: 'v1'.*read from task\.path"):
        load_task(TaskConfig(name="gsm8k", path=str(tmp_path / "a.jsonl"), revision="v1"))
    with pytest.raises(ConfigError, match=r"task\.revision: 'v1'.*does not come from there"):
        load_task(TaskConfig(name="arithmetic", revision="v1", val_size=1, test_size=1))
    assert load_task(TaskConfig(name="arithmetic", val_size=1, test_size=1)).hub is None
