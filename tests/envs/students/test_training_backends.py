"""The backends of training: TRL, liger, several GPUs, and settings that do not go together."""

from pathlib import Path
from typing import Any

import pytest
from small_training import EXAMPLES, config, same, tiny

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.students import preference, smollm, trl_backend, weights


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


def test_both_backends_have_the_same_losses_and_learning_rates(tmp_path: Path) -> None:
    """Each step has all rows, since the backends shuffle differently; the warm-up is in the losses."""
    losses = []
    for backend in ("loop", "trl"):
        settings = config(backend=backend, batch_size=len(EXAMPLES), epochs=6, warmup_steps=3)
        losses.append(tiny().train(EXAMPLES, tmp_path / backend, config=settings, seed=0).losses)
    assert len(losses[0]) == 6 and losses[0][1] < losses[0][0], "the first step learns already"
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_batch_that_the_processes_cannot_share_evenly_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else 10 rows a step would be 8 in four processes, under the same key as a student trained with 10."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match=r"10 rows cannot be shared evenly by 4 processes; set 8 or 12"):
        tiny().train(EXAMPLES, tmp_path / "out", config=config(backend="trl", batch_size=10), seed=0)
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ConfigError, match=r"4 rows cannot be shared evenly by 8 processes; set 8$"):
        tiny().train(EXAMPLES, tmp_path / "out", config=config(backend="trl", batch_size=4), seed=0)


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
