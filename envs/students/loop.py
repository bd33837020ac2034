"""The fast training loop: loss at completion positions only, for adapters or all weights.

TRL's SFTTrainer is the other backend (envs/students/trl_backend.py). This loop exists for speed on small
batches: the rows of a batch are packed into one sequence that holds the beginning of all prompts once, and
hidden states are gathered at the completion positions before the output head (benchmarks/student.py measures
the whole).
"""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import DivergedError, TrainingError
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.generate import shared_prefix
from dataenvgym.envs.students.meter import Meter

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

GRADIENT_CLIP = 1.0
# Batches are cut from pools of this many batches sorted by length: little padding, still shuffled.
POOL = 8
# How far, in standard deviations of the logits, they may move when rows are packed: by rounding, in the mean
# (bfloat16: 0.02), and by what stands in the rows before, at any position (where nothing leaks: not at all).
ROUNDING = 0.1
LEAK = 0.001
# Rows packed into one sequence are masked from one another, at a cost that grows as the square of its length.
PACKED_TOKENS = 4096
DIVERGED = "the training loss became {}"
LOWER_RATE = "A lower student.train.learning_rate is the first thing to try."


class Encoded(NamedTuple):
    """A training row as token ids; the first `prompt` of them are not learnt. `cut`: it was longer."""

    ids: list[int]
    prompt: int
    cut: bool = False


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
    meter: Meter | None = None,
    mixed: bool = False,
) -> TrainSummary:
    """Train the trainable parameters of a causal LM (with PEFT's adapters or bare) on the rows.

    `mixed`: compute in bfloat16 on weights in float32. Each step is one of `config.batch_size` rows, computed
    `config.micro_batch` at a time; when memory runs out, that is halved and the step is computed again.

    Raises:
        DivergedError: the loss or the weights became NaN or infinite.
        TrainingError: memory ran out with one row at a time.
    """
    import torch

    meter = meter or Meter(str(model.device))
    trainable = [p for p in model.parameters() if p.requires_grad]
    # In bfloat16 most small steps would be lost to rounding, so they are made on copies in float32.
    exact = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for p in trainable]
    copied = [(p, copy) for p, copy in zip(trainable, exact, strict=True) if copy is not p]
    optimiser = torch.optim.AdamW(exact, lr=config.learning_rate, weight_decay=0.0, fused=True)
    plan = [b for epoch in range(config.epochs) for b in batches(rows, config.batch_size, seed * 1009 + epoch)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule(config, len(plan)))
    hits: list[bool | None] = [None] * len(rows)
    tokens, loss = 0, 0.0
    precision = torch.autocast(model.device.type, torch.bfloat16, enabled=mixed)

    def free() -> None:
        optimiser.zero_grad(set_to_none=True)
        for weight, _ in copied:
            weight.grad = None

    with precision:
        micro, prefix = halving(
            lambda micro: packing_prefix(model, rows, micro, pad_token),
            min(config.micro_batch or config.batch_size, config.batch_size),
            meter,
            free,
        )
    model.train()
    for step, chosen in enumerate(plan):
        batch = [rows[i] for i in chosen]
        with precision:
            micro, (loss, missed) = halving(
                partial(accumulate, model, batch, pad_token=pad_token, prefix=prefix), micro, meter, free
            )
        if not math.isfinite(loss):
            raise DivergedError(f"{DIVERGED.format(loss)} at step {step + 1} of {len(plan)}. {LOWER_RATE}")
        for position, index in enumerate(chosen):
            if hits[index] is None:
                hits[index] = position not in missed
        for weight, copy in copied:
            copy.grad = None if weight.grad is None else weight.grad.float()
        torch.nn.utils.clip_grad_norm_(exact, GRADIENT_CLIP)
        optimiser.step()
        with torch.no_grad():
            for weight, copy in copied:
                weight.copy_(copy)
        scheduler.step()
        free()
        size = sum(len(row.ids) for row in batch)
        tokens += size
        meter.step(step + 1, len(plan), loss, size)
    check_finite(trainable, len(plan))  # no loss was computed after the last step
    model.eval()
    return TrainSummary(
        rows=len(rows),
        steps=len(plan),
        tokens=tokens,
        final_loss=loss,
        hits=[bool(h) for h in hits],
        micro_batch=micro,
        **meter.measured(),
    )


def check_finite(weights: Sequence[torch.Tensor], steps: int) -> None:
    """Raise DivergedError where a weight is NaN or infinite after so many steps."""
    import torch

    if not all(bool(torch.isfinite(w).all()) for w in weights):
        raise DivergedError(f"the weights became NaN or infinite in a training of {steps} steps. {LOWER_RATE}")


def halving(
    work: Callable[[int], T], micro: int, meter: Meter, free: Callable[[], None], whole: int | None = None
) -> tuple[int, T]:
    """`work(micro)`, again with half of `micro` each time memory runs out; with the `micro` that went through.

    `free`: lets go of what a failed try has left. `whole`: what `micro` must divide, if anything.

    Raises:
        TrainingError: memory ran out with `micro` at 1.
    """
    import torch

    while True:
        try:
            return micro, work(micro)
        except torch.OutOfMemoryError as error:
            said = str(error).splitlines()[0] if str(error) else "out of memory"
        # Out of the handler, so that the failed try's tensors are no longer held by its traceback.
        free()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if micro == 1:
            raise TrainingError(
                f"the training ran out of memory with one row at a time ({said}). Less is needed with "
                "student.train.gradient_checkpointing=true, a smaller student.train.max_length, "
                "student.train.adapter=lora or a smaller student."
            )
        smaller = micro // 2
        while whole is not None and whole % smaller:
            smaller -= 1
        meter.note(f"memory ran out with {micro} rows at a time; the training goes on with {smaller} at a time")
        micro = smaller


def accumulate(
    model: Any, rows: Sequence[Encoded], micro: int, *, pad_token: int, prefix: int | None
) -> tuple[float, set[int]]:
    """Add the gradients of the mean loss over the learnt tokens of all rows, computed `micro` rows at a time.

    Returns:
        That loss, and the positions of the rows of which the model would have written some token differently.
    """
    from torch.nn.functional import cross_entropy

    learnt = sum(len(row.ids) - row.prompt for row in rows)
    total, missed = 0.0, set()
    lengths, most = [len(row.ids) - (prefix or 0) for row in rows], None if prefix is None else PACKED_TOKENS
    for part in parts(lengths, micro, most):
        logits, labels, owner = completion_logits(model, [rows[i] for i in part], pad_token, prefix)
        loss = cross_entropy(logits.float(), labels) * (len(labels) / learnt)
        loss.backward()
        total += float(loss.detach())
        missed |= {part[row] for row in owner[logits.detach().argmax(-1) != labels].tolist()}
    return total, missed


def parts(lengths: Sequence[int], rows: int, tokens: int | None) -> Iterator[range]:
    """Runs of consecutive rows, at most so many of them and of so many tokens together (but at least one row)."""
    start = 0
    for end in range(1, len(lengths) + 1):
        full = end - start == rows
        if end == len(lengths) or full or (tokens is not None and sum(lengths[start : end + 1]) > tokens):
            yield range(start, end)
            start = end


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
    settings = base.config.get_text_config()
    scale = _logit_scale(settings)
    if scale != 1:
        logits = logits * scale
    cap = getattr(settings, "final_logit_softcapping", None)
    if cap:  # Gemma 2 squashes its logits after the head
        logits = torch.tanh(logits / cap) * cap
    row = torch.tensor([number for number, span in enumerate(spans) for _ in span], device=device)
    return logits, ids.flatten()[at + 1], row


def _logit_scale(settings: Any) -> float:
    """What a family multiplies its logits with after the head: Cohere, Muse Glimmer, Falcon-H1, Granite, MiniCPM3,
    HyperCLOVA X, in this order, by the keys of their configs (as TRL's `add_fused_lm_head` reads them)."""
    for key in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(settings, key, None) is not None:
            return float(getattr(settings, key))
    scaling = getattr(settings, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling if settings.model_type == "hyperclovax" else 1 / scaling)


def packing_prefix(model: Any, rows: Sequence[Encoded], size: int, pad_token: int) -> int | None:
    """The prefix to pack batches with, or None where this model cannot be packed.

    Some models mix neighbouring tokens outside their attention (convolutions, state spaces) or ignore a mask or
    positions of their own, and rows would leak into each other: their configs tell it, and the first batch is
    tried. It must come out as when padded, and its last row as after other rows of the same lengths, which is no
    question of rounding: where nothing leaks, the same sums are made.
    """
    import torch

    if not _attends_freely(model.config.get_text_config(), max(len(r.ids) for r in rows)):
        return None
    prefix = shared_prefix([r.ids[: r.prompt] for r in rows])
    first = next(parts([len(r.ids) - prefix for r in rows], size, PACKED_TOKENS))
    trial = [rows[i] for i in first]
    with torch.no_grad():
        try:
            packed = completion_logits(model, trial, pad_token, prefix)[0].float()
            others = completion_logits(model, _others(model, trial, prefix), pad_token, prefix)[0].float()
        except torch.OutOfMemoryError:
            raise  # it is a RuntimeError too
        except (ValueError, RuntimeError, TypeError, NotImplementedError):
            return None  # a model that takes no mask of this form says so in one of these; padded, it trains
        padded = completion_logits(model, trial, pad_token)[0].float()
    last = len(trial[-1].ids) - trial[-1].prompt
    moved = float((packed - padded).abs().mean() / padded.std())
    leaked = float((packed - others)[-last:].abs().mean(-1).max() / padded.std())
    return prefix if moved < ROUNDING and leaked < LEAK else None


def _others(model: Any, rows: Sequence[Encoded], prefix: int) -> list[Encoded]:
    """Rows of the same lengths with other tokens after the prefix, but for the last, which stays."""
    size = model.get_input_embeddings().weight.shape[0]
    return [
        *(Encoded([*r.ids[:prefix], *((t + 1) % size for t in r.ids[prefix:])], r.prompt) for r in rows[:-1]),
        rows[-1],
    ]


def _attends_freely(settings: Any, longest: int) -> bool:
    """Whether all that mixes the tokens of a row of that length is attention without a window."""
    kinds = set(getattr(settings, "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention", "attention"}:
        return False
    if any(key.startswith(("mamba", "ssm", "conv", "linear_")) for key in settings.to_dict()):
        return False
    window = getattr(settings, "sliding_window", None) if not kinds or "sliding_attention" in kinds else None
    return window is None or longest <= window
