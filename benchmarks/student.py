"""The embedded student's speed: training against TRL's SFTTrainer, generation against transformers' own.

    python benchmarks/student.py [--student smollm2] [--rows 32] [--prompts 64]

Prints a table with the ratio of each pair, measured one after the other in this process, and as its last line
one JSON object. Run it on an idle machine.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.students import make_student
from dataenvgym.envs.tasks import load_task

NEW_TOKENS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="smollm2")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=64)
    arguments = parser.parse_args()

    task = load_task(TaskConfig(name="arithmetic"))
    generation = GenerationConfig(batch_size=arguments.prompts, max_new_tokens=NEW_TOKENS)
    student = make_student(StudentConfig(name=arguments.student, generation=generation))
    step = len(task.train) // arguments.rows
    examples = [task.domain.example(row) for row in task.train[::step]][: arguments.rows]
    figures = {}
    for name, config in {
        "loop": TrainConfig(),
        "loop, last 15 layers": TrainConfig(last_layers=15),
        "trl": TrainConfig(backend="trl"),
    }.items():
        with tempfile.TemporaryDirectory() as out:
            student.train(examples[:8], Path(out) / "warm", config=config, seed=0)
            summary = student.train(examples, Path(out) / "adapter", config=config, seed=0)
        figures[name] = summary.rows / summary.seconds
    step = len(task.val) // arguments.prompts
    prompts = [task.domain.prompt(item) for item in task.val[::step]][: arguments.prompts]
    ours, theirs, same = generation_speed(student, prompts)

    table = Table("what", "rows or prompts per second", "ratio")
    for name, speed in figures.items():
        table.add_row(f"training, {name}", f"{speed:.2f}", f"{speed / figures['trl']:.2f} of trl")
    table.add_row("generation, transformers generate", f"{theirs:.2f}", "1.00")
    table.add_row("generation, ours", f"{ours:.2f}", f"{ours / theirs:.2f}")
    Console().print(table)
    print(
        json.dumps(
            {
                "training_rows_per_second": {k: round(v, 3) for k, v in figures.items()},
                "training_ratio_to_trl": round(figures["loop"] / figures["trl"], 3),
                "generation_prompts_per_second": {"ours": round(ours, 3), "generate": round(theirs, 3)},
                "generation_ratio": round(ours / theirs, 3),
                "same_texts": same,
                "rows": len(examples),
                "prompts": len(prompts),
            }
        )
    )


def generation_speed(student, prompts):  # type: ignore[no-untyped-def]
    """(our prompts per second, those of model.generate, how many texts agree), same batch, greedy."""
    student.predict(prompts[:2])
    began = time.perf_counter()
    ours = student.predict(prompts)
    our_seconds = time.perf_counter() - began
    model, tokenizer = student._base().eval(), student._get_tokenizer()  # as transformers loads it
    tokenizer.padding_side = "left"
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    began = time.perf_counter()
    encoded = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
    out = model.generate(**encoded, max_new_tokens=NEW_TOKENS, do_sample=False)
    theirs = tokenizer.batch_decode(out[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    their_seconds = time.perf_counter() - began
    same = sum(a == b.strip() for a, b in zip(ours, theirs, strict=True))
    return len(prompts) / our_seconds, len(prompts) / their_seconds, same


if __name__ == "__main__":
    main()
