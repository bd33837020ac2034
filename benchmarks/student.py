"""A student's speed: training against TRL's own defaults, generation, and what is lost between iterations.

    python benchmarks/student.py [--student smollm2] [--rows 32] [--prompts 64] [--batch-size 4] [--rounds 3]
    python benchmarks/student.py --toy       all of it in a size that a CPU does in a minute, to see that it runs

Prints a table and, as its last line, one JSON object. What is compared is measured in turn in this process, after
a warm-up, as many rounds as asked; shown are medians, and of the ratios in each round the median and the range.
Tokens are those of the rows, without padding. Run it on an idle machine.
benchmarks/gpu.py measures what needs a GPU. Generation by vLLM is
measured as well where DATAENVGYM_VLLM_PYTHON is the python of an environment with vLLM.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.students import make_student, weights
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Example


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="smollm2")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=4, help="rows per step")
    parser.add_argument("--rounds", type=int, default=3, help="how often the kinds of training are measured")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    if given.toy:
        given.student, given.rows, given.prompts, given.new_tokens = "tiny", 12, 8, 6
        given.rounds = 1

    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and not given.toy else None
    task = load_task(TaskConfig(name="arithmetic"))
    generation = GenerationConfig(batch_size=given.prompts, max_new_tokens=given.new_tokens)
    config = StudentConfig(name=given.student, device="cpu" if given.toy else "auto", generation=generation)
    student = make_student(config)
    assert isinstance(student, TransformersStudent)
    examples = [task.domain.example(row) for row in spread(task.train, given.rows)]
    prompts = [task.domain.prompt(item) for item in spread(task.val, given.prompts)]
    found = {
        "machine": {
            "gpu": gpu,
            "cpu": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "versions": {n: importlib.metadata.version(n) for n in ("torch", "transformers", "trl", "peft")},
        "student": given.student,
        "rows": len(examples),
        "prompts": len(prompts),
        "training": training(student, examples, TrainConfig(batch_size=given.batch_size), given.rounds),
        "training_mixed": training(
            student,
            mixed_rows(given.rows // 2, 40 if given.toy else 900),
            TrainConfig(batch_size=given.batch_size),
            given.rounds,
        ),
        "generation": generating(student, prompts, given.new_tokens),
        "between_iterations": between(student, examples[:8], prompts[:2]),
    }
    if vllm := by_vllm(config, prompts):
        found["generation"]["vllm"] = vllm
    student.close()
    show(found)
    print(json.dumps(found))


def spread(items, count):  # type: ignore[no-untyped-def]
    """So many of them, evenly spread."""
    return items[:: max(1, len(items) // count)][:count]


def training(student, examples, ours, rounds):  # type: ignore[no-untyped-def]
    """Tokens per second of our settings and of TRL's defaults, on the same rows with the same adapter."""

    def by_us(config):  # type: ignore[no-untyped-def]
        def speed(some):  # type: ignore[no-untyped-def]
            with tempfile.TemporaryDirectory() as out:
                summary = student.train(some, Path(out) / "adapter", config=config, seed=0)
            return summary.tokens / summary.seconds

        return speed

    ways = {
        "ours": by_us(ours),
        "ours, last half of the layers": by_us(ours.model_copy(update={"last_layers": layers(student) // 2})),
        "ours, backend trl": by_us(ours.model_copy(update={"backend": "trl"})),
        "TRL defaults": lambda some: trl_defaults(student, some, ours),
    }
    for way in ways.values():
        way(examples[: 2 * ours.batch_size])
    measured = [{name: way(examples) for name, way in ways.items()} for _ in range(rounds)]
    ratios = [one["ours"] / one["TRL defaults"] for one in measured]
    return {
        "tokens_per_second": {name: round(median(one[name] for one in measured), 2) for name in ways},
        "over_trl_defaults": round(median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "rounds": rounds,
    }


def layers(student):  # type: ignore[no-untyped-def]
    return student._merged().config.num_hidden_layers


def trl_defaults(student, examples, ours, exact=False):  # type: ignore[no-untyped-def]
    """Tokens per second of SFTTrainer as it comes, but for the adapter, the batch and the number format.

    `exact`: the adapter is in float32, as PEFT makes it where nothing is said, whatever the base is in.

    Its bf16=True, which a CPU without such instructions does many times slower, is left on where the student's
    own format is bfloat16.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    student.close()
    rows = [student._encode(e, ours.max_length or 1024) for e in examples]
    data = Dataset.from_dict(
        {
            "input_ids": [r.ids for r in rows],
            "completion_mask": [[0] * r.prompt + [1] * (len(r.ids) - r.prompt) for r in rows],
        }
    )
    model = weights.make_trainable(student._base(), ours, None, exact=exact)
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        trainer = SFTTrainer(
            model=model,
            processing_class=student._get_tokenizer(),
            train_dataset=data,
            args=SFTConfig(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=ours.batch_size,
                bf16=student.dtype == "bfloat16",
                completion_only_loss=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_strategy="no",
                use_cpu=model.device.type == "cpu",
            ),
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    return sum(len(r.ids) for r in rows) / seconds


def generating(student, prompts, new_tokens):  # type: ignore[no-untyped-def]
    """New tokens per second of ours and of model.generate: same batch, greedy, and how many texts agree."""
    student.load(None)
    student.predict(prompts[:2])
    began = time.perf_counter()
    ours = student.predict(prompts)
    our_seconds = time.perf_counter() - began
    model, tokenizer = student._base().eval(), student._get_tokenizer()  # as transformers loads it
    ids = [student.prompt_ids(p) for p in prompts]
    width = max(map(len, ids))
    import torch

    padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(i)) + i for i in ids], device=model.device)
    mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids], device=model.device)
    began = time.perf_counter()
    out = model.generate(input_ids=padded, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False)
    texts = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
    their_seconds = time.perf_counter() - began
    tokens = sum(len(student._get_form().completion_ids(text)) for text in ours)
    return {
        "tokens_per_second": {
            "ours": round(tokens / our_seconds, 2),
            "generate": round(tokens / their_seconds, 2),
        },
        "prompts_per_second": {
            "ours": round(len(prompts) / our_seconds, 3),
            "generate": round(len(prompts) / their_seconds, 3),
        },
        "over_generate": round(their_seconds / our_seconds, 3),
        "same_texts": sum(a == b.strip() for a, b in zip(ours, texts, strict=True)),
    }


def between(student, examples, prompts):  # type: ignore[no-untyped-def]
    """Seconds of an iteration that are neither training nor answering, by where the training runs.

    `before`: making the process, reading the base's weights and writing the student; `swap`: until the trained
    student can answer.
    """
    found = {}
    for name, process in (("in this process", False), ("in a process of its own", True)):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "student"
            began = time.perf_counter()
            summary = student.train(examples, out, config=TrainConfig(process=process), seed=0)
            before = time.perf_counter() - began - summary.seconds
            student.load(out)
            began = time.perf_counter()
            student._merged()
            swap = time.perf_counter() - began
            student.predict(prompts)
            student.load(None)
        found[name] = {"before": round(before, 3), "swap": round(swap, 3)}
    return found


def by_vllm(config, prompts):  # type: ignore[no-untyped-def]
    """Speed of vLLM's answers and the seconds until a new adapter gives its first; None where there is no vLLM."""
    python = os.environ.get("DATAENVGYM_VLLM_PYTHON")
    if not python:
        return None
    settings = {**config.model_dump(), "engine": "vllm", "vllm": {"python": python}}
    student = make_student(StudentConfig.model_validate(settings))
    try:
        student.predict(prompts[:2])
        began = time.perf_counter()
        texts = student.predict(prompts)
        seconds = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "student"
            few = [Example(prompt, "5") for prompt in prompts[:4]]
            student.train(few, out, config=TrainConfig(process=True), seed=0)
            began = time.perf_counter()
            student.load(out)
            student.predict(prompts[:1])
            swap = time.perf_counter() - began
        plain = make_student(config)
        tokens = sum(len(plain._get_form().completion_ids(text)) for text in texts)
    finally:
        student.close()
    return {"tokens_per_second": round(tokens / seconds, 2), "swap": round(swap, 3)}


def mixed_rows(count, longest):  # type: ignore[no-untyped-def]
    """Rows whose lengths in bytes, and so in tokens, are spread as those of real ones: most short, some long."""
    rng = random.Random(0)
    rows = []
    for number in range(count):
        size = min(longest, max(20, int(rng.lognormvariate(5.3, 0.7))))
        words = "".join(rng.choice("abcdefgh ") for _ in range(size))
        rows.append(Example(f"Row {number}. {words[: size // 2]}", words[size // 2 :]))
    return rows


def show(found):  # type: ignore[no-untyped-def]
    table = Table("what", "figure", "")

    def speeds(what, part):  # type: ignore[no-untyped-def]
        base = part["tokens_per_second"]["TRL defaults"]
        for name, speed in part["tokens_per_second"].items():
            table.add_row(f"{what}, {name}", f"{speed:,.1f} tokens/s", f"{speed / base:.2f} of TRL's defaults")
        low, high = part["range"]
        table.add_row("", "", f"rounds: {part['rounds']}, ours {low} to {high}")

    speeds("training", found["training"])
    speeds("training, rows of mixed lengths", found["training_mixed"])
    generation = found["generation"]
    for name, speed in generation["tokens_per_second"].items():
        table.add_row(
            f"generation, {name}", f"{speed:,.1f} tokens/s", f"{generation['same_texts']} texts the same"
        )
    if "vllm" in generation:
        vllm = generation["vllm"]
        table.add_row(
            "generation, vLLM", f"{vllm['tokens_per_second']:,.1f} tokens/s", f"{vllm['swap']} s to swap"
        )
    for name, lost in found["between_iterations"].items():
        table.add_row(
            f"between iterations, trained {name}", f"{lost['before']} s", f"and {lost['swap']} s to swap"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
