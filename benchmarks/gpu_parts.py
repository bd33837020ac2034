"""What benchmarks/gpu.py measures, each part a function from the setting to its figures."""

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from student import mixed_rows, trl_defaults

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TrainConfig
from dataenvgym.envs.students import lora_products, make_student, row_attention
from dataenvgym.envs.students.generate import greedy
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.types import Example

# The shape of Llama 3.2 1B, and of a third of it; and what a CPU can do.
SHAPES = {
    "billion": (128_256, 2048, 8192, 16, 32, 8),
    "third": (32_000, 1024, 4096, 18, 16, 8),
    "toy": (512, 64, 128, 2, 4, 2),
}


@dataclass
class Setting:
    """What all parts share. `rows`: of the speed; `tokens`: of a row of equal length."""

    folder: Path
    toy: bool
    rounds: int
    peak: float | None

    @property
    def device(self) -> str:
        return "cpu" if self.toy else "cuda"

    def size(self, count: int) -> int:
        return max(4, count // 40) if self.toy else count

    @property
    def row_tokens(self) -> int:
        return 60 if self.toy else 600

    def student(self, shape: str = "billion", new_tokens: int = 64, **settings: Any) -> TransformersStudent:
        model = make_llama(self.folder / shape, SHAPES["toy" if self.toy else shape])
        made = make_student(
            StudentConfig(
                name=str(model),
                device=self.device,
                generation=GenerationConfig(batch_size=256, max_new_tokens=self.size(new_tokens)),
                **{"dtype": "bfloat16", **settings},
            )
        )
        assert isinstance(made, TransformersStudent)
        return made

    def equal(self, count: int, size: int | None = None) -> list[Example]:
        """Rows of as many tokens each, template included, half of them learnt."""
        half = (size or self.row_tokens) // 2
        words = ("abcd efgh " * half)[: half - 16]
        return [Example(f"{number:05d} {words}", f"{words[::-1]} {number:05d}") for number in range(count)]

    def mixed(self, count: int) -> list[Example]:
        return mixed_rows(count, self.row_tokens * 3 // 2)


def config(**settings: Any) -> TrainConfig:
    few = {"batch_size": 16, "max_length": 1024, "lora_layers": "all", "learning_rate": 1e-4, "warmup_steps": 1}
    return TrainConfig.model_validate({**few, **settings})


def make_llama(folder: Path, shape: tuple[int, ...]) -> Path:
    """A Llama of that shape (vocabulary, hidden and inner size, layers, heads, key heads) with random weights in
    bfloat16, over bytes; made once."""
    if folder.is_dir():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from dataenvgym.envs.students.smollm import _byte_tokenizer

    names = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    tokenizer = _byte_tokenizer()
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    settings = LlamaConfig(
        **dict(zip(names, shape, strict=True)),
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        dtype="bfloat16",
        **ends,
    )
    with quiet_transformers(), torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(settings).to(torch.bfloat16)
    with quiet_transformers():
        model.cpu().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def release() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ceilings(setting: Setting) -> dict[str, Any]:
    """What this GPU reaches: a product of 8,192 by 8,192 in bfloat16 and a copy in its own memory."""
    import torch

    def seconds(work: Callable[[], Any], repeats: int = 20) -> float:
        for _ in range(3):
            work()
        wait()
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        wait()
        return (time.perf_counter() - began) / repeats

    def wait() -> None:
        if not setting.toy:
            torch.cuda.synchronize()

    size = 64 if setting.toy else 8192
    a, b = (torch.randn(size, size, device=setting.device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(size * size * 8, device=setting.device)
    target = torch.empty_like(source)
    return {
        "matmul_tflops": round(2 * size**3 / seconds(lambda: a @ b) / 1e12, 3),
        "copy_gb_per_second": round(2 * source.nbytes / seconds(lambda: target.copy_(source)) / 1e9, 1),
    }


def flops(student: TransformersStudent, rows: list[Example], adapter: str = "lora") -> float:
    """What training on these rows once needs."""
    import torch

    encoded = [row for row in (student._encode(e, 1024) for e in rows) if row is not None]
    tokens = sum(len(row.ids) for row in encoded)
    learnt = sum(len(row.ids) - row.prompt for row in encoded)
    model = student._base()
    layers = [m.weight for m in model.get_decoder().modules() if isinstance(m, torch.nn.Linear)]
    weights = sum(weight.numel() for weight in layers)
    adapters = sum(config().lora_rank * sum(weight.shape) for weight in layers) if adapter == "lora" else 0
    head = model.get_output_embeddings().weight.numel()
    width = model.config.num_attention_heads * model.config.head_dim * model.config.num_hidden_layers
    attention = 6 * width * sum(len(row.ids) ** 2 for row in encoded)  # two products, half masked, three passes
    each = 4 if adapter == "lora" else 6
    return each * (weights * tokens + head * learnt) + 6 * adapters * tokens + attention


def train(student: TransformersStudent, rows: list[Example], ours: TrainConfig, out: Path | None = None) -> Any:
    """The summary of a training in this process, whose student is dropped unless `out` is to keep it."""
    with tempfile.TemporaryDirectory() as folder:
        summary = student.train(rows, out or Path(folder) / "student", config=ours, seed=0)
    if out is None:
        student.close()
    return summary


@contextlib.contextmanager
def without(*parts: str) -> Iterator[None]:
    """The own loop without one of what it does on a GPU: `row attention`, `fused products`."""
    with contextlib.ExitStack() as stack:
        if "row attention" in parts:
            stack.enter_context(mock.patch.object(row_attention, "install", lambda *given: False))
        if "fused products" in parts:
            stack.enter_context(mock.patch.object(lora_products, "fuse", lambda *given: 0))
        yield


def speed(setting: Setting) -> dict[str, Any]:
    """Training by ours and by TRL's defaults, LoRA of rank 16 on all linear layers, 16 rows a step."""
    student = setting.student()
    found = {}
    for kind, rows in (("equal", setting.equal(setting.size(320))), ("mixed", setting.mixed(setting.size(480)))):
        ours, theirs = by_us(student), by_trl(student)
        ours(rows[:32]), theirs(rows[:32])  # warm
        rounds = [{"ours": ours(rows), "TRL defaults": theirs(rows)} for _ in range(setting.rounds)]
        ratios = [one["ours"]["rate"] / one["TRL defaults"]["rate"] for one in rounds]
        ways = {name: sorted((one[name] for one in rounds), key=lambda way: way["rate"]) for name in rounds[0]}
        found[kind] = {
            **figures(setting, student, rows, {name: each[len(each) // 2] for name, each in ways.items()}),
            "rounds": setting.rounds,
            "over_trl_defaults": round(median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
        }
    return found


def ways(setting: Setting) -> dict[str, Any]:
    """Rows of equal length again, once each: the other settings, and ours without one of its parts."""
    student, rows = setting.student(), setting.equal(setting.size(320))
    measured = {
        "ours, gradient checkpointing": by_us(student, gradient_checkpointing=True),
        "ours, backend trl": by_us(student, backend="trl"),
        "ours without row attention": by_us(student, "row attention"),
        "ours without fused products": by_us(student, "fused products"),
        "ours without Liger": by_us(student, liger="off"),
        "ours without all three": by_us(student, "row attention", "fused products", liger="off"),
    }
    return figures(setting, student, rows, {name: way(rows) for name, way in measured.items()})


def by_us(student: TransformersStudent, *off: str, **settings: Any) -> Callable[[list[Example]], dict[str, float]]:
    def measure(rows: list[Example]) -> dict[str, float]:
        with without(*off):
            summary = train(student, rows, config(**settings))
        return say({"rate": summary.tokens / summary.seconds, "peak": summary.peak_memory_mb})

    return measure


def by_trl(student: TransformersStudent) -> Callable[[list[Example]], dict[str, float]]:
    def measure(rows: list[Example]) -> dict[str, float]:
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        rate = float(trl_defaults(student, rows, config(), exact=True))
        return say({"rate": rate, "peak": torch.cuda.max_memory_allocated() / 1e6})

    return measure


def say(measured: dict[str, float]) -> dict[str, float]:
    print({name: round(value, 1) for name, value in measured.items()}, file=sys.stderr, flush=True)
    return measured


def figures(
    setting: Setting, student: TransformersStudent, rows: list[Example], ways: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Speed, utilisation and peak memory of each way to train on the rows."""
    needed = flops(student, rows)
    tokens = sum(len(row.ids) for row in (student._encode(e, 1024) for e in rows) if row is not None)
    return {
        "rows": len(rows),
        "tokens": tokens,
        "tokens_per_second": {name: round(way["rate"], 1) for name, way in ways.items()},
        "model_flop_utilisation": {
            name: utilisation(setting, needed * way["rate"] / tokens) for name, way in ways.items()
        },
        "peak_memory_mb": {name: round(way["peak"], 1) for name, way in ways.items()},
    }


def utilisation(setting: Setting, flops_per_second: float) -> float | None:
    return None if setting.peak is None else round(flops_per_second / (setting.peak * 1e12), 6)


def iteration(setting: Setting) -> dict[str, Any]:
    """A whole iteration: read the base, train on 1,000 rows of 600 tokens, answer 500 prompts of 64 new tokens."""
    student = setting.student()
    rows, out = setting.equal(setting.size(1000)), setting.folder / "trained"
    began = time.perf_counter()
    summary = train(student, rows, config(), out)
    trained = time.perf_counter()
    student.load(out)
    answers = student.predict([row.prompt for row in rows[: setting.size(500)]])
    answered = time.perf_counter()
    student.close()
    return {
        "rows": summary.rows,
        "prompts": len(answers),
        "seconds": round(answered - began, 2),
        "reading_and_writing": round(trained - began - summary.seconds, 2),
        "training": round(summary.seconds, 2),
        "answering": round(answered - trained, 2),
        "peak_memory_mb": summary.peak_memory_mb,
    }


def full(setting: Setting) -> dict[str, Any]:
    """Full training of 0.3 billion weights, in float32 computed with in bfloat16."""
    student = setting.student("third")
    rows = setting.equal(setting.size(320))
    ours = config(adapter="full", learning_rate=1e-5)
    train(student, rows[:32], ours)
    summary = train(student, rows, ours)
    rate = summary.tokens / summary.seconds
    return {
        "tokens_per_second": round(rate, 1),
        "model_flop_utilisation": utilisation(setting, flops(student, rows, "full") * rate / summary.tokens),
        "peak_memory_mb": summary.peak_memory_mb,
    }


def dpo(setting: Setting) -> dict[str, Any]:
    """Preference training, 50 steps of 8 pairs of mixed lengths."""
    student = setting.student()
    count = 8 * (3 if setting.toy else 50)
    rows = [
        Example(row.prompt, row.completion, rejected=row.completion[::-1] + "?") for row in setting.mixed(count)
    ]
    summary = train(student, rows, config(method="dpo", batch_size=8))
    return {
        "steps": summary.steps,
        "seconds": round(summary.seconds, 2),
        "tokens_per_second": round(summary.tokens / summary.seconds, 1),
        "losses": [summary.losses[0], summary.losses[-1]],
        "peak_memory_mb": summary.peak_memory_mb,
    }


def answers(setting: Setting) -> dict[str, Any]:
    """Answers of 64 tokens to 256 prompts of mixed lengths, ours and transformers' `generate`, in one batch."""
    import torch

    student = setting.student()
    count, new = setting.size(256), setting.size(64)
    model, tokenizer = student._merged(), student._get_tokenizer()
    ids = [student.prompt_ids(row.prompt) for row in setting.mixed(count)]
    width = max(map(len, ids))
    padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(i)) + i for i in ids], device=model.device)
    mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids], device=model.device)

    def ours() -> Any:
        return greedy_texts(student, ids, new, count)

    def theirs() -> Any:
        options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": tokenizer.pad_token_id}
        return model.generate(input_ids=padded, attention_mask=mask, **options)[:, width:].tolist()

    exact = setting.student("third", dtype="float32")
    alone = [greedy_texts(exact, ids[: setting.size(16)], new, size) for size in (count, 1)]
    exact.close()
    ours(), theirs()  # warm
    measured: dict[str, list[float]] = {"ours": [], "generate": []}
    for _ in range(setting.rounds):
        for name, way in (("ours", ours), ("generate", theirs)):
            began = time.perf_counter()
            texts = way()
            measured[name].append(time.perf_counter() - began)
            if name == "ours":
                mine = texts
    seconds = {name: median(each) for name, each in measured.items()}
    return {
        "prompts": count,
        "new_tokens": new,
        "answers_per_second": {name: round(count / each, 2) for name, each in seconds.items()},
        "tokens_per_second": {name: round(sum(map(len, mine)) / each, 1) for name, each in seconds.items()},
        "over_generate": round(seconds["generate"] / seconds["ours"], 3),
        "same_alone_as_in_a_batch_in_float32": sum(a == b for a, b in zip(*alone, strict=True)),
        "of": len(alone[0]),
    }


def greedy_texts(student: TransformersStudent, ids: list[list[int]], new: int, batch: int) -> list[list[int]]:
    """The token ids of the base's answers."""
    tokenizer = student._get_tokenizer()
    return greedy(
        student._merged(),
        ids,
        max_new_tokens=new,
        end_tokens=frozenset([tokenizer.eos_token_id]),
        pad_token=tokenizer.pad_token_id,
        batch_size=batch,
    )


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
