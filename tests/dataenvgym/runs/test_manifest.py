"""What a run was made with: versions, GPUs, and the commit of the project's own checkout or none."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataenvgym.machine.hardware import Gpu
from dataenvgym.runs import manifest
from dataenvgym.runs.manifest import project_commit, provenance


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *names, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path, project: str | None) -> Path:
    """A repository with a package in it; `project`: the name in its pyproject.toml. Returns the package's file."""
    source = folder / "dataenvgym" / "runs" / "manifest.py"
    source.parent.mkdir(parents=True)
    source.write_text("")
    if project is not None:
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return source


def test_the_commit_is_that_of_the_projects_own_checkout(tmp_path: Path) -> None:
    source = repository(tmp_path / "own", "dataenvgym")
    assert project_commit(source) == git(tmp_path / "own", "rev-parse", "HEAD")


@pytest.mark.parametrize("project", ["theirs", None])
def test_the_commit_of_another_repository_is_none(project: str | None, tmp_path: Path) -> None:
    assert project_commit(repository(tmp_path / "theirs", project)) is None


@pytest.mark.parametrize("content", ["[project", "project = 1", "", "\udcff"])
def test_a_project_file_that_says_nothing_names_no_commit(content: str, tmp_path: Path) -> None:
    source = repository(tmp_path / "theirs", "dataenvgym")
    (tmp_path / "theirs" / "pyproject.toml").write_text(content, errors="surrogateescape")
    assert project_commit(source) is None


def test_an_installed_package_inside_the_projects_checkout_is_not_the_checkout(tmp_path: Path) -> None:
    repository(tmp_path / "own", "dataenvgym")
    installed = tmp_path / "own" / ".venv" / "site-packages" / "dataenvgym" / "runs" / "manifest.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    assert project_commit(installed) is None
    assert project_commit(tmp_path / "manifest.py") is None


def test_what_decides_scores_and_rows_is_named_by_its_version() -> None:
    packages = provenance(0, "")["packages"]
    assert set(packages) >= {"math-verify", "reasoning-gym", "datasketch", "vllm", "torch"}
    assert packages["math-verify"] and packages["reasoning-gym"] and packages["datasketch"]


def test_the_gpus_are_named_where_torch_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu("NVIDIA H100", 80 * 2**30, 79 * 2**30, "580.1")
    monkeypatch.setattr(manifest, "gpus", lambda: ([gpu, gpu], "nvidia-smi"))
    seen: Any = SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: 1))
    monkeypatch.setitem(sys.modules, "torch", seen)
    monkeypatch.setattr(manifest, "torch_build", lambda: "CUDA 13.0")
    found = {"count": 1, "names": ["NVIDIA H100"], "driver": "580.1", "build": "CUDA 13.0"}
    assert provenance(0, "")["gpu"] == found
    seen.cuda.device_count = lambda: 0
    assert provenance(0, "")["gpu"] is None
    monkeypatch.setattr(manifest, "torch_build", lambda: "cpu")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert provenance(0, "")["gpu"] is None
