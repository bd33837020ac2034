"""Rows packed into one sequence, and number formats: the same loss and gradients as of padded rows."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
from tiny_student import TRAIN

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.students import smollm
from dataenvgym.envs.students.loop import EncodedRow, completion_logits, fit, packing_prefix


def test_packed_layers_compute_what_plain_ones_do() -> None:
    import torch

    from dataenvgym.envs.students.packed import pack_linear

    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 96), torch.nn.Linear(96, 32, bias=False)]
    whole = torch.nn.Sequential(*layers)
    whole.device = torch.device("cpu")
    pack_linear(whole)
    with torch.inference_mode():
        for rows in ((1,), (7,), (3, 11)):
            x = torch.randn(*rows, 64)
            torch.testing.assert_close(whole(x), layers[1](layers[0](x)), atol=1e-5, rtol=1e-4)


def test_the_loss_is_that_of_the_completion_alone(own_cache: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm.tiny_folder())
    rows = [EncodedRow([5, 6, 7, 8, 9], 3), EncodedRow([5, 9, 4], 2)]
    expected = []
    for row in rows:
        logits = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        expected += [-float(logits[t - 1, row.ids[t]].detach()) for t in range(row.prompt, len(row.ids))]
    config = TrainConfig(batch_size=2, learning_rate=1e-9)
    summary = fit(model, rows, config=config, seed=0, pad_token=0)
    assert summary.final_loss == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    assert (summary.tokens, summary.steps) == (8, 1)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("start", [[], [5, 9, 30, 41]])
def test_packed_rows_learn_as_padded_ones(wild: Path, start: list[int], dtype: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    rows = [
        EncodedRow([*start, *ids], len(start) + n) for ids, n in (([7, 8, 3, 9], 2), ([6, 4], 1), ([3] * 9, 5))
    ]
    model = AutoModelForCausalLM.from_pretrained(wild, dtype=getattr(torch, dtype))
    prefix = packing_prefix(model, rows, 3, 0)
    assert prefix == len(start)
    gradients = []
    for packed in (None, prefix):
        logits, labels, owner = completion_logits(model, rows, 0, packed)
        assert labels.tolist() == [3, 9, 4, 3, 3, 3, 3] and owner.tolist() == [0, 0, 1, 2, 2, 2, 2]
        if dtype == "float64":
            model.zero_grad()
            torch.nn.functional.cross_entropy(logits, labels).backward()
            gradients.append([p.grad.clone() for p in model.parameters()])
    for mine, theirs in zip(*(gradients or ([], [])), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_model_that_mixes_neighbours_is_not_packed(wild: Path) -> None:
    """A stand-in for models with convolutions or states beside their attention: each token sees the last."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(wild)
    model.model.embed_tokens.register_forward_hook(lambda _m, _i, out: out + out.roll(1, dims=1))
    rows = [EncodedRow([5, 9, 7, 8, 3], 3), EncodedRow([5, 9, 6, 4, 11], 3)]
    assert packing_prefix(model, rows, 2, 0) is None
    assert math.isfinite(fit(model, rows, config=TRAIN, seed=0, pad_token=0).final_loss)


FAMILIES = {
    "cohere": ("CohereConfig", {"logit_scale": 0.25}),
    "granite": ("GraniteConfig", {"logits_scaling": 8.0}),
    "gemma2": ("Gemma2Config", {"final_logit_softcapping": 2.0, "head_dim": 8}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 64, "head_dim": 8}),
    "lfm2": ("Lfm2Config", {"full_attn_idxs": [1]}),
}


def of_family(name: str) -> Any:
    """A random model of two layers."""
    import torch
    import transformers

    kind, settings = FAMILIES[name]
    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, kind)(**sizes, **heads, **settings)
    ).eval()


@pytest.mark.parametrize("name", list(FAMILIES))
def test_what_a_family_does_to_its_logits_is_learnt_too(name: str) -> None:
    import torch

    model, row = of_family(name), EncodedRow([5, 9, 7, 8, 3, 11, 12], 3)
    logits, labels, _ = completion_logits(model, [row], 0)
    whole = model(torch.tensor([row.ids])).logits[0, row.prompt - 1 : -1]
    assert labels.tolist() == row.ids[row.prompt :]
    torch.testing.assert_close(logits, whole)


def test_windows_and_convolutions_are_not_packed_where_they_would_be_felt() -> None:
    rng = random.Random(0)

    def rows(length: int) -> list[EncodedRow]:
        return [
            EncodedRow([5, 6, *(rng.randrange(5, 90) for _ in range(length - n))], length - 4) for n in range(4)
        ]

    gemma = of_family("gemma3")
    assert packing_prefix(gemma, rows(30), 4, 0) == 2
    assert packing_prefix(gemma, rows(80), 4, 0) is None
    assert packing_prefix(gemma, [*rows(30), *rows(80)], 4, 0) is None  # long rows that come later
    assert packing_prefix(of_family("lfm2"), rows(80), 4, 0) is None


def test_small_steps_are_not_lost_in_bfloat16(own_cache: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    changed = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(smollm.tiny_folder(), dtype=dtype)
        before = {name: p.detach().float().clone() for name, p in model.named_parameters()}
        rows = [EncodedRow([5 + n, 6, 7, 8, 9], 3) for n in range(4)]
        fit(model, rows * 16, config=TrainConfig(batch_size=4, epochs=8, learning_rate=2e-5), seed=0, pad_token=0)
        moved = [(p.detach().float() - before[name]).norm() for name, p in model.named_parameters()]
        changed[dtype] = float(torch.stack(moved).norm())
    assert changed[torch.bfloat16] == pytest.approx(changed[torch.float32], rel=0.2)
