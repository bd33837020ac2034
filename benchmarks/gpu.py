"""A student of a billion weights on one GPU: training, answers, memory, and the correctness that only a GPU shows.

    python benchmarks/gpu.py [--seconds 540] [--only speed,answers] [--rounds 3] [--peak TFLOPS]
    python benchmarks/gpu.py --profile      where the time of a training step goes, instead
    python benchmarks/gpu.py --toy          all of it in a size that a CPU does in minutes, to see that it runs

Needs torch for the GPU, transformers, PEFT, TRL and this package; no network, no weights: the models are Llamas of
random weights over bytes, which cost what real ones do. A part that does not fit into the seconds is left out
and named. What is compared is measured in turn in this process after a warm-up; shown are medians, and
of the ratios in each round the median and the range. Tokens are those of the rows, without padding.
Prints a table and, as its last line, one JSON object. Run it on an idle GPU.

Model FLOP utilisation counts what the training needs and no more, against the dense bfloat16 rate of the data
sheet: 4 flops a token and frozen weight (forward, gradients of the activations), 6 a trained weight; the output
head at the learnt tokens alone; causal attention within each row; not what checkpointing computes again.
"""

import argparse
import contextlib
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_checks import losses, memory, profile, visible
from gpu_setting import Setting, release
from gpu_speed import answers, ceilings, dpo, full, iteration, speed, ways
from rich.console import Console
from rich.table import Table

# Dense bfloat16, without sparsity, from the makers' data sheets: teraflops by a part of the GPU's name.
PEAKS = {"H200": 989, "H100": 989, "H800": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165, "A10": 125}

PARTS: dict[str, tuple[Callable[[Setting], dict[str, Any]], int]] = {
    "ceilings": (ceilings, 5),
    "speed": (speed, 125),
    "dpo": (dpo, 30),
    "ways": (ways, 50),
    "iteration": (iteration, 20),
    "losses": (losses, 45),
    "memory": (memory, 10),
    "full": (full, 15),
    "visible": (visible, 15),
    "answers": (answers, 45),
}
"""Each part, and about how many seconds it needs on an H100, the first one's start not counted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by name: " + ", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=float, help="the GPU's dense bfloat16 teraflops, if its name does not tell")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    began = time.perf_counter()

    import torch

    if not given.toy and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --toy runs all of it in a small size on the CPU")
    gpu = None if given.toy else torch.cuda.get_device_name()
    peak = given.peak or next((float(p) for part, p in PEAKS.items() if part in (gpu or "")), None)
    found: dict[str, Any] = {"machine": {"gpu": gpu, "peak_tflops": peak}, "versions": versions()}
    names = given.only.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"unknown part {sorted(unknown)[0]!r}; there are: {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), given.toy, 1 if given.toy else given.rounds, 1.0 if given.toy else peak)
        if given.profile:
            print(profile(setting))
            return
        for name in names:
            spent = time.perf_counter() - began
            part, needs = PARTS[name]
            if not given.toy and spent + needs > given.seconds:
                found[name] = {"left_out": f"{spent:.0f} s were gone and it takes about {needs}"}
                continue
            try:
                found[name] = part(setting)
            except Exception as error:  # the other parts' figures are worth having
                found[name] = {"error": f"{type(error).__name__}: {error}"[:2000]}
            took = time.perf_counter() - began - spent
            print(f"{name}: {took:.1f} s  {json.dumps(found[name])}", file=sys.stderr, flush=True)
            release()
    found["seconds"] = round(time.perf_counter() - began, 1)
    show(found)
    print(json.dumps(found))


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "accelerate", "liger-kernel", "flash-attn")
    there = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            there[name] = importlib.metadata.version(name)
    return there


def show(found: dict[str, Any]) -> None:
    table = Table("what", "figure", "")
    parts = {**found.get("speed", {}), "equal, once": found.get("ways", {})}
    base = parts.get("equal", {}).get("tokens_per_second", {}).get("TRL defaults")
    for kind, part in parts.items():
        if not isinstance(part, dict) or "tokens_per_second" not in part:
            continue
        base = part["tokens_per_second"].get("TRL defaults", base)
        for name, rate in part["tokens_per_second"].items():
            over = "" if base is None else f"{rate / base:.2f} of TRL's defaults, "
            notes = f"{over}utilisation {part['model_flop_utilisation'][name]}, {part['peak_memory_mb'][name]} MB"
            table.add_row(f"training, rows of lengths {kind}: {name}", f"{rate:,.0f} tokens/s", notes)
        if "range" in part:
            low, high = part["range"]
            table.add_row("", "", f"{part['rounds']} rounds, ours {low} to {high} of TRL's defaults")
    for name, part in found.items():
        if name not in ("speed", "ways", "machine", "versions", "seconds"):
            for what, value in part.items():
                table.add_row(f"{name}, {what.replace('_', ' ')}", str(value), "")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
