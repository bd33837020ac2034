"""Preference training: TRL's DPOTrainer on pairs of a right completion and the student's own wrong answer.

Rafailov et al. 2023, "Direct Preference Optimization". The reference is the student that training starts from:
with an adapter its frozen copy beside the trained one, in full training its log-probabilities computed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.meter import Meter
from dataenvgym.envs.students.trl_backend import Weights, arguments, one_gpu, run, scheduled, world_size


class Pair(NamedTuple):
    """A prompt and two continuations, as token ids, each with its end token."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def fit_dpo(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[Pair],
    *,
    config: TrainConfig,
    seed: int,
    meter: Meter,
    mixed: bool = False,
) -> tuple[TrainSummary, Weights | None]:
    """Train the trainable parameters of a causal LM to prefer `chosen` to `rejected`, at strength `config.beta`.

    Raises:
        ConfigError: full training in several processes.
        DivergedError: the loss or the weights became NaN or infinite.
        TrainingError: memory ran out with one pair at a time.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):  # type: ignore[misc]
        """Keeps the given tokens: TRL would tokenize texts in its own prompt form, not in that of scoring."""

        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

    adapter = hasattr(model, "peft_config")
    if not adapter and world_size() > 1:
        raise ConfigError("student.train: method dpo with adapter full runs in one process; use adapter lora")
    data = Dataset.from_dict(
        {
            "prompt_ids": [p.prompt for p in pairs],
            "chosen_ids": [p.chosen for p in pairs],
            "rejected_ids": [p.rejected for p in pairs],
        }
    )

    def trainer(folder: str, micro: int, accumulation: int) -> Any:
        if adapter and "ref" in model.peft_config:  # left by a try that ran out of memory
            model.delete_adapter("ref")
        return scheduled(Trainer, config)(
            model=model,
            processing_class=tokenizer,
            train_dataset=data,
            args=one_gpu(
                DPOConfig(
                    **arguments(meter.device, config, seed, folder, micro, accumulation, mixed),
                    beta=config.beta,
                    max_length=None,  # the rows are cut already
                    precompute_ref_log_probs=not adapter,
                )
            ),
        )

    tokens = config.epochs * sum(2 * len(p.prompt) + len(p.chosen) + len(p.rejected) for p in pairs)
    found = run(model, trainer, config=config, meter=meter, rows=len(pairs), tokens=tokens)
    if adapter:
        model.delete_adapter("ref")
    return found
