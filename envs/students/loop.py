"""The fast training loop: LoRA, loss at completion positions only.

TRL's SFTTrainer is the other backend (envs/students/trl_backend.py). This loop exists for speed on small
batches: the rows of a batch are packed into one sequence that holds the beginning of all prompts once, and
hidden states are gathered at the completion positions before the output head (benchmarks/student.py measures
the whole).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.students.base import Progress, TrainSummary
from dataenvgym.envs.students.generate import shared_prefix

if TYPE_CHECKING:
    import torch

GRADIENT_CLIP = 1.0
# Batches are cut from pools of this many batches sorted by length: little padding, still shuffled.
POOL = 8
# How far, in standard deviations of the logits, rounding may move them when rows are packed (bfloat16: 0.01).
PACKING_TOLERANCE = 0.03


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
    optimiser = torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=0.0, fused=True)
    plan = [b for epoch in range(config.epochs) for b in batches(rows, config.batch_size, seed * 1009 + epoch)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule(config, len(plan)))
    hits: list[bool | None] = [None] * len(rows)
    tokens, loss_value = 0, 0.0
    prefix = packing_prefix(model, rows, config.batch_size, pad_token)
    model.train()
    for step, chosen in enumerate(plan):
        logits, labels, owner = completion_logits(model, [rows[i] for i in chosen], pad_token, prefix)
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
    model: Any, rows: Sequence[Encoded], pad_token: int, prefix: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(logits [n, vocabulary], labels [n], row index [n]) at the n completion positions of a batch.

    `prefix`: how many tokens every prompt begins with. Given, the batch is one sequence without padding: those
    tokens once, then what follows of each row, which sees them and itself alone. None: a padded batch.
    """
    import torch

    device = model.device
    if prefix is None:
        width = max(len(r.ids) for r in rows)
        ids = torch.tensor([r.ids + [pad_token] * (width - len(r.ids)) for r in rows], device=device)
        inputs = {"attention_mask": (torch.arange(width) < torch.tensor([[len(r.ids)] for r in rows])).to(device)}
        starts, rest = [width * number for number in range(len(rows))], [r.ids for r in rows]
    else:
        rest = [r.ids[prefix:] for r in rows]
        starts = [prefix + sum(len(tail) for tail in rest[:number]) for number in range(len(rows))]
        ids = torch.tensor([rows[0].ids[:prefix] + [t for tail in rest for t in tail]], device=device)
        owner = torch.tensor([-1] * prefix + [number for number, tail in enumerate(rest) for _ in tail])
        positions = torch.tensor([*range(prefix), *(prefix + i for tail in rest for i in range(len(tail)))])
        sees = ((owner[:, None] == owner) | (owner == -1)) & (positions[:, None] >= positions)
        inputs = {"attention_mask": sees[None, None].to(device), "position_ids": positions[None].to(device)}
    # Token t is predicted at t - 1, so a completion is learnt from the prompt's last token to the last but one.
    first = [r.prompt - 1 - (prefix or 0) for r in rows]
    spans = [range(f, len(tail) - 1) for f, tail in zip(first, rest, strict=True)]
    at = torch.tensor([s + t for s, span in zip(starts, spans, strict=True) for t in span], device=device)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.get_decoder()(input_ids=ids, use_cache=False, **inputs).last_hidden_state
    logits = base.get_output_embeddings()(hidden.flatten(0, 1)[at])
    cap = getattr(base.config, "final_logit_softcapping", None)
    if cap:  # Gemma 2 squashes its logits after the head
        logits = torch.tanh(logits / cap) * cap
    row = torch.tensor([number for number, span in enumerate(spans) for _ in span], device=device)
    return logits, ids.flatten()[at + 1], row


def packing_prefix(model: Any, rows: Sequence[Encoded], size: int, pad_token: int) -> int | None:
    """The prefix to pack batches with, or None where this model cannot be packed.

    Some models mix neighbouring tokens outside their attention (convolutions, state spaces) or ignore a mask of
    their own, and rows would leak into each other: so the first batch is tried both ways.
    """
    import torch

    prefix = shared_prefix([r.ids[: r.prompt] for r in rows])
    trial = rows[:size]
    with torch.no_grad():
        try:
            packed = completion_logits(model, trial, pad_token, prefix)[0].float()
        except (ValueError, RuntimeError, TypeError, NotImplementedError):
            return None  # a model that takes no mask of this form says so in one of these; padded, it trains
        padded = completion_logits(model, trial, pad_token)[0].float()
    return prefix if float((packed - padded).abs().mean() / padded.std()) < PACKING_TOLERANCE else None
