"""Preference training: pairs of a right completion and the student's own wrong answer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from stub_student import StubStudent

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.students import make_student
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import Example, Provenance, Row

TASK = load(TaskConfig(name="arithmetic", val_size=1, test_size=1))
PAIRS = [Example(f"Add {n} and {n}.", f"Answer: {2 * n}", None, f"I think {n}, or so") for n in range(8)]


def config(**settings: Any) -> TrainConfig:
    few = {"method": "dpo", "batch_size": 4, "learning_rate": 5e-3, "warmup_steps": 1, "lora_rank": 4}
    return TrainConfig.model_validate({**few, **settings})


def tiny(dtype: str = "float32") -> TransformersStudent:
    given = {"name": "tiny", "device": "cpu", "dtype": dtype, "generation": GenerationConfig(max_new_tokens=8)}
    made = make_student(StudentConfig.model_validate(given))
    assert isinstance(made, TransformersStudent)
    return made


def margin(student: TransformersStudent, folder: Path | None) -> float:
    """By how much the chosen texts' log-probability exceeds that of the rejected ones, on average."""
    import torch

    student.load(folder)
    model, found = student._merged(), []
    for pair in PAIRS:
        told = []
        for text in (pair.completion, pair.rejected):
            row = student._encode(Example(pair.prompt, str(text)), 512)
            assert row is not None
            with torch.inference_mode():
                logits = model(torch.tensor([row.ids])).logits[0].float().log_softmax(-1)
            told.append(sum(float(logits[t - 1, row.ids[t]]) for t in range(row.prompt, len(row.ids))))
        found.append(told[0] - told[1])
    return sum(found) / len(found)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_the_student_comes_to_prefer_what_is_right(adapter: str, dtype: str, tmp_path: Path) -> None:
    learner = tiny(dtype)
    before = margin(learner, None)
    rate = {"lora": 5e-3, "full": 1e-3}[adapter]
    out = tmp_path / "a"
    summary = learner.train(PAIRS, out, config=config(adapter=adapter, epochs=4, learning_rate=rate), seed=0)
    assert (summary.rows, summary.steps, summary.hits, summary.micro_batch) == (8, 8, None, 4)
    assert summary.losses[0] == pytest.approx(0.693, abs=0.02)  # at first both are as likely as to the reference
    assert summary.losses[-1] < 0.6
    assert margin(learner, out) > before + 2
    assert margin(tiny(dtype), out) == pytest.approx(margin(learner, out), abs=0.3)
    assert not (out / "ref").exists()
    assert sorted(p.name for p in out.iterdir() if p.suffix == ".safetensors") == [
        {"lora": "adapter_model.safetensors", "full": "model.safetensors"}[adapter]
    ]


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_pairs_are_learnt_on_from_the_last_student(adapter: str, tmp_path: Path) -> None:
    settings = config(adapter=adapter, learning_rate=1e-3)
    learner = tiny()
    learner.train(PAIRS, tmp_path / "a", config=settings, seed=0)
    summary = learner.train(PAIRS, tmp_path / "b", config=settings, seed=1, start=tmp_path / "a")
    assert summary.losses[0] == pytest.approx(0.693, abs=0.001)  # the reference is where it starts from
    assert margin(learner, tmp_path / "b") > margin(learner, tmp_path / "a") > margin(learner, None)


def test_a_weaker_beta_goes_further(tmp_path: Path) -> None:
    found = []
    for beta in (0.05, 5.0):
        learner = tiny()
        learner.train(PAIRS, tmp_path / str(beta), config=config(beta=beta, epochs=4), seed=0)
        found.append(margin(learner, tmp_path / str(beta)))
    assert found[0] > found[1]


def test_when_memory_runs_out_fewer_pairs_are_computed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from trl import DPOTrainer

    real = DPOTrainer.compute_loss
    plain = tiny().train(PAIRS, tmp_path / "a", config=config(), seed=0)

    def limited(self: Any, *given: Any, **more: Any) -> Any:
        if self.args.per_device_train_batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *given, **more)

    monkeypatch.setattr(DPOTrainer, "compute_loss", limited)
    summary = tiny().train(PAIRS, tmp_path / "b", config=config(), seed=0)
    assert (summary.steps, summary.micro_batch, len(summary.notes)) == (2, 1, 2)
    assert summary.losses == pytest.approx(plain.losses, abs=1e-3)


def test_long_texts_are_cut(tmp_path: Path) -> None:
    long = [pair._replace(rejected="no " * 200) for pair in PAIRS]
    tiny().train(long, tmp_path / "a", config=config(max_length=60), seed=0)
    no_room = [*long, long[0]._replace(prompt="much too long " * 20)]
    assert tiny().train(no_room, tmp_path / "b", config=config(max_length=60), seed=0).left_out == 1


# Where the pairs come from.


class Knower(StubStudent):
    """Answers as many of the prompts rightly as it has learnt examples, and the rest wrongly."""

    def __init__(self, right: dict[str, str]) -> None:
        super().__init__("knower")
        self._right, self._known = right, set[str]()

    def answers(self, prompts: Sequence[str]) -> list[str]:
        return [self._right[p] if p in self._known else f"wrong about {p}" for p in prompts]

    def learn(self, examples: Sequence[Example], out: Path, start: Path | None) -> None:
        known = json.loads((start / "known.json").read_text()) if start else []
        (out / "known.json").write_text(json.dumps([*known, *(e.prompt for e in examples)]))

    def load(self, adapter: Path | None) -> None:
        super().load(adapter)
        self._known = set(json.loads((adapter / "known.json").read_text())) if adapter else set()


def rows(*numbers: int) -> list[Row]:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    return [
        Row(id=f"{n}", question=f"What is {n}?", solution="s", answer=f"{n}", skill="a", provenance=made)
        for n in numbers
    ]


def known(world: TeacherEnv, lessons: list[list[Row]], parent: str | None, key: str | None) -> list[bool]:
    return list(world.known(lessons, parent, key).values())


@pytest.fixture
def knower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Knower:
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "cache"))
    return Knower({TASK.domain.prompt(r): TASK.domain.render_answer("", r.answer) for r in rows(*range(20))})


def env(student: Knower, tmp_path: Path, **settings: Any) -> TeacherEnv:
    return TeacherEnv(TASK, student, config(**settings), tmp_path / "students")


def test_a_wrong_answer_is_what_is_rejected(knower: Knower, tmp_path: Path) -> None:
    world = env(knower, tmp_path)
    key = world.train([rows(1, 2)], None)
    assert key is not None
    ((examples, _, start),) = knower.trained
    assert start is None
    assert examples == [
        TASK.domain.example(row)._replace(rejected=f"wrong about {TASK.domain.prompt(row)}") for row in rows(1, 2)
    ]
    assert world.train([rows(1, 2)], None) == key and len(knower.trained) == 1
    assert len(knower.asked) == 1  # found in the cache
    assert [p.name for p in (tmp_path / "students").iterdir()] == [key]


def test_what_the_student_knows_gives_no_pair(knower: Knower, tmp_path: Path) -> None:
    world = env(knower, tmp_path, start="last")
    before, after = rows(1, 2), rows(2, 3, 1, 4)
    first = world.train([before], None)
    assert first is not None and known(world, [before], None, first) == [False, False]
    second = world.train([before, after], first)
    assert known(world, [before, after], first, second) == [True, False, True, False]
    examples, _, start = knower.trained[1]
    assert [e.completion for e in examples] == [TASK.domain.example(r).completion for r in rows(3, 4)]
    assert start == tmp_path / "students" / first


def test_from_the_base_it_is_the_base_that_is_asked(knower: Knower, tmp_path: Path) -> None:
    """What the last student knows the base, which is trained anew, still has to learn."""
    world = env(knower, tmp_path)
    first = world.train([rows(1)], None)
    second = world.train([rows(1), rows(2)], first)
    assert second not in (None, first)
    examples, _, start = knower.trained[1]
    assert len(examples) == 2 and start is None
    assert [len(asked) for asked in knower.asked] == [1, 1]  # each lesson once


def test_a_student_that_is_right_on_every_row_stays_as_it_is(knower: Knower, tmp_path: Path) -> None:
    world = env(knower, tmp_path, start="last")
    first = world.train([rows(1, 2)], None)
    assert world.train([rows(1, 2), rows(2, 1)], first) == first
    assert len(knower.trained) == 1
    assert known(world, [rows(1, 2), rows(2, 1)], first, first) == [True, True]


def test_the_key_includes_the_pairs(knower: Knower, tmp_path: Path) -> None:
    plain = TeacherEnv(TASK, knower, config(method="sft"), tmp_path / "students")
    before = plain.key(rows(1), None)
    one = env(knower, tmp_path).key(rows(1), None)
    other = Knower({})
    other.base_key, other.predict = knower.base_key, lambda prompts, *_, **__: ["else"] * len(prompts)  # type: ignore
    (tmp_path / "cache" / "predictions").rename(tmp_path / "elsewhere")
    two = env(other, tmp_path).key(rows(1), None)
    assert len({before, one, two, env(other, tmp_path, beta=0.5).key(rows(1), None)}) == 4
