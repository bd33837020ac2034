"""Estimate the memory that a student needs for training and serving, to choose hardware.

For a student with P weights, L layers of width h and V words, b bytes per weight and activation, t tokens in a
micro-batch:

- weights: b P
- training state per trained weight (all weights, or those of the adapter): 16 bytes with Adam in mixed precision,
  2 for the weight, 2 for its gradient, 12 for the fp32 copy and the two moments (Rajbhandari et al. 2020, "ZeRO",
  arXiv 1910.02054, section 3.1); the same in fp32
- activations, counted as in Korthikanti et al. 2022 (arXiv 2205.05198), without the attention scores, which
  neither SDPA nor FlashAttention keeps: with gradient checkpointing b t h L, plus b t (6 h + 2 q + 2 k + 4 f) for
  one layer, where q, k and f are the widths of all query heads, all key heads and the feed-forward; without
  checkpointing, the latter for all layers
- logits: (b + 8) V per token of a completion, for the logits, their fp32 copy and its gradient
- serving: b P, and a key-value cache of 2 b k L per token (Pope et al. 2022, arXiv 2211.05102)
- on a GPU 1 GiB for its context; and a tenth of all the rest for fragmentation

Estimates: a run may need a fifth more or less. Sizes are in GiB.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

GIB = 2**30
CONTEXT, FRAGMENTED = 1 * GIB, 1.1
TRAINED_BYTES = 16
# The sizes assumed: 4 rows of 1,024 tokens at once, half of them completions; 32 answers of 1,024 tokens at once.
TRAIN_TOKENS, COMPLETIONS, SERVE_TOKENS = 4 * 1024, 0.5, 32 * 1024
LORA_RANK = 16

Use = Literal["lora", "full", "serve"]
USES: tuple[Use, ...] = ("lora", "full", "serve")


class Model(NamedTuple):
    """The shape of a decoder. `other`: weights outside it, e.g. of a vision tower; `tied`: one matrix is both
    embedding and output; `paper`: the settings of the paper that use it."""

    name: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    words: int
    tied: bool = True
    other: int = 0
    paper: str = ""

    @property
    def queries(self) -> int:
        """Return the total width of the query heads."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Return the total width of the key heads, which equals that of the value heads."""
        return self.kv_heads * self.head_size

    @property
    def weights(self) -> int:
        """Count the weights."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        layer = attention + 3 * self.hidden * self.feed_forward
        return self.words * self.hidden * (1 if self.tied else 2) + self.layers * layer + self.other

    def adapter(self, rank: int = LORA_RANK) -> int:
        """Count the weights of a LoRA adapter on all linear layers."""
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return rank * self.layers * (attention + 3 * (self.hidden + self.feed_forward))


# Shapes from the models' published configs.
MODELS = (
    Model("SmolLM2-135M", 30, 576, 1536, 9, 3, 64, 49152),
    Model("Llama-3.2-1B", 16, 2048, 8192, 32, 8, 64, 128256),
    Model("Gemma-2-2B", 26, 2304, 9216, 8, 4, 256, 256000, paper="MATH"),
    Model("PaliGemma-3B", 18, 2048, 16384, 8, 1, 256, 257216, other=415_000_000, paper="GQA"),
    Model("Llama-3.2-3B", 28, 3072, 8192, 24, 8, 128, 128256),
    Model("Llama-3-8B", 32, 4096, 14336, 32, 8, 128, 128256, tied=False, paper="LiveCodeBench, M&Ms"),
)


class Device(NamedTuple):
    """A device for a student. `memory`: bytes, per GPU; `width`: bytes per weight; `gpus`: 0 for a CPU. Training
    shards the memory that it keeps per weight over several GPUs (FSDP)."""

    name: str
    memory: int
    width: int
    gpus: int


def need(model: Model, use: Use, device: Device) -> float:
    """Estimate the bytes needed in the device's memory, or per GPU; training uses gradient checkpointing."""
    weights = device.width * model.weights
    found: float
    if use == "serve":
        found = weights + 2 * device.width * model.keys * model.layers * SERVE_TOKENS
    else:
        kept = TRAINED_BYTES * model.weights if use == "full" else weights + TRAINED_BYTES * model.adapter()
        found = kept / max(1, device.gpus) + activations(model, device.width, checkpointed=True)
    return FRAGMENTED * found + (CONTEXT if device.gpus else 0)


def activations(model: Model, width: int, *, checkpointed: bool) -> float:
    """Estimate the bytes that a micro-batch keeps for the backward pass, including the logits."""
    layer = width * TRAIN_TOKENS * (6 * model.hidden + 2 * model.queries + 2 * model.keys + 4 * model.feed_forward)
    borders = width * TRAIN_TOKENS * model.hidden * model.layers
    logits = (width + 8) * model.words * TRAIN_TOKENS * COMPLETIONS
    return logits + (borders + layer if checkpointed else layer * model.layers)


def fits(model: Model, use: Use, device: Device) -> bool:
    """Tell whether the device has enough memory by this estimate."""
    return need(model, use, device) <= device.memory
