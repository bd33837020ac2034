"""Training: what happens when memory runs out or the loss is no number, and what is trained in which way."""

import gc
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TrainConfig
from dataenvgym.envs.errors import ConfigError, DataError, DivergedError, TrainingError
from dataenvgym.envs.students import loop, make_student, preference, smollm, trl_backend, weights
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.loop import Encoded, accumulate, completion_logits, parts
from dataenvgym.envs.types import Example

ADAPTER, WHOLE = "adapter_model.safetensors", "model.safetensors"
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


def moved(one: Path, two: Path) -> bool:
    mine, theirs = read(one), read(two)
    return all(bool((mine[name] != theirs[name]).any()) for name in mine)


# Memory.


@pytest.mark.parametrize("micro", [1, 2, 3, 4])
def test_rows_computed_a_few_at_a_time_have_the_gradients_of_all_at_once(micro: int, own_cache: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm.tiny_folder(), dtype=torch.float64)
    rows = [Encoded([5, 9, *ids], 2 + n) for ids, n in (([7, 8, 3, 9], 2), ([6, 4], 1), ([3] * 9, 1), ([8, 8], 1))]
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
    with pytest.raises(ConfigError, match="holds a whole model"):
        tiny().train(EXAMPLES, tmp_path / "b", config=config(), seed=0, start=tmp_path / "full")


def test_trl_without_padding_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU with flash attention; here the mask that transformers makes from the positions stands in for it."""
    tiny().train(EXAMPLES, tmp_path / "padded", config=config(backend="trl"), seed=0)
    monkeypatch.setattr(trl_backend, "flattens", lambda model: True)
    tiny().train(EXAMPLES, tmp_path / "flat", config=config(backend="trl"), seed=0)
    same(tmp_path / "flat", tmp_path / "padded", rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_weights_gathered_from_several_processes_are_written_the_same(adapter: str, tmp_path: Path) -> None:
    """As FSDP gathers them; accelerate runs FSDP on GPUs only."""
    settings = config(adapter=adapter)
    for name in ("plain", "gathered"):
        learner = tiny()
        model = learner._trainable(settings, None, mixed=False)
        state = {key: value.detach().clone() for key, value in model.state_dict().items()}
        if adapter == "lora":
            state = {key: value for key, value in state.items() if "lora_A" not in key} | {
                key: value.zero_() + 0.5 for key, value in state.items() if "lora_A" in key
            }
            model.load_state_dict(state)
        if name == "gathered":
            for weight in model.parameters():
                weight.data.zero_()  # of which a process holds a part
        weights.write(model, tmp_path / name, "float32", state if name == "gathered" else None)
    same(tmp_path / "plain", tmp_path / "gathered")


def test_both_backends_have_the_same_loss(tmp_path: Path) -> None:
    """At the first step of all rows; what follows is shuffled differently."""
    first = []
    for backend in ("loop", "trl"):
        settings = config(backend=backend, batch_size=len(EXAMPLES))
        first.append(tiny().train(EXAMPLES, tmp_path / backend, config=settings, seed=0).losses[0])
    assert first[0] == pytest.approx(first[1], rel=1e-3)


@pytest.mark.parametrize("settings", [{"backend": "trl"}, {"method": "dpo"}])
def test_one_process_trains_on_one_gpu_though_it_sees_two(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No GPU is needed: TRL refuses by the number that its arguments tell."""
    real = trl_backend.one_gpu

    def with_two(args: Any) -> Any:
        assert args.n_gpu <= 1
        args._n_gpu = 2
        return real(args)

    for module in (trl_backend, preference):
        monkeypatch.setattr(module, "one_gpu", with_two)
    rows = [e._replace(rejected="no") for e in EXAMPLES]
    assert tiny().train(rows, tmp_path / "out", config=config(**settings), seed=0).steps > 0


def test_trl_is_refused_on_another_gpu_than_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    student = tiny()
    monkeypatch.setattr(student, "device", "cuda:1")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=1"):
        student.train(EXAMPLES, tmp_path / "out", config=config(backend="trl"), seed=0)


def test_nothing_of_a_training_stays_in_memory(tmp_path: Path) -> None:
    from transformers import PreTrainedModel

    def models() -> int:
        gc.collect()  # other tests leave models in cycles
        return sum(issubclass(type(one), PreTrainedModel) for one in gc.get_objects())

    student, before = tiny(), models()
    student.train(EXAMPLES, tmp_path / "out", config=config(backend="trl"), seed=0)
    student.close()
    assert models() == before


def test_liger_is_used_on_a_gpu_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed: the package's entry point is a stand-in that writes down what it is asked."""
    import sys
    from types import ModuleType

    from transformers import AutoModelForCausalLM, utils

    asked: list[dict[str, Any]] = []
    module = ModuleType("liger_kernel.transformers")
    module._apply_liger_kernel_to_instance = lambda **given: asked.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", module)
    model = AutoModelForCausalLM.from_pretrained(smollm.tiny_folder())
    assert not weights.apply_liger(model, "cpu")
    monkeypatch.setattr(utils, "is_liger_kernel_available", lambda: False)
    assert not weights.apply_liger(model, "cuda")
    monkeypatch.setattr(utils, "is_liger_kernel_available", lambda: True)
    from transformers.integrations import liger

    monkeypatch.setattr(liger, "is_liger_kernel_available", lambda: True)
    assert weights.apply_liger(model, "cuda")
    assert [g["model"] for g in asked] == [model]
    assert not asked[0]["fused_linear_cross_entropy"] and not asked[0]["cross_entropy"]


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no rejected text"):
        tiny().train(EXAMPLES, tmp_path / "a", config=config(method="dpo"), seed=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="several need trl"):
        tiny().train(EXAMPLES, tmp_path / "a", config=config(), seed=0)
    pair = [EXAMPLES[0]._replace(rejected="no")]
    with pytest.raises(ConfigError, match="use adapter lora"):
        tiny().train(pair, tmp_path / "a", config=config(method="dpo", adapter="full"), seed=0)
    assert not (tmp_path / "a").exists()


def test_the_keys_of_plain_students_name_what_they_named_before() -> None:
    plain = {
        "backend": "loop",
        "start": "base",
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": 1.5e-3,
        "warmup_steps": 5,
        "lora_rank": 16,
        "lora_layers": "mlp",
        "last_layers": None,
        "max_length": None,
    }
    assert TrainConfig().identity() == plain
    how = {"micro_batch": 1, "gradient_checkpointing": True, "liger": "off", "process": True, "launch": "x"}
    assert TrainConfig.model_validate(how).identity() == plain
    for change in ({"method": "dpo"}, {"adapter": "full"}):
        assert TrainConfig.model_validate(change).identity() != plain
    assert TrainConfig(beta=0.3).identity() == plain
    assert TrainConfig(method="dpo", beta=0.3).identity() != TrainConfig(method="dpo").identity()
