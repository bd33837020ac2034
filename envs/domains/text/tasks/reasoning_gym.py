"""The procedural sets of the package reasoning-gym (arXiv 2505.24760), scored by their own verifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import LONGEST_DETAIL, Item, Mark
from dataenvgym.envs.domains.text.domain import TEXT, extract, instruction, render_answer
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.text import clean
from dataenvgym.envs.types import Instance, Progress

TRAIN_SIZE, VAL_SIZE, TEST_SIZE = 60, 30, 40
"""Instances of each set."""
_APART = 1_000_000
"""Seeds between two splits: the item of a set at an index is a function of seed plus index."""
_ITEMS = 2_000
"""Items of a set in a split, of which those wanted are the first that can be used. Some sets make all at once."""
_RUNS_ANSWERS = "its verifier runs the student's answer as Python"
_NO_ANSWER = "its items have no right answer of their own"
_CHANGES = "some of its items are others each time they are made"
REFUSED = {
    **dict.fromkeys(
        (
            "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication",
            "puzzle24", "simple_integration", "spiral_matrix", "string_insertion",
        ),
        _RUNS_ANSWERS,
    ),
    **dict.fromkeys(("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"), _NO_ANSWER),
    **dict.fromkeys(("codeio", "list_functions"), _CHANGES),
    "composite": "it is a mixture of sets: name these in task.options.dataset",
}  # fmt: skip
"""Sets that cannot be taught here, and why."""


class ReasoningGymOptions(BaseModel):
    """What `task.options` of the task `reasoning_gym` may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str | list[str] = Field(
        "chain_sum", description="A set of reasoning-gym, or several: each is a skill."
    )
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Parameters of the sets, e.g. {chain_sum: {max_terms: 3}}."
    )
    threshold: float = Field(
        1.0, gt=0, le=1, description="From which score of the set's verifier (0 to 1) an answer is right."
    )


@task(
    "reasoning_gym",
    domain="text",
    summary="the procedural sets of reasoning-gym, embedded",
    gold_skills=True,
    embedded=True,
    answer_tokens=256,
    row_tokens=2048,
    options=ReasoningGymOptions,
)
def load(config: TaskConfig) -> Task:
    """The sets of `options.dataset`: 60 train, `val_size` (30) val and `test_size` (40) test items of each.

    No question is in two splits. The test split depends on the seed and its own size alone.

    Raises:
        ConfigError: a set that cannot be used here, settings that it refuses, or too few different questions.
        UnknownNameError: no such set.
    """
    options = options_of(config, ReasoningGymOptions)
    names = [options.dataset] if isinstance(options.dataset, str) else list(dict.fromkeys(options.dataset))
    sets = Sets(options)
    taken: set[str] = set()
    sizes = {"test": config.test_size or TEST_SIZE, "val": config.val_size or VAL_SIZE, "train": TRAIN_SIZE}
    # The order matters: what is drawn first does not depend on the sizes of what follows.
    splits = {
        split: tuple(
            instance
            for name in names
            for instance in _draw(sets, name, split, (3 * config.seed + number) * _APART, size, taken)
        )
        for number, (split, size) in enumerate(sizes.items())
    }
    domain = replace(
        TEXT,
        instruction=instruction("Answer."),
        render_answer=partial(render_answer, lines=True),
        extract=partial(extract, lines=True),
        mark=partial(_marks, sets, options.threshold),
        identity=_plain,
    )
    return Task(config.name, domain, splits["train"], splits["val"], splits["test"])


class Sets:
    """The sets of a task by name and seed, made when they are first asked for."""

    def __init__(self, options: ReasoningGymOptions) -> None:
        self._settings = options.settings
        self._made: dict[tuple[str, int], Any] = {}

    def get(self, name: str, seed: int) -> Any:
        """The set, whose items are by their index. Raises ConfigError, or UnknownNameError."""
        if (name, seed) not in self._made:
            self._made[name, seed] = self._make(name, seed)
        return self._made[name, seed]

    def _make(self, name: str, seed: int) -> Any:
        from reasoning_gym.factory import DATASETS, create_dataset

        if name not in DATASETS:
            raise UnknownNameError("set of reasoning-gym", name, DATASETS.keys() - REFUSED.keys())
        if name in REFUSED:
            raise ConfigError(f"task.options.dataset: {name!r} cannot be used here: {REFUSED[name]}.")
        settings = self._settings.get(name, {})
        known = [field.name for field in fields(DATASETS[name][1]) if field.name not in ("seed", "size")]
        for key in settings:
            if key not in known:
                raise UnknownNameError(f"setting of {name}", key, known)
        try:
            return create_dataset(name, seed=seed, size=_ITEMS, **settings)
        except (AssertionError, TypeError, ValueError) as error:
            raise ConfigError(f"task.options.settings.{name}: {error}.") from error


def _draw(sets: Sets, name: str, split: str, seed: int, size: int, taken: set[str]) -> Iterator[Instance]:
    """The first items of a set whose question is new, and whose answer its verifier takes when it is read back."""
    made, found = sets.get(name, seed), 0
    for index in range(_ITEMS):
        if found == size:
            return
        entry = made[index]
        question, answer = clean(str(entry["question"])).strip(), str(entry["answer"] or "").strip()
        key = f"{name} {_plain(question)}"
        if not answer or key in taken or not _takes(made, entry, answer):
            continue
        taken.add(key)
        found += 1
        yield Instance(
            id=f"reasoning_gym/{split}/{name}/{found:03d}",
            question=question,
            answer=answer,
            skill=name,
            extra={"set": name, "seed": seed, "index": index},
        )
    if found < size:
        raise ConfigError(
            f"task.options.dataset: {name!r} has {found} different questions for {split}, not {size}. Ask "
            "for fewer with task.val_size and task.test_size, or change its settings."
        )


def _takes(made: Any, entry: Any, answer: str) -> bool:
    found = extract(render_answer("", answer, lines=True), lines=True)
    try:
        return found is not None and float(made.score_answer(found, entry)) >= 1
    except Exception:
        return False


def _plain(question: str) -> str:
    return " ".join(question.split()).casefold()


def _marks(
    sets: Sets, threshold: float, items: Sequence[Item], answers: Sequence[str], progress: Progress | None
) -> list[Mark]:
    return [_mark(sets, threshold, item, answer) for item, answer in zip(items, answers, strict=True)]


def _mark(sets: Sets, threshold: float, item: Item, answer: str) -> Mark:
    """An item of a set is marked by its verifier; a teacher's row, which has none, by its words."""
    if not {"set", "seed", "index"} <= item.extra.keys():
        return Mark(TEXT.equal(item.answer, answer))
    made = sets.get(item.extra["set"], item.extra["seed"])
    try:
        score = float(made.score_answer(answer, made[item.extra["index"]]))
    except Exception as error:  # a verifier, on a model's text
        return Mark(False, f"the verifier failed: {type(error).__name__}: {error}"[:LONGEST_DETAIL])
    return Mark(score >= threshold, f"score {score:.2f}" if 0 < score < threshold else "")
