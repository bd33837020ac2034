"""Attention of packed rows on a GPU: flash attention with the boundaries of the rows.

The alternative, a mask over all pairs of tokens, has a cost that grows as the square of the packed length. torch
has the kernel since 2.11 (`torch.nn.attention.varlen`, compute capability 8 and above), so the package flash-attn,
which is built from source, is not needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "packed_rows"
# The kernel's limits.
LARGEST_HEAD, CAPABILITY = 256, (8, 0)


def install(model: Any, mixed: bool = False) -> bool:
    """Let a model attend within given row boundaries; return whether this model can on this GPU.

    Without boundaries it attends as before, by torch's scaled dot product. `mixed`: the weights are in float32 and
    autocast computes in bfloat16.
    """
    if not _usable(model, mixed):
        return False
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    return installed(model)


def remove(model: Any) -> None:
    """Let a model attend by torch's scaled dot product again."""
    model.set_attn_implementation("sdpa")


def installed(model: Any) -> bool:
    """Tell whether `install` has changed this model."""
    return bool(model.config._attn_implementation == NAME)


def boundaries(lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """Return the decoder's arguments beside ids and positions, for consecutive rows of these lengths."""
    import torch

    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    longest = max(lengths)
    return {
        # Four dimensions, so that transformers takes it as a mask and does not make one.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "cu_seq_lens_q": on(device, ends),
        "cu_seq_lens_k": on(device, ends),
        "max_length_q": longest,
        "max_length_k": longest,
    }


def on(device: torch.device, values: torch.Tensor) -> torch.Tensor:
    """Copy the values to a device, without waiting for the work queued on a GPU."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _usable(model: Any, mixed: bool) -> bool:
    import torch

    settings = model.config.get_text_config()
    heads = getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads
    plain = not getattr(settings, "attention_dropout", 0) and not getattr(settings, "attn_logit_softcapping", None)
    return (
        model.device.type == "cuda"
        and (mixed or model.dtype in (torch.bfloat16, torch.float16))
        and torch.cuda.get_device_capability(model.device) >= CAPABILITY
        and model.config._attn_implementation == "sdpa"
        and plain
        and heads <= LARGEST_HEAD
        and _kernel() is not None
    )


@cache
def _kernel() -> tuple[Callable[..., Any], bool] | None:
    """Return torch's attention for rows of various lengths, and whether it has the argument `enable_gqa` for fewer
    key and value heads than query heads. None if torch is too old."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    if not {"window_size", "scale"} <= set(known):
        return None
    return varlen_attn, "enable_gqa" in known


@cache
def _groups_untold(device: torch.device) -> bool:
    """Tell whether a kernel without `enable_gqa` accepts fewer key and value heads; tried once."""
    import torch

    kernel, _ = _kernel() or (None, False)
    query, key = (torch.ones(2, heads, 64, device=device, dtype=torch.bfloat16) for heads in (2, 1))
    ends = torch.tensor([0, 2], dtype=torch.int32, device=device)
    try:
        return kernel is not None and kernel(query, key, key, ends, ends, 2, 2, window_size=(-1, 0)).shape[1] == 2
    except (ValueError, RuntimeError):
        return False


def _forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend, with the signature that transformers expects. query: [batch, heads, tokens, size], key and value
    perhaps with fewer heads; returns [batch, tokens, heads, size]. With boundaries the batch is 1."""
    found = _kernel() if cu_seq_lens_q is not None else None
    if found is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return attended, None
    kernel, told_of_groups = found
    import torch

    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    q, k, v = (states[0].transpose(0, 1).to(dtype) for states in (query, key, value))
    options: dict[str, Any] = {"scale": scaling, "window_size": (-1, 0)}
    group = q.shape[1] // k.shape[1]
    if group > 1 and told_of_groups:
        options["enable_gqa"] = True
    elif group > 1 and not _groups_untold(q.device):
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    out = kernel(q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q, **options)
    return out.unsqueeze(0), None
