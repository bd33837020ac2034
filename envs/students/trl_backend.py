"""TRL's SFTTrainer as the training backend: the same rows, the same loss positions, TRL's own loop.

It also trains in several processes started by `accelerate launch` (envs/students/worker.py). The code shared with
the DPOTrainer (envs/students/preference.py) is here.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import ConfigError, DivergedError
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.loop import DIVERGED, GRADIENT_CLIP, LOWER_RATE, check_finite, halving
from dataenvgym.envs.students.meter import Meter
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.students.steps import EncodedRow, schedule

Weights = dict[str, Any]
"""The trained weights by name, if they are gathered from several processes."""


def fit_trl(
    model: Any,
    tokenizer: Any,
    rows: Sequence[EncodedRow],
    *,
    config: TrainConfig,
    seed: int,
    meter: Meter,
    mixed: bool = False,
) -> tuple[TrainSummary, Weights | None]:
    """Train the trainable parameters of a causal LM with SFTTrainer, which cannot report `hits`.

    With flash attention, batches are flattened into one sequence without padding.

    Raises:
        DivergedError: the loss or the weights became NaN or infinite.
        TrainingError: memory ran out with one row at a time.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_dict(
        {
            "input_ids": [r.ids for r in rows],
            "labels": [[-100] * r.prompt + r.ids[r.prompt :] for r in rows],
        }
    )
    flat = flattens(model)

    def trainer(folder: str, micro: int, accumulation: int) -> Any:
        return scheduled(SFTTrainer, config)(
            model=model,
            processing_class=tokenizer,
            train_dataset=data,
            args=one_gpu(
                SFTConfig(
                    **arguments(meter.device, config, seed, folder, micro, accumulation, mixed),
                    max_length=None,  # the rows are cut already
                    padding_free=flat,
                )
            ),
        )

    tokens = config.epochs * sum(len(r.ids) for r in rows)
    return run(model, trainer, config=config, meter=meter, rows=len(rows), tokens=tokens)


def scheduled(kind: Any, config: TrainConfig) -> Any:
    """Make a trainer class with the learning rates of the own loop; transformers has 0 for the first step."""

    class Scheduled(kind):  # type: ignore[misc]
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            from torch.optim.lr_scheduler import LambdaLR

            if getattr(self, "lr_scheduler", None) is None:
                factor = schedule(config, num_training_steps)
                self.lr_scheduler: Any = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
            return self.lr_scheduler

    return Scheduled


def sharded() -> bool:
    """Tell whether accelerate spreads the weights over the GPUs of several processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def one_gpu(args: Any) -> Any:
    """Limit the trainer to one GPU per process; with more, it would use DataParallel, which TRL refuses."""
    if args.n_gpu > 1:
        args._n_gpu = 1
    return args


def flattens(model: Any) -> bool:
    """Tell whether rows may share one sequence without a mask, because flash attention separates them."""
    return "flash" in str(model.config._attn_implementation)


def arguments(
    device: str, config: TrainConfig, seed: int, folder: str, micro: int, accumulation: int, mixed: bool
) -> dict[str, Any]:
    """Build the arguments shared by both trainers."""
    return {
        "output_dir": folder,
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": config.learning_rate,
        "weight_decay": 0.0,
        "max_grad_norm": GRADIENT_CLIP,
        "gradient_checkpointing": config.gradient_checkpointing,
        "bf16": mixed,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # otherwise a NaN is logged as the mean of the earlier losses
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        "use_cpu": device == "cpu",
    }


def world_size() -> int:
    """Return the number of processes, set by the launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Tell whether this process is rank 0, which writes files and prints."""
    return os.environ.get("RANK", "0") == "0"


def run(
    model: Any,
    make: Callable[[str, int, int], Any],
    *,
    config: TrainConfig,
    meter: Meter,
    rows: int,
    tokens: int,
) -> tuple[TrainSummary, Weights | None]:
    """Train with the trainer that `make(folder, rows at a time, batches per step)` returns.

    When memory runs out, the training starts again with half as many rows at a time. Several processes cannot do
    this, because the others would wait for the one that failed.

    Raises:
        ConfigError: the processes cannot share a batch evenly, so that another batch size would be trained with.
    """
    meter.begin()
    share, over = divmod(config.batch_size, world_size())
    if over:
        near = [size for size in (config.batch_size - over, config.batch_size - over + world_size()) if size]
        raise ConfigError(
            f"student.train.batch_size: {config.batch_size} rows cannot be shared evenly by {world_size()} "
            f"processes; set {' or '.join(map(str, near))}"
        )
    micro = next(m for m in range(min(config.micro_batch or share, share), 0, -1) if share % m == 0)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    again = micro > 1 and world_size() == 1
    before = {name: p.detach().to("cpu", copy=True) for name, p in trainable.items()} if again else {}

    def free() -> None:
        import torch

        meter.again()
        with torch.no_grad():
            for name, weight in before.items():
                trainable[name].copy_(weight)
        model.zero_grad(set_to_none=True)

    def work(micro: int) -> tuple[Any, Weights | None]:
        with tempfile.TemporaryDirectory() as folder, quiet_transformers():
            trainer = make(folder, micro, share // micro)
            _listen(trainer, meter, tokens)
            found = trainer.train()
            gathered = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
            return found, gathered

    if world_size() > 1:
        found, gathered = work(micro)
    else:
        micro, (found, gathered) = halving(work, micro, meter, free, whole=share)
    if gathered is None:
        check_finite(list(trainable.values()), found.global_step)
    elif is_main():
        check_finite(list(gathered.values()), found.global_step)
    summary = TrainSummary(
        rows=rows,
        steps=found.global_step,
        tokens=tokens,
        final_loss=meter.last_loss,
        micro_batch=micro,
        **meter.measured(),
    )
    return summary, gathered


def _listen(trainer: Any, meter: Meter, tokens: int) -> None:
    """Report each step of the trainer to the meter only."""
    from transformers import PrinterCallback, TrainerCallback

    class Listen(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                loss = float(logs["loss"])
                if not math.isfinite(loss):
                    where = f"at step {state.global_step} of {state.max_steps}"
                    raise DivergedError(f"{DIVERGED.format(loss)} {where}. {LOWER_RATE}")
                meter.step(state.global_step, state.max_steps, loss, round(tokens / state.max_steps))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Listen())
