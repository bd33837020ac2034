"""The sets of reasoning-gym as tasks: each runs, scored by its own verifier, or is refused with the reason."""

import sys
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.text.tasks import reasoning_gym
from dataenvgym.envs.domains.text.tasks.reasoning_gym import REFUSED
from dataenvgym.envs.errors import DataEnvGymError
from dataenvgym.envs.tasks import Task, load_task

SLOW = ("acre", "arc_agi", "futoshiki", "knight_swap", "rearc", "zebra_puzzles")
"""Sets that take seconds to make an item, or to load: a test takes fewer of their items."""


def load(dataset: Any, val: int = 3, test: int = 3, seed: int = 0, **options: Any) -> Task:
    options = {"dataset": dataset, **options}
    return load_task(TaskConfig(name="reasoning_gym", val_size=val, test_size=test, seed=seed, options=options))


def all_sets() -> list[str]:
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


def test_sets_that_are_refused_are_sets_and_the_docs_say_how_many_run() -> None:
    assert set(REFUSED) < set(all_sets())
    docs = Path(__file__).parents[4] / "docs" / "tasks.md"
    if docs.is_file():
        text = docs.read_text(encoding="utf-8")
        assert f"Of the {len(all_sets())} sets {len(all_sets()) - len(REFUSED)} run." in text
        assert all(f"`{name}`" in text for name in REFUSED)


def test_sets_are_skills_and_no_question_is_in_two_splits() -> None:
    task = load(["chain_sum", "spell_backward"])
    assert [len(split) for split in (task.train, task.val, task.test)] == [120, 6, 6]
    assert [item.skill for item in task.val] == ["chain_sum"] * 3 + ["spell_backward"] * 3
    questions = [item.question for split in (task.train, task.val, task.test) for item in split]
    assert len(set(questions)) == len(questions)


def test_the_seed_draws_the_items_and_sizes_do_not_change_what_comes_first() -> None:
    assert load("gcd").val == load("gcd").val
    assert load("gcd").test[0] != load("gcd", seed=1).test[0]
    assert load("gcd", val=5).test == load("gcd", val=3).test
    assert load("gcd", test=5).test[:3] == load("gcd", test=3).test


def test_settings_reach_the_set() -> None:
    task = load("chain_sum", settings={"chain_sum": {"min_terms": 2, "max_terms": 2}})
    assert all(len(item.question.split("problem: ")[1].split()) == 4 for item in task.val)


def test_the_verifier_of_the_set_decides_also_on_a_scale() -> None:
    task = load("gcd")
    item = task.val[0]
    assert task.domain.score([item], [f"So.\nAnswer: {item.answer}"])[0].correct
    assert not task.domain.score([item], ["Answer: none"])[0].correct
    partly, lax = load("word_sorting"), load("word_sorting", threshold=0.1)
    item = partly.val[0]
    words = item.answer.split(", ")
    answer = f"Answer: {', '.join([words[1], words[0], *words[2:]])}"
    strict = partly.domain.score([item], [answer])[0]
    assert not strict.correct and strict.detail.startswith("score 0.")
    assert lax.domain.score([item], [answer])[0].correct


def test_answers_of_several_lines_are_read_back() -> None:
    task = load("rotate_matrix")
    example = task.domain.example(task.val[0])
    assert "\n" in task.val[0].answer and task.domain.extract(example.completion) == task.val[0].answer


@pytest.mark.parametrize(
    ("dataset", "options", "said"),
    [
        ("chainsum", {}, "unknown set of reasoning-gym 'chainsum'. Did you mean 'chain_sum'"),
        ("composite", {}, "'composite' cannot be used here: it is a mixture of sets"),
        ("countdown", {}, "its verifier runs the student's answer as Python"),
        ("gcd", {"settings": {"gcd": {"max_nubers": 3}}}, "Did you mean 'max_numbers'"),
        ("gcd", {"settings": {"gcd": {"min_numbers": 0}}}, r"task\.options\.settings\.gcd: "),
        ("coin_flip", {"settings": {"coin_flip": {"min_trials": 3, "max_trials": 2}}}, r"task\.options\.settings"),
    ],
)
def test_what_cannot_be_used_is_told(dataset: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataEnvGymError, match=said):
        load(dataset, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in all_sets() if name not in REFUSED])
def test_every_set_scores_its_own_answers_as_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1 if name in SLOW else 9
    monkeypatch.setattr(reasoning_gym, "TRAIN_SIZE", 2)
    task = load(name, val=size, test=size)
    items = [*task.val, *task.test, *task.train]
    scored = task.domain.score(items, [task.domain.example(item).completion for item in items])
    assert [one.detail for one in scored if not one.correct] == []


PROBE = "7711"
RUNS: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def watching() -> None:
    """Note every text with the probe in it that is compiled; the hook stays until the process ends."""

    def hook(event: str, found: tuple[Any, ...]) -> None:
        if event in ("compile", "exec") and PROBE in str(found[0])[:10_000]:
            RUNS.append(str(found[0]))

    sys.addaudithook(hook)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in all_sets() if name not in (*REFUSED, *SLOW)])
def test_no_answer_is_run_as_a_program(name: str) -> None:
    from reasoning_gym import create_dataset

    made = create_dataset(name, seed=7, size=3)
    entry = made[0]
    RUNS.clear()
    gold = str(entry["answer"])
    probes = (PROBE, f"[{PROBE}]", f"[[{PROBE}]]", f"({PROBE}, 3)", f"{PROBE} + 1", f"x + {PROBE}", f"['{PROBE}']")
    for answer in (*probes, f'{{"a": {PROBE}}}', f"{PROBE}\n{PROBE}", f"{gold} {PROBE}", f"[{gold}, {PROBE}]"):
        try:
            made.score_answer(answer, entry)
        except Exception:
            continue
    assert RUNS == []
