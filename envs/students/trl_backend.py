"""TRL's SFTTrainer as the training backend: the same rows, the same loss positions, TRL's own loop."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from dataenvgym.envs.config import ROW_TOKENS, TrainConfig
from dataenvgym.envs.students.base import Progress, TrainSummary
from dataenvgym.envs.students.loop import GRADIENT_CLIP, Encoded


def fit_trl(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Encoded],
    *,
    config: TrainConfig,
    seed: int,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train the trainable parameters of a PEFT causal LM with SFTTrainer; `hits` is not known to it.

    Raises:
        FloatingPointError: the loss became NaN or infinite.
    """
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Report(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if progress:
                progress(state.global_step, state.max_steps)

    began = time.perf_counter()
    data = Dataset.from_dict(
        {
            "input_ids": [r.ids for r in rows],
            "completion_mask": [[0] * r.prompt + [1] * (len(r.ids) - r.prompt) for r in rows],
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=data,
            args=SFTConfig(
                output_dir=scratch,
                num_train_epochs=config.epochs,
                per_device_train_batch_size=config.batch_size,
                learning_rate=config.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=config.warmup_steps,
                weight_decay=0.0,
                max_grad_norm=GRADIENT_CLIP,
                max_length=config.max_length or ROW_TOKENS,
                completion_only_loss=True,
                gradient_checkpointing=False,
                bf16=False,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=seed,
                use_cpu=model.device.type == "cpu",
            ),
            callbacks=[Report()],
        )
        result = trainer.train()
    if not math.isfinite(result.training_loss):
        raise FloatingPointError(f"the mean training loss is {result.training_loss}")
    return TrainSummary(
        rows=len(rows),
        steps=result.global_step,
        seconds=time.perf_counter() - began,
        tokens=config.epochs * sum(len(r.ids) for r in rows),
        final_loss=float(result.training_loss),
    )
