"""The uneven student: SmolLM2 schooled on half the arithmetic skills, as a real model's skills are uneven."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from dataenvgym.envs.cache import cache_dir, made_once
from dataenvgym.envs.config import StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.smollm import smollm_folder
from dataenvgym.envs.types import Progress

# The schooling. A change of any value makes another student, under another key.
SCHOOLING = TrainConfig(batch_size=4, learning_rate=1.5e-3, max_length=512)
ROWS_PER_SKILL = 90
SEED = 0
VERSION = 3


def schooling_key() -> str:
    """Identify the schooled weights by everything that determines them."""
    recipe = {"train": SCHOOLING.identity(), "rows": ROWS_PER_SKILL, "seed": SEED, "version": VERSION}
    return "uneven-" + hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def schooled_adapter(config: StudentConfig, progress: Progress | None = None) -> Path:
    """Return the folder of the schooling adapter, trained once into the cache (about two minutes on two cores)."""
    from dataenvgym.envs.domains.math.tasks.arithmetic import load, schooling_rows

    plain = TransformersStudent(smollm_folder(), "smollm2", config)
    folder = cache_dir() / "models" / f"{schooling_key()}-{plain.base_key[:6]}"

    def make(out: Path) -> None:
        task = load(TaskConfig(name="arithmetic"))
        examples = [task.domain.example(row) for row in schooling_rows(SEED, ROWS_PER_SKILL, task)]
        plain.train(examples, out, config=SCHOOLING, seed=SEED, progress=progress)

    return made_once(folder, make)
