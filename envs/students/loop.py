"""The fast training loop: loss at completion positions only, for adapters or all weights.

TRL's SFTTrainer is the other backend (envs/students/trl_backend.py). This loop exists for speed on small
batches. The rows of a batch are packed into one sequence; on a CPU the common beginning of all prompts stands
there once, in front. Hidden states are gathered at the completion positions before the output head. On a GPU the
losses are read one step late, so that the next step is queued while this one is computed. benchmarks/student.py
and benchmarks/gpu.py measure the whole.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.errors import DivergedError, TrainingError
from dataenvgym.envs.students import row_attention, weights
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.generate import shared_prefix
from dataenvgym.envs.students.meter import Meter
from dataenvgym.envs.students.steps import EncodedRow, Result, Step, batches, parts, schedule

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

GRADIENT_CLIP = 1.0
# The largest change of the logits when rows are packed, in their standard deviations: the mean change by rounding
# (bfloat16: 0.02), and the change at any position when the rows before differ (0 if nothing leaks).
ROUNDING = 0.1
LEAK = 0.001
# A mask separates the rows packed into one sequence; its cost grows as the square of the length.
PACKED_TOKENS = 4096
# The number of rows in the trial of whether a model can be packed.
TRIAL_ROWS = 4
DIVERGED = "the training loss became {}"
LOWER_RATE = "A lower student.train.learning_rate is the first thing to try."


def fit(
    model: Any,
    rows: Sequence[EncodedRow],
    *,
    config: TrainConfig,
    seed: int,
    pad_token: int,
    meter: Meter | None = None,
    mixed: bool = False,
) -> TrainSummary:
    """Train the trainable parameters of a causal LM (with PEFT's adapters or bare) on the rows.

    `mixed`: compute in bfloat16 on weights in float32. Each step has `config.batch_size` rows, computed
    `config.micro_batch` at a time. When memory runs out, `micro_batch` is halved and the step is computed again.

    Raises:
        DivergedError: the loss or the weights became NaN or infinite.
        TrainingError: memory ran out with one row at a time.
    """
    import torch

    meter = meter or Meter(str(model.device))
    meter.begin()
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
    entropy = cross_entropy(model, fused=config.liger == "auto")
    behind = 1 if model.device.type == "cuda" else 0

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
    unread: deque[Step] = deque()

    def read(step: Step) -> float:
        """Read the loss of a step and record the hits of its rows."""
        loss = step.result.loss()
        if not math.isfinite(loss):
            raise DivergedError(f"{DIVERGED.format(loss)} at step {step.number} of {len(plan)}. {LOWER_RATE}")
        missed = step.result.missed()
        for position, index in enumerate(step.rows):
            if hits[index] is None:
                hits[index] = position not in missed
        meter.step(step.number, len(plan), loss, step.tokens)
        return loss

    for number, chosen in enumerate(plan, 1):
        batch = [rows[i] for i in chosen]
        with precision:
            micro, result = halving(
                partial(accumulate, model, batch, pad_token=pad_token, prefix=prefix, entropy=entropy),
                micro,
                meter,
                free,
            )
        hand_over(copied)
        torch.nn.utils.clip_grad_norm_(exact, GRADIENT_CLIP)
        optimiser.step()
        if copied:
            with torch.no_grad():
                torch._foreach_copy_([weight for weight, _ in copied], [copy for _, copy in copied])
        scheduler.step()
        free()
        size = sum(len(row.ids) for row in batch)
        tokens += size
        unread.append(Step(number, chosen, size, result))
        if len(unread) > behind:
            loss = read(unread.popleft())
    while unread:
        loss = read(unread.popleft())
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


def hand_over(copied: Sequence[tuple[Any, Any]]) -> None:
    """Copy the gradients of weights in bfloat16 to their copies in float32, in few kernels."""
    import torch

    for weight, copy in copied:
        copy.grad = None if weight.grad is None else torch.empty_like(copy)
    given = [(weight.grad, copy.grad) for weight, copy in copied if weight.grad is not None]
    if given:
        torch._foreach_copy_([to for _, to in given], [grad for grad, _ in given])


def check_finite(weights: Sequence[torch.Tensor], steps: int) -> None:
    """Raise DivergedError if a weight is NaN or infinite after `steps` steps."""
    import torch

    if not all(bool(torch.isfinite(w).all()) for w in weights):
        raise DivergedError(f"the weights became NaN or infinite in a training of {steps} steps. {LOWER_RATE}")


def halving(
    work: Callable[[int], T], micro: int, meter: Meter, free: Callable[[], None], whole: int | None = None
) -> tuple[int, T]:
    """Call `work(micro)`, halving `micro` each time memory runs out; return the last `micro` and the result.

    `free`: frees the memory of a failed try. `whole`: a number that `micro` must divide, or None.

    Raises:
        TrainingError: memory ran out with `micro` at 1.
    """
    import torch

    while True:
        try:
            return micro, work(micro)
        except torch.OutOfMemoryError as error:
            message = str(error).splitlines()[0] if str(error) else "out of memory"
        # Outside the handler: its traceback would keep the failed try's tensors alive.
        free()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if micro == 1:
            raise TrainingError(
                f"the training ran out of memory with one row at a time ({message}). Less is needed with "
                "student.train.gradient_checkpointing=true, a smaller student.train.max_length, "
                "student.train.adapter=lora or a smaller student."
            )
        smaller = micro // 2
        while whole is not None and whole % smaller:
            smaller -= 1
        meter.note(f"memory ran out with {micro} rows at a time; the training continues with {smaller} at a time")
        micro = smaller


def cross_entropy(model: Any, fused: bool) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the function for the summed cross-entropy of logits [n, vocabulary] and labels [n], in float32.

    `fused`: use Liger's kernel on a GPU if it is installed. It overwrites the logits with their gradient and
    makes no float32 copy. So it does not suit models that change the logits after the head, because their own
    gradients need the logits. It rounds each token's loss to the logits' number format.
    """
    import torch

    settings = model.config.get_text_config()
    changed = _logit_scale(settings) != 1 or getattr(settings, "final_logit_softcapping", None)
    if fused and not changed and weights.liger_usable(str(model.device)):
        from liger_kernel.transformers.functional import liger_cross_entropy

        return lambda logits, labels: liger_cross_entropy(logits, labels, reduction="none").float().sum()
    return lambda logits, labels: torch.nn.functional.cross_entropy(logits.float(), labels) * len(labels)


def accumulate(
    model: Any,
    rows: Sequence[EncodedRow],
    micro: int,
    *,
    pad_token: int,
    prefix: int | None,
    entropy: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> Result:
    """Add the gradients of the mean loss over the learnt tokens of all rows, computed `micro` rows at a time.

    `entropy`: the summed cross-entropy of logits and labels; None: torch's.
    """
    entropy = entropy or cross_entropy(model, fused=False)
    learnt = sum(len(row.ids) - row.prompt for row in rows)
    lengths = [len(row.ids) - (prefix or 0) for row in rows]
    masked = prefix is not None and not row_attention.installed(model)
    losses, wrong = [], []
    for part in parts(lengths, micro, PACKED_TOKENS if masked else None):
        logits, labels, owner = completion_logits(model, [rows[i] for i in part], pad_token, prefix)
        differs = (logits.detach().argmax(-1) != labels).long()
        loss = entropy(logits, labels) / learnt
        loss.backward()
        losses.append(loss.detach())
        wrong.append((part, differs.new_zeros(len(part)).index_add_(0, owner, differs)))
    return Result(losses, wrong)


def completion_logits(
    model: Any, rows: Sequence[EncodedRow], pad_token: int, prefix: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute (logits [n, vocabulary], labels [n], row index [n]) at the n completion positions of a batch.

    `prefix`: the number of tokens that all prompts begin with. The batch is then one sequence without padding: the
    prefix once, then the rest of each row, which attends to the prefix and itself only. None: a padded batch. A
    model with row attention (envs/students/row_attention.py) needs a prefix of 0.
    """
    import torch

    def put(values: Any) -> torch.Tensor:
        return row_attention.on(model.device, torch.tensor(values))

    inputs: dict[str, Any]
    if prefix is None:
        width = max(len(r.ids) for r in rows)
        ids = put([r.ids + [pad_token] * (width - len(r.ids)) for r in rows])
        inputs = {"attention_mask": put([[t < len(r.ids) for t in range(width)] for r in rows])}
        starts, rest = [width * number for number in range(len(rows))], [r.ids for r in rows]
    else:
        rest = [r.ids[prefix:] for r in rows]
        starts = [prefix + sum(len(tail) for tail in rest[:number]) for number in range(len(rows))]
        ids = put([rows[0].ids[:prefix] + [t for tail in rest for t in tail]])
        positions = put([*range(prefix), *(prefix + i for tail in rest for i in range(len(tail)))])
        if row_attention.installed(model) and not prefix:
            inputs = row_attention.boundaries([len(tail) for tail in rest], model.device)
        else:
            owner = put([-1] * prefix + [number for number, tail in enumerate(rest) for _ in tail])
            sees = ((owner[:, None] == owner) | (owner == -1)) & (positions[:, None] >= positions)
            inputs = {"attention_mask": sees[None, None]}
        inputs["position_ids"] = positions[None]
    # Token t is predicted at t - 1, so a completion is learnt from the prompt's last token to the last but one.
    first = [r.prompt - 1 - (prefix or 0) for r in rows]
    spans = [range(f, len(tail) - 1) for f, tail in zip(first, rest, strict=True)]
    at = put([s + t for s, span in zip(starts, spans, strict=True) for t in span])
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.get_decoder()(input_ids=ids, use_cache=False, **inputs).last_hidden_state
    logits = base.get_output_embeddings()(hidden.flatten(0, 1).index_select(0, at))
    settings = base.config.get_text_config()
    scale = _logit_scale(settings)
    if scale != 1:
        logits = logits * scale
    cap = getattr(settings, "final_logit_softcapping", None)
    if cap:  # Gemma 2 squashes its logits after the head
        logits = torch.tanh(logits / cap) * cap
    row = put([number for number, span in enumerate(spans) for _ in span])
    return logits, ids.flatten()[at + 1], row


def _logit_scale(settings: Any) -> float:
    """Return the factor that a model family applies to its logits after the head.

    Cohere, Muse Glimmer, Falcon-H1, Granite, MiniCPM3, HyperCLOVA X, in this order, by the keys of their configs
    (as TRL's `add_fused_lm_head` reads them).
    """
    for key in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(settings, key, None) is not None:
            return float(getattr(settings, key))
    scaling = getattr(settings, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling if settings.model_type == "hyperclovax" else 1 / scaling)


def packing_prefix(model: Any, rows: Sequence[EncodedRow], size: int, pad_token: int) -> int | None:
    """Find the prefix to pack batches with; None if this model cannot be packed.

    Some models mix neighbouring tokens outside their attention (convolutions, state spaces) or ignore a given mask
    or given positions, so rows would leak into each other. Their configs show it, and a trial on the first batch
    confirms it. The packed batch must give the logits of the padded one up to rounding. Its last row must give the
    same logits after other rows of the same lengths, exactly: if nothing leaks, the sums are the same. Row
    attention that fails the trial is removed.
    """
    if not _attends_freely(model.config.get_text_config(), max(len(r.ids) for r in rows)):
        return None
    if row_attention.installed(model):
        if _packs(model, rows, size, pad_token, 0):
            return 0
        row_attention.remove(model)
    prefix = shared_prefix([r.ids[: r.prompt] for r in rows])
    return prefix if _packs(model, rows, size, pad_token, prefix) else None


def _packs(model: Any, rows: Sequence[EncodedRow], size: int, pad_token: int, prefix: int) -> bool:
    """Tell whether the packed first batch gives the logits of the padded one, without a leak between rows."""
    import torch

    first = next(parts([len(r.ids) - prefix for r in rows], min(size, TRIAL_ROWS), PACKED_TOKENS))
    trial = [rows[i] for i in first]
    with torch.no_grad():
        try:
            packed = completion_logits(model, trial, pad_token, prefix)[0].float()
            others = completion_logits(model, _others(model, trial, prefix), pad_token, prefix)[0].float()
        except torch.OutOfMemoryError:
            raise  # it is a RuntimeError too
        except (ValueError, RuntimeError, TypeError, NotImplementedError):
            return False  # a model that refuses such a mask raises one of these; it trains padded
        padded = completion_logits(model, trial, pad_token)[0].float()
    last = len(trial[-1].ids) - trial[-1].prompt
    moved = float((packed - padded).abs().mean() / padded.std())
    leaked = float((packed - others)[-last:].abs().mean(-1).max() / padded.std())
    return moved < ROUNDING and leaked < LEAK


def _others(model: Any, rows: Sequence[EncodedRow], prefix: int) -> list[EncodedRow]:
    """Make rows of the same lengths with other tokens after the prefix; the last row stays the same."""
    size = model.get_input_embeddings().weight.shape[0]
    return [
        *(EncodedRow([*r.ids[:prefix], *((t + 1) % size for t in r.ids[prefix:])], r.prompt) for r in rows[:-1]),
        rows[-1],
    ]


def _attends_freely(settings: Any, longest: int) -> bool:
    """Tell whether only attention without a window mixes the tokens of a row of that length."""
    kinds = set(getattr(settings, "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention", "attention"}:
        return False
    if any(key.startswith(("mamba", "ssm", "conv", "linear_")) for key in settings.to_dict()):
        return False
    window = getattr(settings, "sliding_window", None) if not kinds or "sliding_attention" in kinds else None
    return window is None or longest <= window
