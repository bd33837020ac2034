"""Training: a loss that diverges, the figures it reports, and adapters or whole weights."""

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
from small_training import EXAMPLES, config, read, tiny

from dataenvgym.envs.errors import ConfigError, DivergedError
from dataenvgym.envs.students import weights
from dataenvgym.envs.types import Example


def moved(one: Path, two: Path) -> bool:
    mine, theirs = read(one), read(two)
    return all(bool((mine[name] != theirs[name]).any()) for name in mine)


# A loss that is no number.


@pytest.mark.parametrize("backend", ["loop", "trl"])
@pytest.mark.parametrize("rows", [8, 10])
def test_a_training_that_diverges_is_an_error_of_ours(backend: str, rows: int, tmp_path: Path) -> None:
    high = config(backend=backend, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(DivergedError, match=r"NaN|nan|inf.*lower student\.train\.learning_rate"):
        tiny().train(EXAMPLES[:rows], tmp_path / "a", config=high, seed=0)
    assert not (tmp_path / "a").exists()


# What is told.


@pytest.mark.parametrize("backend", ["loop", "trl"])
def test_a_training_tells_its_loss_speed_and_memory(backend: str, tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = []
    seen: list[tuple[int, int]] = []
    summary = tiny().train(
        EXAMPLES,
        tmp_path / "a",
        config=config(backend=backend, epochs=30),
        seed=0,
        watch=steps.append,
        progress=lambda *now: seen.append(now),
    )
    assert [step["done"] for step in steps] == [done for done, _ in seen] == list(range(1, 91))
    assert {step["total"] for step in steps} == {90}
    assert all(math.isfinite(step["loss"]) and step["tokens_per_second"] > 0 for step in steps)
    assert 25 <= len(summary.losses) <= 50 and summary.losses[0] == round(steps[0]["loss"], 4)
    assert summary.losses[0] > summary.losses[-1]
    assert summary.tokens_per_second and summary.peak_memory_mb
    kept = json.loads((tmp_path / "a" / "train.json").read_text())
    assert kept["losses"] == summary.losses and kept["peak_memory_mb"] == summary.peak_memory_mb


# What is trained.


@pytest.mark.parametrize("backend", ["loop", "trl"])
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_training_goes_on_from_the_last_student(backend: str, adapter: str, tmp_path: Path) -> None:
    settings = config(backend=backend, adapter=adapter)
    first, second, fresh = tmp_path / "first", tmp_path / "second", tmp_path / "fresh"
    tiny().train(EXAMPLES, first, config=settings, seed=0)
    tiny().train(EXAMPLES, second, config=settings, seed=1, start=first)
    tiny().train(EXAMPLES, fresh, config=settings, seed=1)
    assert moved(first, second)  # all that was trained is trained on
    assert moved(second, fresh)
    before, after = (json.loads((f / "train.json").read_text())["losses"][0] for f in (first, second))
    assert after < before


@pytest.mark.parametrize("backend", ["loop", "trl"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_student_trained_whole_is_written_and_read(backend: str, dtype: str, tmp_path: Path) -> None:
    import torch

    learner = tiny(dtype)
    base = learner.predict(["A", "B"])
    few = [Example("A", "one"), Example("B", "two")]
    settings = config(backend=backend, adapter="full", epochs=120, learning_rate=1e-2)
    learner.train(few, tmp_path / "a.partial", config=settings, seed=0)
    (tmp_path / "a.partial").rename(tmp_path / "a")
    assert weights.is_whole(tmp_path / "a")
    assert {w.dtype for w in read(tmp_path / "a").values()} == {getattr(torch, dtype)}
    assert learner.predict(["A", "B"]) == base
    learner.load(tmp_path / "a")
    kept = learner.predict(["A", "B"])
    again = tiny(dtype)
    again.load(tmp_path / "a")
    assert again.predict(["A", "B"]) == kept == ["one", "two"] != base
    learner.load(None)
    assert learner.predict(["A", "B"]) == base


def test_whole_weights_move_in_steps_that_bfloat16_would_round_away(tmp_path: Path) -> None:
    """A step of 1e-5 on a weight near 0.02 is a twelfth of what bfloat16 can tell apart there."""
    many = config(adapter="full", learning_rate=1e-5, epochs=20, batch_size=2)
    tiny("bfloat16").train(EXAMPLES, tmp_path / "half", config=many, seed=0)
    tiny("float32").train(EXAMPLES, tmp_path / "full", config=many, seed=0)
    one, two = (json.loads((tmp_path / n / "train.json").read_text())["losses"] for n in ("half", "full"))
    assert one[0] - one[-1] == pytest.approx(two[0] - two[-1], rel=0.2)


def test_a_whole_student_goes_on_from_an_adapter_but_not_the_reverse(tmp_path: Path) -> None:
    tiny().train(EXAMPLES, tmp_path / "lora", config=config(), seed=0)
    tiny().train(EXAMPLES, tmp_path / "full", config=config(adapter="full"), seed=0, start=tmp_path / "lora")
    assert weights.is_whole(tmp_path / "full") and not weights.is_whole(tmp_path / "lora")
    with pytest.raises(ConfigError, match="is a whole model"):
        tiny().train(EXAMPLES, tmp_path / "b", config=config(), seed=0, start=tmp_path / "full")


def test_nothing_of_a_training_stays_in_memory(tmp_path: Path) -> None:
    from transformers import PreTrainedModel

    def models() -> int:
        gc.collect()  # other tests leave models in cycles
        return sum(issubclass(type(one), PreTrainedModel) for one in gc.get_objects())

    student, before = tiny(), models()
    student.train(EXAMPLES, tmp_path / "out", config=config(backend="trl"), seed=0)
    student.close()
    assert models() == before
