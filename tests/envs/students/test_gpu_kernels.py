"""What the own loop does on a GPU, with a stand-in for the kernel that only a GPU has."""

from itertools import pairwise
from typing import Any

import pytest

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.students import lora_products, row_attention, smollm, weights
from dataenvgym.envs.students.loop import EncodedRow, completion_logits, packing_prefix

ROWS = [EncodedRow([5, 9, *ids], 2 + n) for ids, n in (([7, 8, 3, 9], 2), ([6, 4], 1), ([3] * 9, 1), ([8, 8], 1))]


def model(dtype: str = "float64") -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(smollm.tiny_folder(), dtype=getattr(torch, dtype))


def row_by_row(
    query: Any, key: Any, value: Any, ends: Any, ends_k: Any, longest: int, longest_k: int, **options: Any
) -> Any:
    """What torch's kernel computes: [tokens, heads, size] in and out, each row by itself, causal."""
    import torch

    assert ends.dtype == torch.int32 and longest == max(b - a for a, b in pairwise(ends.tolist()))
    assert options["window_size"] == (-1, 0)
    rows = []
    for start, end in pairwise(ends.tolist()):
        q, k, v = (states[start:end].transpose(0, 1) for states in (query, key, value))
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=options["scale"], enable_gqa=True
        )
        rows.append(out.transpose(0, 1))
    return torch.cat(rows)


@pytest.mark.parametrize(("told_of_groups", "untold"), [(True, False), (False, True), (False, False)])
def test_rows_kept_apart_by_their_boundaries_learn_as_padded_ones(
    told_of_groups: bool, untold: bool, monkeypatch: pytest.MonkeyPatch, own_cache: bool
) -> None:
    import torch

    plain, packed = model(), model()
    monkeypatch.setattr(row_attention, "_kernel", lambda: (row_by_row, told_of_groups))
    monkeypatch.setattr(row_attention, "_groups_untold", lambda device: untold)
    monkeypatch.setattr(row_attention, "_usable", lambda model, mixed: True)
    assert row_attention.install(packed)
    assert packing_prefix(packed, ROWS, 4, 0) == 0
    found = []
    for one, prefix in ((plain, None), (packed, 0)):
        logits, labels, owner = completion_logits(one, ROWS, 0, prefix)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        found.append((logits.detach(), labels, owner, [p.grad for p in one.parameters()]))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_attention_that_leaks_from_row_to_row_is_removed(monkeypatch: pytest.MonkeyPatch, own_cache: bool) -> None:
    import torch

    def leaks(query: Any, key: Any, value: Any, *boundaries: Any, **options: Any) -> Any:
        q, k, v = (states.transpose(0, 1) for states in (query, key, value))
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=True
        ).transpose(0, 1)

    tiny = model()
    monkeypatch.setattr(row_attention, "_kernel", lambda: (leaks, True))
    monkeypatch.setattr(row_attention, "_usable", lambda model, mixed: True)
    assert row_attention.install(tiny)
    assert packing_prefix(tiny, ROWS, 4, 0) == 2  # by a mask, behind what all prompts begin with
    assert not row_attention.installed(tiny)


def test_a_model_without_boundaries_attends_as_before(monkeypatch: pytest.MonkeyPatch, own_cache: bool) -> None:
    import torch

    plain, changed = model(), model()
    monkeypatch.setattr(row_attention, "_usable", lambda model, mixed: True)
    assert row_attention.install(changed)
    ids, mask = torch.tensor([[0, 5, 9, 7], [4, 5, 6, 7]]), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    one, two = (m(input_ids=ids, attention_mask=mask).logits[mask == 1] for m in (plain, changed))
    torch.testing.assert_close(one, two)
    out = [m.generate(ids[1:], max_new_tokens=5, do_sample=False).tolist() for m in (plain, changed)]
    assert out[0] == out[1]


def test_under_autocast_the_kernel_is_given_bfloat16(monkeypatch: pytest.MonkeyPatch, own_cache: bool) -> None:
    import torch

    given = []

    def kernel(query: Any, *rest: Any, **options: Any) -> Any:
        given.append(query.dtype)
        return row_by_row(query, *rest, **options)

    tiny = model("float32")
    monkeypatch.setattr(row_attention, "_kernel", lambda: (kernel, True))
    monkeypatch.setattr(row_attention, "_usable", lambda model, mixed: mixed)
    assert row_attention.install(tiny, mixed=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert packing_prefix(tiny, ROWS, 4, 0) == 0
    assert set(given) == {torch.bfloat16}


def test_on_a_cpu_nothing_is_installed(own_cache: bool) -> None:
    tiny = model("bfloat16")
    assert not row_attention.install(tiny, mixed=True) and not row_attention.installed(tiny)


def adapted(**settings: Any) -> Any:
    import torch

    torch.manual_seed(0)
    config = TrainConfig(lora_rank=2, lora_layers="all", **settings)
    made = weights.make_trainable(model(), config, None, exact=False).double()
    with torch.no_grad():  # fresh adapters change nothing
        for name, weight in made.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return made


def test_fused_products_are_those_of_peft(own_cache: bool) -> None:
    import torch

    found = []
    for fused in (False, True):
        made = adapted()
        assert not fused or lora_products.fuse(made) == 2 * 7
        logits, labels, _ = completion_logits(made, ROWS, 0)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        grads = {name: p.grad for name, p in made.named_parameters() if p.requires_grad}
        found.append({"logits": logits.detach(), **grads})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-9, atol=1e-12)


def test_a_fused_layer_is_merged_as_a_plain_one(own_cache: bool) -> None:
    import torch

    plain, fused = adapted(), adapted()
    lora_products.fuse(fused)
    ids = torch.tensor([[5, 9, 7, 8]])
    torch.testing.assert_close(
        plain.merge_and_unload()(input_ids=ids).logits, fused.merge_and_unload()(input_ids=ids).logits
    )


def test_layers_that_are_not_plain_stay_as_they_are(own_cache: bool) -> None:
    import peft

    for settings in ({"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}):
        chosen = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
        assert lora_products.fuse(peft.get_peft_model(model(), chosen)) == 0
