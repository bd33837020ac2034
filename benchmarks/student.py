"""A student's speed: training against TRL's own defaults, generation, and what is lost between iterations.

    python benchmarks/student.py [--student smollm2] [--rows 32] [--prompts 64] [--batch-size 4] [--rounds 3]
    python benchmarks/student.py --big       a Llama of a billion random weights too; on a GPU that is the default
    python benchmarks/student.py --toy       all of it in a size that a CPU does in a minute, to see that it runs

Prints a table and, as its last line, one JSON object. What is compared is measured in turn in this process, after
a warm-up, as many rounds as asked; shown are medians, and of the ratios in each round the median and the range.
Tokens are those of the rows, without padding. Run it on an idle machine. Generation by vLLM is
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
from dataenvgym.envs.students import make_student
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Example

# Dense bfloat16, without sparsity, from the makers' data sheets: teraflops by a part of the GPU's name.
PEAKS = {"H200": 989, "H100": 989, "H800": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165, "A10": 125}
# Llama 3.2 1B's shape; the weights are random, which costs the same.
BIG = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
TOY = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="smollm2")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=4, help="rows per step")
    parser.add_argument("--rounds", type=int, default=3, help="how often the kinds of training are measured")
    parser.add_argument("--big", action="store_true", help="the billion-weight model also without a GPU")
    parser.add_argument("--big-rows", type=int, default=1000)
    parser.add_argument("--big-batch-size", type=int, default=16)
    parser.add_argument("--peak", type=float, help="the GPU's dense bfloat16 teraflops, if its name does not tell")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    if given.toy:
        given.student, given.rows, given.prompts, given.new_tokens, given.big_rows = "tiny", 12, 8, 6, 24
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
    if gpu or given.big or given.toy:
        peak = given.peak or next((p for part, p in PEAKS.items() if part in (gpu or "")), None)
        peak = peak or (1.0 if given.toy else None)
        found["billion"] = billion(given, TOY if given.toy else BIG, peak)
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


def trl_defaults(student, examples, ours):  # type: ignore[no-untyped-def]
    """Tokens per second of SFTTrainer as it comes, but for the adapter, the batch and the number format.

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
    model = student._trainable(ours.model_copy(update={"liger": "off"}), None, student.dtype)
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
    tokens = sum(len(student._answer_ids(text)) for text in ours)
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
        tokens = sum(len(plain._answer_ids(text)) for text in texts)
    finally:
        student.close()
    return {"tokens_per_second": round(tokens / seconds, 2), "swap": round(swap, 3)}


def billion(given, shape, peak):  # type: ignore[no-untyped-def]
    """A whole iteration of a Llama with random weights: train, swap, answer. Rows of mixed lengths."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        model = make_llama(Path(folder) / "llama", shape)
        config = StudentConfig(
            name=str(model),
            device="cpu" if given.toy else "auto",
            generation=GenerationConfig(batch_size=256, max_new_tokens=given.new_tokens),
        )
        student = make_student(config)
        examples = mixed_rows(given.big_rows, 40 if given.toy else 900)
        ours = TrainConfig(
            batch_size=given.big_batch_size, max_length=1024, lora_layers="all", learning_rate=1e-4, warmup_steps=1
        )
        speeds = training(student, examples[: max(4, given.big_rows // 5)], ours, given.rounds)
        began = time.perf_counter()
        summary = student.train(examples, Path(folder) / "student", config=ours, seed=0)
        trained = time.perf_counter() - began
        student.load(Path(folder) / "student")
        began = time.perf_counter()
        student.predict([e.prompt for e in examples[: given.big_rows // 2]])
        answered = time.perf_counter() - began
        weights = sum(
            m.weight.numel()
            for n, m in student._base().get_decoder().named_modules()
            if isinstance(m, torch.nn.Linear)
        )
    speed = summary.tokens / summary.seconds
    return {
        "weights_of_linear_layers": weights,
        "rows": summary.rows,
        "tokens": summary.tokens,
        "training": speeds,
        "tokens_per_second": round(speed, 1),
        # Forward and the activations' gradients, 2 flops each per weight and token; frozen weights need no third
        # pass. Attention and the output head, which add to what was done, are not counted.
        "model_flop_utilisation": None if peak is None else round(4 * weights * speed / (peak * 1e12), 6),
        "peak_memory_mb": summary.peak_memory_mb,
        "iteration_seconds": round(trained + answered, 2),
        "of_it_training": round(trained, 2),
        "of_it_answering": round(answered, 2),
    }


def make_llama(folder, shape):  # type: ignore[no-untyped-def]
    """A Llama of that shape with random weights in bfloat16, over bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from dataenvgym.envs.students.smollm import _byte_tokenizer

    tokenizer = _byte_tokenizer()
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=4096, tie_word_embeddings=True, dtype="bfloat16", **ends)
    with quiet_transformers():
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


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
    if big := found.get("billion"):
        speeds("Llama, training", big["training"])
        table.add_row("Llama, training of the iteration", f"{big['tokens_per_second']:,.1f} tokens/s", "")
        table.add_row("Llama, model flop utilisation", str(big["model_flop_utilisation"]), "")
        table.add_row("Llama, peak memory", f"{big['peak_memory_mb']} MB", "")
        parts = f"{big['of_it_training']} s training, {big['of_it_answering']} s answering"
        table.add_row(f"Llama, iteration of {big['rows']} rows", f"{big['iteration_seconds']} s", parts)
    Console().print(table)


if __name__ == "__main__":
    main()
