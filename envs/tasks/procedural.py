"""What procedural tasks share: the problem drawn, splits without a problem in common, reading a question back."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.types import Instance

# Each split reads its own stretch of a skill, so that resizing one (nearly) leaves the others alone.
_START = {"test": 0, "val": 1_000_000, "train": 2_000_000, "schooling": 3_000_000}
_TRIES = 2_000
"""Draws without a new problem after which a skill counts as exhausted."""


@dataclass(frozen=True)
class Problem:
    """A question with a worked `solution` (without the marked answer) and its `answer`.

    `key` is the same for every phrasing of the problem, and for no other problem of the skill.
    """

    question: str
    solution: str
    answer: str
    skill: str
    variant: str
    key: str


@dataclass
class UsedProblems:
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


def draw_split(
    task: str,
    split: str,
    seed: int,
    size: int,
    variants: Mapping[str, Sequence[str]],
    draw: Callable[[str, int, str], Problem],
    instance: Callable[[str, Problem], Instance],
    taken: UsedProblems,
) -> list[Instance]:
    """`size` instances of each skill, its variants in turn, skipping what is taken.

    An id names the seed (`arithmetic-s3/val/addition/012`), since another seed has other problems at that place.

    Args:
        seed: the seed of the task, for the ids.
        variants: per skill, the names of its sub-kinds.
        draw: (skill, index, variant) -> the problem of that number.
        instance: (id, problem) -> the instance; called only for the problems that are kept.

    Raises:
        ConfigError: a skill has too few distinct problems for the size asked.
    """
    found = []
    for skill, names in variants.items():
        indices = count(_START[split])
        for number in range(size):
            variant = names[number % len(names)]
            draws = (draw(skill, index, variant) for index in islice(indices, _TRIES))
            drawn = next((d for d in draws if taken.add(skill, d.question, d.key)), None)
            if drawn is None:
                raise ConfigError(
                    f"{task}: {skill!r} has no {size} new problems for the {split} split; "
                    "lower task.val_size or task.test_size."
                )
            found.append(instance(f"{task}-s{seed}/{split}/{skill}/{number:03d}", drawn))
    return found


def draw_splits(
    task: str,
    seed: int,
    sizes: Mapping[str, int],
    variants: Mapping[str, Sequence[str]],
    draw: Callable[[str, int, str], Problem],
    instance: Callable[[str, Problem], Instance],
) -> dict[str, tuple[Instance, ...]]:
    """Several splits without a problem in common, in the order of `sizes` (instances per skill); see `draw_split`.

    What is drawn first does not depend on the sizes of what follows.
    """
    taken = UsedProblems()
    return {
        split: tuple(draw_split(task, split, seed, size, variants, draw, instance, taken))
        for split, size in sizes.items()
    }


def take_all(taken: UsedProblems, instances: Iterable[Instance]) -> None:
    """Take the problems of a split, so that none is drawn again."""
    for item in instances:
        taken.add(item.skill or "", item.question, item.extra["key"])


def sentence_pattern(sentence: str, fields: Mapping[str, str]) -> re.Pattern[str]:
    """The pattern of a sentence with `{fields}`, built from the sentence so that the two cannot disagree.

    Args:
        fields: per field the pattern of what may stand in it; every other field is a whole number.
    """
    parts = re.split(r"\{(\w+)\}", sentence)  # text, field, text, field, ..., text
    texts = [re.escape(text) for text in parts[::2]]
    names = parts[1::2]
    groups = [
        f"(?P={name})" if name in names[:at] else f"(?P<{name}>{fields.get(name, '[0-9]+')})"
        for at, name in enumerate(names)
    ]
    return re.compile("".join(text + group for text, group in zip(texts, [*groups, ""], strict=True)))
