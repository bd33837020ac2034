"""Greedy generation for scoring: many short answers to prompts that share their beginning.

Against `model.generate` on the same batch this saves two things, both exact: the tokens that all prompts
begin with are run once and their keys and values shared, and rows that have ended leave the batch
(benchmarks/student.py measures both).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.students.base import Progress

if TYPE_CHECKING:
    import torch

# Dropping rows copies the cache, so it waits until this share of the batch has ended.
COMPACT_SHARE = 0.2


def shared_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with, leaving at least one token to each."""
    ordered = [list(s) for s in sequences]
    first, last = min(ordered), max(ordered)
    limit = min(len(s) for s in sequences) - 1
    for i in range(limit):
        if first[i] != last[i]:
            return i
    return max(limit, 0)


def greedy(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    end_tokens: frozenset[int],
    pad_token: int,
    batch_size: int,
    progress: Progress | None = None,
) -> list[list[int]]:
    """The greedy continuation of each prompt, in the order of `prompts`, without the end token.

    `prompts`: token ids, none empty. A continuation stops at an end token or after `max_new_tokens`.
    """
    if not prompts:
        return []
    prefix = shared_prefix(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    done = 0
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = _greedy_batch(model, [prompts[i] for i in chosen], prefix, max_new_tokens, end_tokens, pad_token)
        for index, tokens in zip(chosen, batch, strict=True):
            answers[index] = tokens
        done += len(chosen)
        if progress:
            progress(done, len(prompts))
    return answers


def growing_cache(config: Any, room: int) -> Any:
    """A DynamicCache whose full-attention layers append in place instead of copying all they hold.

    `room`: how many positions an enlarged buffer has to spare. Sliding-window and other layer kinds stay as
    transformers makes them.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):  # type: ignore[misc]
        keys: Any
        values: Any

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            self.keys = _append(self.keys, key_states, room)
            self.values = _append(self.values, value_states, room)
            return self.keys, self.values

    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _append(held: torch.Tensor, new: torch.Tensor, room: int) -> torch.Tensor:
    """`held` [batch, heads, length, size] with `new` behind it, in the buffer behind `held` if it has room.

    `held` is empty or the front of a buffer this function made; its strides tell how long that buffer is.
    """
    length = held.shape[2] if held.numel() else 0
    total = length + new.shape[2]
    size = new.shape[3]
    capacity = held.stride(1) // size if held.numel() else 0
    if total > capacity or held.storage_offset() or held.stride(3) != 1 or held.stride(2) != size:
        buffer = new.new_empty(new.shape[0], new.shape[1], total + room, size)
        if length:
            buffer[:, :, :length] = held
    else:
        buffer = held.as_strided((*new.shape[:2], capacity, size), held.stride())
    buffer[:, :, length:total] = new
    return buffer[:, :, :total]


def _greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    prefix: int,
    max_new_tokens: int,
    end_tokens: frozenset[int],
    pad_token: int,
) -> list[list[int]]:
    import torch

    # Logit scaling and capping, where a model has them, keep the order and so the greedy choice.
    decoder, head, device = model.get_decoder(), model.get_output_embeddings(), model.device
    rows = len(prompts)
    tails = [list(p[prefix:]) for p in prompts]
    width = max(len(t) for t in tails)
    ids = torch.tensor([[pad_token] * (width - len(t)) + t for t in tails], device=device)
    mask = torch.tensor(
        [[1] * prefix + [0] * (width - len(t)) + [1] * len(t) for t in tails], dtype=torch.long, device=device
    )
    ends = torch.tensor(sorted(end_tokens), device=device)
    answers: list[list[int]] = [[] for _ in range(rows)]
    alive = torch.arange(rows, device=device)
    running = torch.ones(rows, dtype=torch.bool, device=device)
    with torch.inference_mode():
        cache = growing_cache(model.config, room=width + max_new_tokens)
        if prefix:
            shared = torch.tensor([list(prompts[0][:prefix])], device=device)
            decoder(input_ids=shared, past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(rows)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, prefix:]
        for _ in range(max_new_tokens):
            hidden = decoder(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            # A 2-D product: on a 3-D slice torch multiplies row by row, many times slower on a CPU.
            token = head(hidden[:, -1].contiguous()).argmax(-1)
            running &= ~torch.isin(token, ends)
            for row, value, runs in zip(alive.tolist(), token.tolist(), running.tolist(), strict=True):
                if runs:
                    answers[row].append(value)
            left = int(running.sum())
            if left == 0:
                break
            if left <= (1 - COMPACT_SHARE) * len(alive):
                keep = running.nonzero().squeeze(1)
                cache.batch_select_indices(keep)
                alive, token, mask = alive[keep], token[keep], mask[keep]
                positions, running = positions[keep], running[keep]
            ids = token.unsqueeze(1)
            mask = _append_one(mask)
            positions = positions[:, -1:] + 1
    return answers


def _append_one(mask: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1)
