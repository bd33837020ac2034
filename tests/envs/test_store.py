"""Files of a run: whole or not at all, and refused when they are not what was written."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dataenvgym.envs.cache import cache_dir, made_once
from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.store import Store, read_jsonl, write_bytes, write_json


class Item(BaseModel):
    text: str
    number: int = 0


@given(st.lists(st.builds(Item, text=st.text(st.characters(codec="utf-8")), number=st.integers(-5, 5))))
def test_what_is_saved_is_read_back(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> None:
    store = Store(tmp_path_factory.mktemp("run"))
    ref = store.save("iterations/001/items.jsonl", items)
    assert ref["count"] == len(items) and not Path(ref["path"]).is_absolute()
    assert store.read(ref, Item) == items
    assert read_jsonl(store.path(ref["path"]), Item) == items


def test_a_run_can_be_moved(tmp_path: Path) -> None:
    ref = Store(tmp_path / "a").save("items.jsonl", [Item(text="x")])
    (tmp_path / "a").rename(tmp_path / "b")
    assert Store(tmp_path / "b").read(ref, Item) == [Item(text="x")]


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ref = store.save("items.jsonl", [Item(text="x"), Item(text="y")])
    store.path("items.jsonl").write_text('{"text":"x","number":0}\n')
    with pytest.raises(RunFolderError, match=r"items\.jsonl.*changed or damaged"):
        store.read(ref, Item)
    store.path("items.jsonl").unlink()
    with pytest.raises(RunFolderError, match=r"items\.jsonl: cannot be read"):
        store.read(ref, Item)
    with pytest.raises(RunFolderError, match=r"items\.jsonl: cannot be read"):
        read_jsonl(store.path("items.jsonl"), Item)


def test_a_line_of_another_schema_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"text":"x"}\n{"number":1}\n')
    with pytest.raises(RunFolderError, match=r"items\.jsonl, line 2: not a valid Item"):
        read_jsonl(path, Item)


@pytest.mark.parametrize("fault", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*(os, "fsync", fail) if fault == "fsync" else (Path, "replace", fail))
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"x" * 100)
    monkeypatch.undo()
    assert path.read_bytes() == before
    write_bytes(path, b"new")  # what the failure left behind is in nobody's way
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_an_item_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ref = store.save("items.jsonl", [Item(text="x")])

    def items() -> object:
        yield Item(text="y")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        store.save("items.jsonl", items())  # type: ignore[arg-type]
    assert store.read(ref, Item) == [Item(text="x")]


def test_iteration_files_sort_by_iteration() -> None:
    assert Store.iteration(7, "plan.jsonl") == "iterations/007/plan.jsonl"


def test_the_cache_folder_follows_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("DATAENVGYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "dataenvgym"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "dataenvgym"


def test_a_cached_folder_is_made_once_and_never_in_part(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "one"
    made: list[Path] = []

    def half(out: Path) -> None:
        (out / "a").write_text("half")
        raise KeyboardInterrupt

    def whole(out: Path) -> None:
        made.append(out)
        assert not list(out.iterdir())  # nothing of the killed maker
        (out / "b").write_text("whole")

    with pytest.raises(KeyboardInterrupt):
        made_once(folder, half)
    assert not folder.exists()
    assert made_once(folder, whole) == made_once(folder, whole) == folder
    assert len(made) == 1 and [p.name for p in folder.iterdir()] == ["b"]
