"""Greedy generation for scoring: many short answers to prompts that share their beginning.

This is faster than `model.generate` on the same batch, for three reasons, none of which changes an answer. The
common beginning of all prompts is run once, and its keys and values are shared. Prompts are read in groups of
similar length (little padding, and few enough tokens for a CPU's caches) but answered together. Finished rows
leave the batch. benchmarks/student.py measures the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.types import Progress

if TYPE_CHECKING:
    import torch

# Dropping rows copies the cache, so it waits until this share of the batch has ended.
COMPACT_SHARE = 0.1
# Prompts are read in groups of at most this many tokens, padding included: on a CPU few enough for its caches.
PREFILL_TOKENS, PREFILL_TOKENS_GPU = 1024, 32_768


def shared_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Count the tokens that all sequences begin with, leaving at least one token to each."""
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
    """Generate the greedy continuation of each prompt, in the order of `prompts`, without the end token.

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
    """Make a DynamicCache whose full-attention layers append in place instead of copying everything.

    `room`: spare positions of an enlarged buffer. Sliding-window and other kinds of layers stay as transformers
    makes them.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):  # type: ignore[misc]
        keys: Any
        values: Any
        joinable = True

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
    """Append `new` to `held` [batch, heads, length, size], in the buffer of `held` if it has room.

    `held` is empty or the front of a buffer made by this function; its strides give the length of that buffer.
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
    answers: list[list[int]] = [[] for _ in prompts]
    alive, running = list(range(len(prompts))), [True] * len(prompts)
    with torch.inference_mode():
        cache, mask, hidden = _prefill(model, prompts, prefix, max_new_tokens, pad_token)
        positions = mask.sum(-1, keepdim=True)
        for step in range(1, max_new_tokens + 1):
            token = head(hidden).argmax(-1)
            for at, value in enumerate(token.tolist()):  # the only point of a step that waits for a GPU
                running[at] = running[at] and value not in end_tokens
                if running[at]:
                    answers[alive[at]].append(value)
            left = sum(running)
            if left == 0 or step == max_new_tokens:
                break
            if left <= (1 - COMPACT_SHARE) * len(alive):
                keep = [at for at, runs in enumerate(running) if runs]
                alive, running = [alive[at] for at in keep], [True] * left
                kept = torch.tensor(keep, device=device)
                cache.batch_select_indices(kept)
                token, mask, positions = token[kept], mask[kept], positions[kept]
            mask = _append_one(mask)
            hidden = _last_hidden(decoder, token.unsqueeze(1), mask, positions, cache)
            positions = positions + 1
    return answers


def _last_hidden(decoder: Any, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> Any:
    """Run the decoder; return the hidden state [rows, size] of the last token, and cache the keys and values."""
    out = decoder(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    )
    # A copy: on a slice of a 3-D tensor torch multiplies row by row, many times slower on a CPU.
    return out.last_hidden_state[:, -1].contiguous()


def _groups(lengths: Sequence[int], most: int) -> list[range]:
    """Group consecutive rows, ascending in length; a padded group has at most `most` tokens (or one row)."""
    groups: list[range] = []
    start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end + 1 - start) * lengths[end] > most:
            groups.append(range(start, end))
            start = end
    return groups


def _prefill(
    model: Any, prompts: Sequence[Sequence[int]], prefix: int, room: int, pad_token: int
) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Read prompts in ascending length.

    Returns (cache, attention mask [rows, width], last hidden state [rows, size]). Rows are
    padded in front; groups narrower than the widest are then padded to its width.
    """
    import torch
    from torch.nn.functional import pad

    decoder, device = model.get_decoder(), model.device
    tails = [list(p[prefix:]) for p in prompts]
    shared = growing_cache(model.config, room)
    # Caches of other kinds (sliding windows) cannot be padded and joined, so the prompts are read in one group.
    joinable = all(getattr(layer, "joinable", False) for layer in shared.layers)
    most = PREFILL_TOKENS_GPU if device.type == "cuda" else PREFILL_TOKENS
    groups = _groups([len(t) for t in tails], most) if joinable else [range(len(tails))]
    if prefix:
        decoder(
            input_ids=torch.tensor([list(prompts[0][:prefix])], device=device),
            past_key_values=shared,
            use_cache=True,
        )
    caches, masks, states = [], [], []
    for group in groups:
        cache = copy.deepcopy(shared) if len(groups) > 1 else shared
        if prefix:
            cache.batch_repeat_interleave(len(group))
        width = max(len(tails[i]) for i in group)
        ids = torch.tensor([[pad_token] * (width - len(tails[i])) + tails[i] for i in group], device=device)
        mask = torch.tensor(
            [[1] * prefix + [0] * (width - len(tails[i])) + [1] * len(tails[i]) for i in group], device=device
        )
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, prefix:]
        states.append(_last_hidden(decoder, ids, mask, positions, cache))
        caches.append(cache)
        masks.append(mask)
    longest = max(mask.shape[1] for mask in masks)
    joined = caches[0]
    if len(caches) > 1:
        for held in zip(*(cache.layers for cache in caches), strict=True):
            keys = torch.cat([pad(h.keys, (0, 0, longest - h.keys.shape[2], 0)) for h in held])
            values = torch.cat([pad(h.values, (0, 0, longest - h.values.shape[2], 0)) for h in held])
            for h in held:  # free each group's tensors at once, so that the cache is not held twice
                h.keys = h.values = None
            held[0].keys, held[0].values = keys, values
    return joined, torch.cat([pad(m, (longest - m.shape[1], 0)) for m in masks]), torch.cat(states)


def _append_one(mask: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1)
