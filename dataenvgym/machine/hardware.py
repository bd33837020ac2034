"""The hardware of this machine: processor, memory, disk, GPUs; found without torch where possible."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# Instructions that make bfloat16 fast on a CPU, by their Linux names.
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


class Cpu(NamedTuple):
    """A processor. `cores`: usable by this process. `bf16`: whether it has such instructions; None: unknown."""

    name: str
    cores: int
    bf16: bool | None


class Gpu(NamedTuple):
    """A GPU. `memory`, `free`: bytes."""

    name: str
    memory: int
    free: int
    driver: str


def cpu() -> Cpu:
    """Describe the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return Cpu(platform.processor() or platform.machine(), os.cpu_count() or 1, None)
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    bf16 = any(flag in flags[1].split() for flag in BF16_FLAGS) if flags else None
    return Cpu(name[1] if name else platform.machine(), len(os.sched_getaffinity(0)), bf16)


def memory() -> tuple[int, int]:
    """Return (total bytes, available bytes) within the limit of a container; (0, 0) where unknown."""
    try:
        text = Path("/proc/meminfo").read_text()
        total, free = (int(re.findall(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024 for key in _MEMINFO)
    except (OSError, IndexError):
        try:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError):
            return 0, 0
        free = total
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        return min(total, limit), min(free, max(0, limit - used))
    except (OSError, ValueError):  # no limit: the file says "max"
        return total, free


_MEMINFO = ("MemTotal", "MemAvailable")


def disk(folder: Path) -> int:
    """Return the free bytes where the folder is, or would be created."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def writable(folder: Path) -> bool:
    """Tell whether the folder, or files in it, can be created."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK)


def gpus() -> tuple[list[Gpu], str]:
    """List the GPUs and the source: `nvidia-smi`, `torch` or, without either, a reason in words."""
    program = shutil.which("nvidia-smi")
    if program is not None:
        query = "--query-gpu=name,memory.total,memory.free,driver_version"
        output = run([program, query, "--format=csv,noheader,nounits"])
        found = [gpu for line in (output or "").splitlines() if (gpu := _gpu(line)) is not None]
        if found:
            return found, "nvidia-smi"
    if not torch_build() or torch_build() == "cpu":
        return [], "no nvidia-smi" if program is None else "nvidia-smi finds none"
    import torch  # slow, so only if there may be a GPU that nvidia-smi does not know

    if not torch.cuda.is_available():
        return [], "torch finds none"
    devices = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        devices.append(Gpu(torch.cuda.get_device_name(number), total, free, torch_build()))
    return devices, "torch"


def _gpu(line: str) -> Gpu | None:
    parts = [part.strip() for part in line.split(",")]
    try:
        return Gpu(parts[0], int(parts[1]) * 2**20, int(parts[2]) * 2**20, parts[3])
    except (IndexError, ValueError):  # e.g. [N/A] for a device without memory of its own
        return None


def torch_build() -> str:
    """Return the target of the installed torch: `cpu`, `CUDA 13.0`, `ROCm 7.0`; empty: not installed."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return ""
    for key, name in (("cuda", "CUDA"), ("hip", "ROCm")):
        value = re.search(rf"^{key}\b[^=\n]*=\s*(.+)$", text, re.MULTILINE)
        try:
            given = ast.literal_eval(value[1]) if value else None
        except (ValueError, SyntaxError):
            given = None
        if given:
            return f"{name} {given}"
    return "cpu"


def run(command: list[str], seconds: float = 10) -> str | None:
    """Run a program and return its output; None when it fails, hangs or is missing."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
