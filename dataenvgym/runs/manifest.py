"""The manifest of a run: versions, platform, GPUs, seed and commit."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataenvgym.machine.hardware import gpus, run, torch_build

MANIFEST = "manifest.json"
PACKAGES = (
    "dataenvgym",
    "torch",
    "transformers",
    "peft",
    "trl",
    "langgraph",
    "langchain",
    "openai",
    "datasets",
    "math-verify",
    "reasoning-gym",
    "datasketch",
    "vllm",
)


def provenance(seed: int, text: str) -> dict[str, Any]:
    """Collect the manifest's entries for a run that starts now; `text`: its config.yaml."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": seed,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "git_commit": project_commit(Path(__file__)),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpu": _gpu(),
        "packages": versions,
    }


def project_commit(source: Path) -> str | None:
    """Find the commit of the project's own checkout that `source`, one of its files, belongs to.

    None where there is none: an installed package may lie in the repository of somebody else's project, beside a
    `.venv`, whose commit says nothing about this code. That repository is not the project's, or does not track it.
    """
    folder = source.resolve().parent
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or _git(folder, "ls-files", "--error-unmatch", source.name) is None:
        return None
    try:
        project = tomllib.loads((Path(top) / "pyproject.toml").read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError):
        return None
    named = project.get("name") if isinstance(project, dict) else None
    return _git(folder, "rev-parse", "HEAD") if named == "dataenvgym" else None


def _git(folder: Path, *words: str) -> str | None:
    found = run(["git", "-C", str(folder), *words], seconds=5)
    return None if found is None else found.strip() or None


def _gpu() -> dict[str, Any] | None:
    """The GPUs that torch sees: how many, their names, the driver, and what torch is built for; None without one.

    The count does not open a GPU, which would take memory from a server that shares it.
    """
    build = torch_build()
    if build in ("", "cpu"):
        return None
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        return None
    found, source = gpus()
    return {
        "count": count,
        "names": sorted({gpu.name for gpu in found}),
        "driver": found[0].driver if found and source == "nvidia-smi" else None,
        "build": build,
    }
