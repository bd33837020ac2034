"""Generation: exact whatever the batches, and equal to that of transformers."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_student import tiny

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TaskConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.students import generate, make_student, smollm
from dataenvgym.envs.students.generate import greedy, shared_prefix

PROMPTS = ["Say a", "Say b, and then say it again, and once more", "Say", "Say a", "Sing", "Say b" * 9, "Say a!"]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=6))
def test_the_shared_prefix_is_the_longest_that_leaves_each_a_token(sequences: list[list[int]]) -> None:
    length = shared_prefix(sequences)
    shortest = min(map(len, sequences))
    assert 0 <= length < shortest
    assert len({tuple(s[:length]) for s in sequences}) == 1
    assert length == shortest - 1 or len({tuple(s[: length + 1]) for s in sequences}) > 1


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
