"""Training when memory is short: rows computed a few at a time, and activations computed again."""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_training import EXAMPLES, config, same, tiny

from dataenvgym.envs.errors import TrainingError
from dataenvgym.envs.students import loop, smollm
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.loop import EncodedRow, accumulate, completion_logits, parts

# Memory.


@pytest.mark.parametrize("micro", [1, 2, 3, 4])
def test_rows_computed_a_few_at_a_time_have_the_gradients_of_all_at_once(micro: int, own_cache: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm.tiny_folder(), dtype=torch.float64)
    rows = [
        EncodedRow([5, 9, *ids], 2 + n) for ids, n in (([7, 8, 3, 9], 2), ([6, 4], 1), ([3] * 9, 1), ([8, 8], 1))
    ]
    for prefix in (None, 2):
        model.zero_grad()
        logits, labels, owner = completion_logits(model, rows, 0, prefix)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        expected = [p.grad.clone() for p in model.parameters()]
        wrong = set(owner[logits.argmax(-1) != labels].tolist())
        model.zero_grad()
        result = accumulate(model, rows, micro, pad_token=0, prefix=prefix)
        loss, missed = result.loss(), result.missed()
        assert missed == wrong
        mean = torch.nn.functional.cross_entropy(logits.detach(), labels)
        assert loss == pytest.approx(float(mean), rel=1e-5)
        for mine, theirs in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(mine.grad, theirs, rtol=1e-4, atol=1e-7)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
    st.integers(1, 8),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_parts_hold_each_row_once_and_no_more_than_they_may(
    lengths: list[int], rows: int, tokens: int | None
) -> None:
    cut = list(parts(lengths, rows, tokens))
    assert [i for part in cut for i in part] == list(range(len(lengths)))
    assert all(1 <= len(part) <= rows for part in cut)
    assert tokens is None or all(len(p) == 1 or sum(lengths[i] for i in p) <= tokens for p in cut)
    assert tokens is not None or len(cut) == math.ceil(len(lengths) / rows)


def test_long_rows_are_packed_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny().train(EXAMPLES, tmp_path / "whole", config=config(), seed=0)
    sizes = fails_above(monkeypatch, 4)
    monkeypatch.setattr(loop, "PACKED_TOKENS", 120)
    summary = tiny().train(EXAMPLES, tmp_path / "parts", config=config(), seed=0)
    assert summary.micro_batch == 4 and 1 < max(sizes[2:]) < 4  # the first two are the trial
    same(tmp_path / "parts", tmp_path / "whole", rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("backend", ["loop", "trl"])
def test_the_micro_batch_changes_no_student(backend: str, tmp_path: Path) -> None:
    for micro in (None, 1, 2, 4):
        out = tmp_path / str(micro)
        summary = tiny().train(EXAMPLES, out, config=config(backend=backend, micro_batch=micro), seed=0)
        assert (summary.steps, summary.micro_batch) == (3, micro or 4)
        same(out, tmp_path / "None", rtol=1e-3, atol=2e-5)


def fails_above(
    monkeypatch: pytest.MonkeyPatch, rows: int, at: Callable[[int], bool] = lambda call: True
) -> list[int]:
    """Have memory run out where more rows than `rows` are computed at once; the sizes that were tried."""
    import torch

    tried: list[int] = []
    real = loop.completion_logits

    def limited(model: Any, batch: Any, *arguments: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > rows and at(len(tried)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(model, batch, *arguments)

    monkeypatch.setattr(loop, "completion_logits", limited)
    return tried


@pytest.mark.parametrize("late", [False, True])
def test_when_memory_runs_out_fewer_rows_are_computed_at_once(
    late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tiny().train(EXAMPLES, tmp_path / "whole", config=config(), seed=0)
    tried = fails_above(monkeypatch, 1, at=lambda call: not late or call > 4)
    with caplog.at_level(logging.WARNING):
        summary = tiny().train(EXAMPLES, tmp_path / "less", config=config(), seed=0)
    assert tried[0] == 4 and tried[-1] == 1
    assert (summary.steps, summary.micro_batch, summary.hits) == (3, 1, whole.hits)
    assert summary.final_loss == pytest.approx(whole.final_loss, rel=1e-4)
    same(tmp_path / "less", tmp_path / "whole", rtol=1e-3, atol=2e-5)
    said = [record.getMessage() for record in caplog.records if "memory ran out" in record.getMessage()]
    assert [("4 rows" in s and "2 at" in s) or ("2 rows" in s and "1 at" in s) for s in said] == [True, True]
    kept = json.loads((tmp_path / "less" / "train.json").read_text())
    assert (kept["micro_batch"], kept["notes"]) == (1, said)


def test_an_odd_batch_is_halved_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_above(monkeypatch, 1)
    assert tiny().train(EXAMPLES, tmp_path / "a", config=config(batch_size=7), seed=0).micro_batch == 1


@pytest.mark.parametrize("backend", ["loop", "trl"])
def test_no_memory_for_one_row_is_an_error_that_says_what_helps(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_above(monkeypatch, 0)
    trl_fails_above(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r"one row at a time \(CUDA out of memory.*gradient_checkpointing"):
        tiny().train(EXAMPLES, tmp_path / "a", config=config(backend=backend), seed=0)
    assert not (tmp_path / "a").exists()


def trl_fails_above(monkeypatch: pytest.MonkeyPatch, rows: int, calls: int = 0) -> list[int]:
    """The same for TRL's trainers, after so many calls."""
    import torch
    from trl import DPOTrainer, SFTTrainer

    tried: list[int] = []
    for trainer in (SFTTrainer, DPOTrainer):

        def limited(
            self: Any, model: Any, inputs: Any, *rest: Any, real: Any = trainer.compute_loss, **more: Any
        ) -> Any:
            tried.append(self.args.per_device_train_batch_size)
            if tried[-1] > rows and len(tried) > calls:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return real(self, model, inputs, *rest, **more)

        monkeypatch.setattr(trainer, "compute_loss", limited)
    return tried


def test_trl_begins_anew_with_fewer_rows_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = tiny().train(EXAMPLES, tmp_path / "whole", config=config(backend="trl"), seed=0)
    tried = trl_fails_above(monkeypatch, 1, calls=2)
    summary = tiny().train(EXAMPLES, tmp_path / "less", config=config(backend="trl"), seed=0)
    assert tried[:3] == [4, 4, 4] and 2 in tried and tried[-1] == 1
    assert (summary.steps, summary.micro_batch) == (3, 1)
    assert len(summary.losses) == len(plain.losses) == 3  # of the try that counts
    assert "memory ran out with 4 rows" in caplog.text
    same(tmp_path / "less", tmp_path / "whole", rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("adapter", ["lora", "full"])
@pytest.mark.parametrize("backend", ["loop", "trl"])
def test_activations_computed_again_change_no_student(backend: str, adapter: str, tmp_path: Path) -> None:
    counted: list[int] = []
    for again in (False, True):
        settings = config(backend=backend, adapter=adapter, gradient_checkpointing=again)
        learner = tiny()
        calls = count_layers(learner)
        learner.train(EXAMPLES, tmp_path / str(again), config=settings, seed=0)
        counted.append(len(calls))
        learner.load(tmp_path / str(again))
        fresh = tiny()
        fresh.load(tmp_path / str(again))
        assert learner.predict(["Add 1 and 1."]) == fresh.predict(["Add 1 and 1."])
    assert counted[1] > counted[0]
    same(tmp_path / "True", tmp_path / "False", rtol=1e-3, atol=2e-5)


def count_layers(learner: TransformersStudent) -> list[int]:
    """Grows by one with each call of a decoder layer while the learner trains."""
    calls: list[int] = []
    real = learner._base

    def counting(*arguments: Any, **options: Any) -> Any:
        model = real(*arguments, **options)
        for layer in model.model.layers:
            layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
        return model

    learner._base = counting  # type: ignore[method-assign]
    return calls
