"""Read and write a student's weights, as an adapter or whole, and make them trainable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import ConfigError, MissingDependencyError
from dataenvgym.envs.students.quiet import quiet_transformers

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
# One file, or the index of several.
WHOLE = ("model.safetensors", "model.safetensors.index.json")


def is_whole(folder: Path) -> bool:
    """Tell whether a trained student's folder holds a whole model rather than an adapter."""
    return not (folder / ADAPTER_CONFIG).is_file() and any((folder / name).is_file() for name in WHOLE)


def fingerprint(folder: Path | None) -> tuple[int, int] | None:
    """Return (inode, mtime in ns) of the weights file in a folder; both survive a rename of the folder."""
    if folder is None:
        return None
    names = WHOLE if is_whole(folder) else (ADAPTER,)
    found = next(folder / name for name in names if (folder / name).is_file() or name == names[-1]).stat()
    return found.st_ino, found.st_mtime_ns


def damage(folder: Path) -> str | None:
    """What is damaged in a folder of weights, such as a file that was cut; None where all can be read."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(str(file), "np") as weights:
                weights.keys()
        except Exception as error:  # its own error, or one of the operating system
            return f"{file.name}: {error}"
    for file in sorted(folder.glob("*.json")):
        try:
            json.loads(file.read_text())
        except ValueError as error:
            return f"{file.name}: {error}"
    return None if folder.is_dir() else "the folder is missing"


def read_model(path: str | Path, dtype: str, device: str, adapter: Path | None = None, **options: Any) -> Any:
    """Load a causal LM from a folder or hub id, with an adapter merged into it.

    Raises:
        MissingDependencyError: no model can be loaded from there.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with quiet_transformers(), explain_missing(str(path)):
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), **options)
        if adapter is not None:
            model = merge(model, adapter)
    return model.to(device)


def merge(model: Any, adapter: Path) -> Any:
    """Merge an adapter into the weights of the model."""
    import peft

    with quiet_transformers():
        adapted = peft.PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
    return adapted.merge_and_unload()


def make_trainable(base: Any, config: TrainConfig, start: Path | None, exact: bool) -> Any:
    """Prepare the trainable model: the base with the adapter of `start` or a fresh one, or the whole base.

    `exact`: keep the adapter in float32, whatever the number format of the base. In bfloat16 most small steps are
    lost to rounding, unless the trainer updates float32 copies.

    Raises:
        ConfigError: an adapter should continue from a folder that holds a whole model.
    """
    import peft

    if config.adapter == "full":
        return base.requires_grad_(True)
    if start is not None:
        if is_whole(start):
            raise ConfigError(
                f"student.train.adapter is lora, but the student to continue from, {start}, is a whole model; use "
                "full"
            )
        return peft.PeftModel.from_pretrained(base, str(start), is_trainable=True, autocast_adapter_dtype=exact)
    layers: int = base.config.num_hidden_layers
    lora = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=0.0,
        target_modules=linear_layers(base, config.lora_layers),
        layers_to_transform=(
            None if config.last_layers is None else list(range(max(0, layers - config.last_layers), layers))
        ),
        task_type="CAUSAL_LM",
    )
    with quiet_transformers():
        return peft.get_peft_model(base, lora, autocast_adapter_dtype=exact)


def write(model: Any, folder: Path, dtype: str, gathered: dict[str, Any] | None = None) -> None:
    """Write the adapter, or the whole model in the number format for reading it, as safetensors.

    `gathered`: the weights, if several processes hold parts of them.
    """
    import torch

    if hasattr(model, "peft_config"):
        model.save_pretrained(str(folder), state_dict=gathered)
        return
    with quiet_transformers():
        if gathered is None:
            model = model.to(getattr(torch, dtype))
        else:
            tied = getattr(model, "all_tied_weights_keys", {})  # gathered weights no longer share memory
            gathered = {n: w.to(getattr(torch, dtype)) for n, w in gathered.items() if n not in tied}
        model.save_pretrained(str(folder), state_dict=gathered)


def linear_layers(model: Any, which: str) -> list[str]:
    """Return the names of the decoder's linear layers.

    All: those of PEFT's "all-linear", which cannot be combined with a choice of layers. mlp: those outside
    attention, which learn as much alone (Schulman et al. 2025, "LoRA Without Regret"; docs/measurements.md).
    """
    import torch

    head = model.get_output_embeddings()
    paths = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    outside = [path for path in paths if "attn" not in path and "attention" not in path]
    chosen = outside if which == "mlp" and outside else paths
    return sorted({path.rsplit(".", 1)[-1] for path in chosen})


def checkpoint_layers(model: Any, on: bool) -> None:
    """Switch gradient checkpointing, which recomputes each layer's activations in the backward pass, on or off."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    action = "enable" if on else "disable"
    # transformers before 5.20 has only the older name; later versions warn about it.
    newer, older = f"activation_checkpointing_{action}", f"gradient_checkpointing_{action}"
    getattr(base, newer if hasattr(base, newer) else older)()
    if not on:
        base.disable_input_require_grads()
    elif not getattr(base, "_require_grads_hooks", None):
        # With frozen embeddings the first layer's input has no gradient, so nothing would be recomputed.
        base.enable_input_require_grads()


def flash_attention() -> str | None:
    """Return transformers' name for flash attention if the package and a suitable GPU exist; else None."""
    from transformers.utils import is_flash_attn_2_available

    return "flash_attention_2" if is_flash_attn_2_available() else None


def liger_usable(device: str) -> bool:
    """Tell whether Liger's kernels are installed and the device is a GPU."""
    from transformers.utils import is_liger_kernel_available

    return device.startswith("cuda") and bool(is_liger_kernel_available())


def apply_liger(model: Any, device: str) -> bool:
    """Put Liger's kernels into a model on a GPU if the package is installed; return whether it did.

    The loss stays the same, because both backends compute it without the logits of all positions anyway.
    """
    if not liger_usable(device):
        return False
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {"fused_linear_cross_entropy": False, "cross_entropy": False})
    return True


@contextmanager
def explain_missing(path: str) -> Iterator[None]:
    """Turn transformers' OSError for a missing model into a MissingDependencyError with advice."""
    try:
        yield
    except OSError as error:
        raise MissingDependencyError(
            f"student.name: no model can be loaded from {path!r} ({str(error).splitlines()[0]}). Name a folder "
            "with a transformers model, or a model of the hub that is in its cache or can be downloaded."
        ) from error
