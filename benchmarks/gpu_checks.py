"""The parts of benchmarks/gpu.py that check what only a GPU shows, and the profile of a training step."""

import json
import os
import subprocess
import sys
from typing import Any

from gpu_setting import SHAPES, Setting, config, make_llama, release, train


def losses(setting: Setting) -> dict[str, Any]:
    """The losses of own loop and TRL over 30 steps of the same 16 rows, in bfloat16, beside the noise of bfloat16.

    The noise: how far each is from the own loop in float32, and from itself with the rows summed up in fours.
    """
    rows = setting.mixed(16)
    steps = 6 if setting.toy else 30
    ours = config(epochs=steps, learning_rate=1e-3, warmup_steps=0)
    student, exact = setting.student("third"), setting.student("third", dtype="float32")
    curves = {
        "loop": train(student, rows, ours).losses,
        "trl": train(student, rows, ours.model_copy(update={"backend": "trl"})).losses,
        "loop, in fours": train(student, rows, ours.model_copy(update={"micro_batch": 4})).losses,
        "loop, float32": train(exact, rows, ours).losses,
    }

    def apart(one: str, two: str) -> dict[str, float]:
        gaps = [abs(a - b) for a, b in zip(curves[one], curves[two], strict=True)]
        return {"mean": round(sum(gaps) / len(gaps), 5), "max": round(max(gaps), 5)}

    return {
        "steps": len(curves["loop"]),
        "first_and_last": {name: [curve[0], curve[-1]] for name, curve in curves.items()},
        "loop_and_trl": apart("loop", "trl"),
        "loop_and_float32": apart("loop", "loop, float32"),
        "trl_and_float32": apart("trl", "loop, float32"),
        "loop_and_itself_in_fours": apart("loop", "loop, in fours"),
    }


def memory(setting: Setting) -> dict[str, Any]:
    """Memory that runs out halves what is computed at once, and `close` gives all of it back."""
    if setting.toy:
        return {"left_out": "needs a GPU"}
    import torch

    student, rows = setting.student("third"), setting.equal(64)
    release()
    torch._C._cuda_clearCublasWorkspaces()
    empty = torch.cuda.memory_allocated()
    some, whole = (train(student, rows, config(micro_batch=m)).peak_memory_mb for m in (4, 16))
    total = torch.cuda.get_device_properties(0).total_memory / 1e6
    release()
    torch.cuda.set_per_process_memory_fraction((some + 0.35 * (whole - some)) / total)
    try:
        summary = train(student, rows, config())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch._C._cuda_clearCublasWorkspaces()  # the matrix library's own, which it keeps for the next product
    release()
    return {
        "peak_mb_with_16_and_4_rows_at_once": [whole, some],
        "rows_at_once_when_it_ran_out": summary.micro_batch,
        "steps": summary.steps,
        "notes": summary.notes,
        "allocated_mb_before_and_after": [round(empty / 1e6, 1), round(torch.cuda.memory_allocated() / 1e6, 1)],
        "reserved_mb_after": round(torch.cuda.memory_reserved() / 1e6, 1),
    }


VISIBLE = """
import sys, json
from dataenvgym.envs.config import StudentConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.students import make_student
found = {"auto": make_student(StudentConfig(name=sys.argv[1])).device}
try:
    found["cuda"] = make_student(StudentConfig(name=sys.argv[1], device="cuda")).device
except ConfigError as error:
    found["cuda"] = str(error)
print(json.dumps(found))
"""


def visible(setting: Setting) -> dict[str, Any]:
    """The device a student takes, by what CUDA_VISIBLE_DEVICES lets it see."""
    model = make_llama(setting.folder / "toy", SHAPES["toy"])
    running = {
        value: subprocess.Popen(
            [sys.executable, "-c", VISIBLE, str(model)],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": value},
            stdout=subprocess.PIPE,
            text=True,
            cwd=setting.folder,  # python -c imports from where it is started, and a checkout is not the package
        )
        for value in ("", "0")
    }
    ended = {value: process.communicate(timeout=240)[0] for value, process in running.items()}
    return {f"CUDA_VISIBLE_DEVICES={value}": json.loads(out.splitlines()[-1]) for value, out in ended.items()}


def profile(setting: Setting) -> str:
    """The kernels of some steps of the own loop, the costliest first."""
    import torch
    from torch.profiler import ProfilerActivity

    student, rows = setting.student(), setting.equal(setting.size(160))
    train(student, rows[:32], config())
    kinds = [ProfilerActivity.CPU, *([] if setting.toy else [ProfilerActivity.CUDA])]
    with torch.profiler.profile(activities=kinds) as seen:
        train(student, rows, config())
    by = "self_cpu_time_total" if setting.toy else "self_device_time_total"
    return str(seen.key_averages().table(sort_by=by, row_limit=45, max_name_column_width=90))
