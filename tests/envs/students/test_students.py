"""Students: training that repeats, what is adapted, and rows without room."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_student import TRAIN, tiny

from dataenvgym.envs.config import StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.students import make_student
from dataenvgym.envs.students.loop import EncodedRow, batches, schedule
from dataenvgym.envs.types import Example

EXAMPLES = [Example(f"Add {n} and {n}.", f"{n} + {n}\nAnswer: {2 * n}") for n in range(10)]


WEIGHTS = "adapter_model.safetensors"


@given(st.lists(st.integers(2, 30), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 5))
def test_batches_hold_each_row_once(lengths: list[int], size: int, seed: int) -> None:
    rows = [EncodedRow([0] * length, 1) for length in lengths]
    cut = list(batches(rows, size, seed))
    assert sorted(i for b in cut for i in b) == list(range(len(rows)))
    assert all(1 <= len(b) <= size for b in cut)
    assert len(cut) <= math.ceil(len(rows) / size) + len(rows) // (8 * size)
    assert cut == list(batches(rows, size, seed))


@given(st.integers(0, 10), st.integers(1, 50))
def test_the_rate_warms_up_and_falls_to_nothing(warmup: int, steps: int) -> None:
    factor = schedule(TrainConfig(warmup_steps=warmup), steps)
    rates = [factor(s) for s in range(steps)]
    assert all(0 < r <= 1 for r in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_a_text_student_refuses_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text only"):
        tiny().predict(["x"], images=["picture.png"])
    with pytest.raises(DataError, match="text only"):
        tiny().train([Example("q", "a", "picture.png")], tmp_path / "a", config=TRAIN, seed=0)


def test_training_twice_gives_the_same_bits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny().train(EXAMPLES, tmp_path / name, config=TRAIN, seed=3)
    tiny().train(EXAMPLES, tmp_path / "c", config=TRAIN, seed=4)
    a, b, c = ((tmp_path / n / WEIGHTS).read_bytes() for n in "abc")
    assert a == b != c


def test_training_fits_answers_and_says_what_it_did(tmp_path: Path, wild: Path) -> None:
    seen: list[tuple[int, int]] = []
    many = TRAIN.model_copy(update={"epochs": 40, "learning_rate": 2e-2, "lora_rank": 16})
    learner = tiny(max_new_tokens=20, name=wild)
    few = [Example("A", "one"), Example("B", "two")]
    summary = learner.train(few, tmp_path / "s", config=many, seed=0, progress=lambda *now: seen.append(now))
    assert (summary.rows, summary.steps) == (2, 40) and seen[-1] == (40, 40)
    assert summary.hits == [False, False]
    assert summary.final_loss < 0.5
    assert json.loads((tmp_path / "s" / "train.json").read_text())["hits"] == [False, False]
    before = learner.predict(["A", "B"])
    learner.load(tmp_path / "s")
    assert learner.predict(["A", "B"]) == ["one", "two"] != before
    again = learner.train(few, tmp_path / "t", config=TRAIN, seed=0, start=tmp_path / "s")
    assert again.hits == [True, True]  # met again, it would have written them word for word
    learner.load(None)
    assert learner.predict(["A", "B"]) == before


def test_hits_have_one_entry_per_row(tmp_path: Path) -> None:
    summary = tiny().train(EXAMPLES, tmp_path / "a", config=TRAIN.model_copy(update={"epochs": 2}), seed=0)
    assert summary.hits is not None and [type(h) for h in summary.hits] == [bool] * len(EXAMPLES)


def test_only_the_last_layers_are_adapted_when_asked(tmp_path: Path) -> None:
    from safetensors import safe_open

    tiny().train(EXAMPLES, tmp_path / "a", config=TRAIN.model_copy(update={"last_layers": 1}), seed=0)
    with safe_open(str(tmp_path / "a" / WEIGHTS), "pt") as file:
        names = list(file.keys())
    assert names and all(".layers.1." in n for n in names)
    tiny().train(EXAMPLES, tmp_path / "b", config=TRAIN.model_copy(update={"last_layers": 9}), seed=0)
    with safe_open(str(tmp_path / "b" / WEIGHTS), "pt") as file:
        assert len(list(file.keys())) == 2 * len(names)


@pytest.mark.parametrize(("which", "has"), [("mlp", {"mlp"}), ("all", {"mlp", "self_attn"})])
def test_which_layers_are_adapted(which: str, has: set[str], tmp_path: Path) -> None:
    from safetensors import safe_open

    tiny().train(EXAMPLES, tmp_path / "a", config=TRAIN.model_copy(update={"lora_layers": which}), seed=0)
    with safe_open(str(tmp_path / "a" / WEIGHTS), "pt") as file:
        names = list(file.keys())
    assert {part for name in names for part in ("mlp", "self_attn") if f".{part}." in name} == has


def test_a_model_just_trained_answers_as_it_does_when_read_again(tmp_path: Path, wild: Path) -> None:
    """Also when its folder was renamed, and not for another folder."""
    many = TRAIN.model_copy(update={"epochs": 40, "learning_rate": 2e-2, "lora_rank": 16})
    few = [Example("A", "one"), Example("B", "two")]
    learner = tiny(max_new_tokens=20, name=wild)
    base = learner.predict(["A", "B"])
    learner.train(few, tmp_path / "a.partial", config=many, seed=0)
    (tmp_path / "a.partial").rename(tmp_path / "a")
    assert learner.predict(["A", "B"]) == base  # training alone does not change who answers
    learner.train(few, tmp_path / "b", config=many, seed=0)
    learner.load(tmp_path / "b")
    kept = learner.predict(["A", "B"])
    again = tiny(max_new_tokens=20, name=wild)
    again.load(tmp_path / "a")
    assert again.predict(["A", "B"]) == kept == ["one", "two"] != base


def test_a_prompt_that_leaves_no_room_is_named(tmp_path: Path) -> None:
    short = TRAIN.model_copy(update={"max_length": 30})
    with pytest.raises(DataError, match=r"max_length = 30.*a very long"):
        tiny().train([Example("a very long question " * 3, "b")], tmp_path / "a", config=short, seed=0)
    with pytest.raises(DataError, match="no rows"):
        tiny().train([], tmp_path / "a", config=TRAIN, seed=0)
    assert not (tmp_path / "a").exists()
    # Among others it is left out, counted, and keeps its place in the hits.
    rows = [Example("a very long question " * 3, "b"), Example("short?", "yes")]
    found = tiny().train([*rows, Example("short?", "yes " * 40)], tmp_path / "b", config=short, seed=0)
    assert (found.rows, found.left_out) == (2, 1)
    assert found.hits is not None and len(found.hits) == 3 and not found.hits[0]
    (note,) = found.notes
    assert "1 of 3 rows cut" in note and "1 of 3 rows left out" in note and "max_length = 30" in note


@pytest.mark.parametrize("rows", [8, 10])
def test_a_training_that_diverges_leaves_no_student(tmp_path: Path, rows: int) -> None:
    high = TRAIN.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(FloatingPointError):
        tiny().train(EXAMPLES[:rows], tmp_path / "a", config=high, seed=0)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("start", [False, True])
def test_trl_trains_the_tiny_student(tmp_path: Path, start: bool) -> None:
    trl = TRAIN.model_copy(update={"backend": "trl"})
    first = tmp_path / "first"
    tiny().train(EXAMPLES, first, config=TRAIN, seed=0)
    out = tmp_path / "out"
    summary = tiny().train(EXAMPLES, out, config=trl, seed=0, start=first if start else None)
    assert (summary.rows, summary.steps, summary.hits) == (10, 3, None)
    assert summary.final_loss > 0 and (out / WEIGHTS).is_file()
    assert (out / WEIGHTS).read_bytes() != (first / WEIGHTS).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loop", "trl"])
def test_the_real_student_learns_an_easy_skill(backend: str, tmp_path: Path) -> None:
    task = load(TaskConfig(name="arithmetic", val_size=12, test_size=1))
    val = [i for i in task.val if i.skill == "number_after"]
    learnt = [task.domain.example(i) for i in task.train if i.skill == "number_after"]
    student = make_student(StudentConfig(name="smollm2", device="cpu", dtype="float32"))

    def right() -> int:
        texts = student.predict([task.domain.prompt(i) for i in val])
        return sum(task.domain.read_back(i.answer, t)[1] for i, t in zip(val, texts, strict=True))

    before = right()
    config = TrainConfig.model_validate({"backend": backend, "last_layers": 15})
    summary = student.train(learnt, tmp_path / "a", config=config, seed=0)
    student.load(tmp_path / "a")
    assert summary.steps == math.ceil(len(learnt) / config.batch_size)
    assert right() >= before + 4
    if backend == "loop":  # the mean over all steps, which TRL gives, hardly falls
        assert summary.final_loss < 0.5
    student.close()


@pytest.mark.slow
def test_the_uneven_student_is_schooled_once_and_keeps_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few rows a skill, which is a schooling of its own."""
    from dataenvgym.envs.students import uneven

    full = uneven.schooling_key()
    monkeypatch.setattr(uneven, "ROWS_PER_SKILL", 4)
    assert uneven.schooling_key() != full
    config = StudentConfig(name="uneven", device="cpu", dtype="float32")
    folder = uneven.schooled_adapter(config)
    stamp = (folder / "train.json").stat().st_mtime_ns
    one, two = make_student(config), make_student(config)
    assert uneven.schooled_adapter(config) == folder and (folder / "train.json").stat().st_mtime_ns == stamp
    assert uneven.schooling_key() in folder.name
    plain = make_student(StudentConfig(name="smollm2", device="cpu", dtype="float32"))
    assert one.base_key == two.base_key != plain.base_key
