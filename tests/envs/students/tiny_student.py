"""The tiny student and a few rows, shared by the tests of students."""

from typing import Any

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TrainConfig
from dataenvgym.envs.students import Student, make_student

TRAIN = TrainConfig(batch_size=4, learning_rate=1e-3, warmup_steps=1, lora_rank=2)


def tiny(batch_size: int = 128, max_new_tokens: int = 12, name: Any = "tiny") -> Student:
    generation = GenerationConfig(batch_size=batch_size, max_new_tokens=max_new_tokens)
    return make_student(StudentConfig(name=str(name), device="cpu", dtype="float32", generation=generation))
