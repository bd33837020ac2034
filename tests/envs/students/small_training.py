"""A short training of the tiny student, and what is compared of two."""

from pathlib import Path
from typing import Any

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TrainConfig
from dataenvgym.envs.students import make_student
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.types import Example

# Prompts and completions of mixed lengths, so that a mean over rows is not the mean over tokens.
EXAMPLES = [Example(f"Add {n} and {n}.", f"{n} + {n}\n" * (1 + n % 4) + f"Answer: {2 * n}") for n in range(10)]


def config(**settings: Any) -> TrainConfig:
    few = {"batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 1, "lora_rank": 2}
    return TrainConfig.model_validate({**few, **settings})


def tiny(dtype: str = "float32", most: int = 20) -> TransformersStudent:
    generation = GenerationConfig(batch_size=64, max_new_tokens=most)
    made = make_student(
        StudentConfig.model_validate({"name": "tiny", "device": "cpu", "dtype": dtype, "generation": generation})
    )
    assert isinstance(made, TransformersStudent)
    return made


def read(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (path,) = folder.glob("*.safetensors")
    return dict(load_file(str(path)))


def same(one: Path, two: Path, **tolerance: float) -> None:
    import torch

    mine, theirs = read(one), read(two)
    assert mine.keys() == theirs.keys()
    for name, weight in mine.items():
        torch.testing.assert_close(weight, theirs[name], **(tolerance or {"rtol": 0.0, "atol": 0.0}))
