"""The parts of benchmarks/gpu.py that measure speed: each a function from the setting to its figures."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from unittest import mock

from gpu_setting import Setting, config, flops, train, utilisation
from student import trl_defaults

from dataenvgym.envs.students import lora_products, row_attention
from dataenvgym.envs.students.generate import greedy
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.types import Example


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
