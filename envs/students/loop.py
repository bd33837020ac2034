"""The fast training loop: LoRA, loss at completion positions only.

TRL's SFTTrainer is the other backend (envs/students/trl_backend.py). This loop exists for speed on small
batches: hidden states are gathered at the completion positions before the output head, so the
head runs on a 2-D tensor of those rows alone (benchmarks/student.py measures both).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.students.base import Progress, TrainSummary

if TYPE_CHECKING:
    import torch

GRADIENT_CLIP = 1.0
# Batches are cut from pools of this many batches sorted by length: little padding, still shuffled.
POOL = 8


class Encoded(NamedTuple):
    """A training row as token ids; the first `prompt` of them are not learnt."""

    ids: list[int]
    prompt: int


def batches(rows: Sequence[Encoded], size: int, seed: int) -> Iterator[list[int]]:
    """Indices of the rows, each once, in shuffled batches of similar length."""
    rng = random.Random(seed)
    order = list(range(len(rows)))
    rng.shuffle(order)
    cut: list[list[int]] = []
    for start in range(0, len(order), size * POOL):
        pool = sorted(order[start : start + size * POOL], key=lambda i: len(rows[i].ids))
        cut += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(cut)
    yield from cut


def schedule(config: TrainConfig, steps: int) -> Callable[[int], float]:
    """Linear warm-up, then cosine to zero, as a factor of the peak learning rate."""

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / (config.warmup_steps + 1)
        share = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    return factor


def fit(
    model: Any,
    rows: Sequence[Encoded],
    *,
    config: TrainConfig,
    seed: int,
    pad_token: int,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train the trainable parameters of a PEFT causal LM on the rows.

    Raises:
        FloatingPointError: the loss or the weights became NaN or infinite.
    """
    import torch
    from torch.nn.functional import cross_entropy

    began = time.perf_counter()
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=0.0)
    plan = [b for epoch in range(config.epochs) for b in batches(rows, config.batch_size, seed * 1009 + epoch)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule(config, len(plan)))
    hits: list[bool | None] = [None] * len(rows)
    tokens, loss_value = 0, 0.0
    model.train()
    for step, chosen in enumerate(plan):
        logits, labels, owner = completion_logits(model, [rows[i] for i in chosen], pad_token)
        loss = cross_entropy(logits.float(), labels)
        loss_value = float(loss.detach())
        if not math.isfinite(loss_value):
            raise FloatingPointError(f"the training loss became {loss_value} at step {step + 1} of {len(plan)}")
        missed = owner[logits.detach().argmax(-1) != labels].tolist()
        for position, index in enumerate(chosen):
            if hits[index] is None:
                hits[index] = position not in missed
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, GRADIENT_CLIP)
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad(set_to_none=True)
        tokens += sum(len(rows[i].ids) for i in chosen)
        if progress:
            progress(step + 1, len(plan))
    if not all(bool(torch.isfinite(p).all()) for p in trainable):  # no loss was computed after the last step
        raise FloatingPointError(f"the weights became NaN or infinite at the last of {len(plan)} steps")
    model.eval()
    return TrainSummary(
        rows=len(rows),
        steps=len(plan),
        seconds=time.perf_counter() - began,
        tokens=tokens,
        final_loss=loss_value,
        hits=[bool(h) for h in hits],
    )


def completion_logits(
    model: Any, rows: Sequence[Encoded], pad_token: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(logits [n, vocabulary], labels [n], row index [n]) at the n completion positions of a batch."""
    import torch

    width = max(len(r.ids) for r in rows)
    device = model.device
    ids = torch.tensor([r.ids + [pad_token] * (width - len(r.ids)) for r in rows], device=device)
    mask = torch.tensor([[1] * len(r.ids) + [0] * (width - len(r.ids)) for r in rows], device=device)
    # Position t predicts token t + 1, so a completion is learnt from prompt - 1 to the last but one.
    learn = torch.tensor(
        [[r.prompt - 1 <= t < len(r.ids) - 1 for t in range(width - 1)] for r in rows], device=device
    )
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    logits = base.get_output_embeddings()(hidden[:, :-1][learn])
    cap = getattr(base.config, "final_logit_softcapping", None)
    if cap:  # Gemma 2 squashes its logits after the head
        logits = torch.tanh(logits / cap) * cap
    return logits, ids[:, 1:][learn], learn.nonzero()[:, 0]
