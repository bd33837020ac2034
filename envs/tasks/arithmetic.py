"""The embedded benchmark: three splits drawn from twelve procedural skills, no download."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, islice

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.math_domain import MATH
from dataenvgym.envs.tasks.arithmetic_skills import SCHOOLED, SKILLS, Problem, problem
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.types import Instance

TRAIN_SIZE, VAL_SIZE, TEST_SIZE = 60, 30, 40
"""Instances per skill."""

# Each split reads its own stretch of a skill, so that resizing one (nearly) leaves the others alone.
_START = {"test": 0, "val": 1_000_000, "train": 2_000_000, "schooling": 3_000_000}
_TRIES = 2_000
"""Draws without a new problem after which a skill counts as exhausted."""


@dataclass
class _Taken:
    """What is already in a split: the sentences, and the problems in whatever phrasing."""

    keys: set[str] = field(default_factory=set)

    def add(self, skill: str, question: str, key: str) -> bool:
        """Take a problem; False when it, or another phrasing of it, is taken."""
        keys = {normalise(question), f"{skill}: {key}"}
        if keys & self.keys:
            return False
        self.keys |= keys
        return True


def normalise(question: str) -> str:
    """A question without differences of case and white space."""
    return " ".join(question.casefold().split())


def load(config: TaskConfig) -> Task:
    """The task: per skill 60 train, `val_size` (30) val and `test_size` (40) test instances.

    Every skill gives its variants in turn. No problem is in two splits, in any phrasing. The test split
    depends on the seed and its own size alone; the val split avoids test, the train split avoids both.

    Raises:
        ConfigError: a skill has too few distinct problems for the sizes asked.
    """
    taken = _Taken()
    # The order matters: what is drawn first does not depend on the sizes of what follows.
    test = _split("test", config.seed, config.test_size or TEST_SIZE, SKILLS, taken)
    val = _split("val", config.seed, config.val_size or VAL_SIZE, SKILLS, taken)
    train = _split("train", config.seed, TRAIN_SIZE, SKILLS, taken)
    return Task("arithmetic", MATH, tuple(train), tuple(val), tuple(test))


def schooling_rows(seed: int, per_skill: int, task: Task) -> list[Instance]:
    """Training problems of the schooled skills that stand in no split of `task`, in any phrasing.

    Raises:
        ConfigError: a skill has too few distinct problems left.
    """
    taken = _Taken()
    for item in (*task.train, *task.val, *task.test):
        taken.add(item.skill or "", item.question, item.extra["key"])
    return _split("schooling", seed, per_skill, SCHOOLED, taken)


def _split(split: str, seed: int, size: int, skills: Iterable[str], taken: _Taken) -> list[Instance]:
    """`size` instances of each skill, its variants in turn, skipping what is taken."""
    found = []
    for skill in skills:
        variants = SKILLS[skill].variants
        indices = count(_START[split])
        for number in range(size):
            variant = variants[number % len(variants)]
            draws = (problem(skill, seed, index, variant) for index in islice(indices, _TRIES))
            drawn = next((d for d in draws if taken.add(skill, d.question, d.key)), None)
            if drawn is None:
                raise ConfigError(
                    f"arithmetic: {skill!r} has no {size} new problems for the {split} split; "
                    "lower task.val_size or task.test_size."
                )
            found.append(_instance(f"arithmetic/{split}/{skill}/{number:03d}", drawn))
    return found


def _instance(name: str, drawn: Problem) -> Instance:
    return Instance(
        id=name,
        question=drawn.question,
        answer=drawn.answer,
        solution=drawn.solution,
        skill=drawn.skill,
        extra={"variant": drawn.variant, "key": drawn.key},
    )
