"""The manifest of a run: versions, platform, seed and commit."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
        "git_commit": _git_commit(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }


def _git_commit() -> str | None:
    """Find the commit of the checkout that the code runs from; None outside one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
