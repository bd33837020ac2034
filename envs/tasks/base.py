"""What a task is: three splits of instances and the domain that asks and scores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dataenvgym.envs.config import ANSWER_TOKENS, ROW_TOKENS, TaskConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.explain import explain
from dataenvgym.envs.stats import wilson
from dataenvgym.envs.types import Instance

if TYPE_CHECKING:
    from dataenvgym.envs.domains.base import Domain

Options = TypeVar("Options", bound=BaseModel)


class HubData(NamedTuple):
    """A data set on the hub. `revision`: the commit that was loaded; None: unknown, as for some old caches."""

    name: str
    revision: str | None


WIDEST = 0.4
"""A 95% interval that is wider at an accuracy of one half tells little."""


@dataclass(frozen=True)
class Task:
    """A benchmark. `train` is the exemplar pool; `val` gives feedback; `test` is private to the environment."""

    name: str
    domain: Domain
    train: tuple[Instance, ...]
    val: tuple[Instance, ...]
    test: tuple[Instance, ...]
    notes: tuple[str, ...] = ()
    """What was noticed when it was loaded, e.g. how many questions were left out and why."""
    hub: HubData | None = None
    """The data set on the hub that it was loaded from; None: local or embedded data."""
    widest: float = WIDEST
    """A split whose 95% interval at an accuracy of one half is wider is said to be small."""

    def all_notes(self) -> list[str]:
        """`notes`, and a word on splits that are too small to tell much."""
        sizes = {"val": len(self.val), "test": len(self.test)}
        return [*self.notes, *filter(None, (_small(split, n, self.widest) for split, n in sizes.items()))]


def _small(split: str, n: int, widest: float) -> str | None:
    """What to say of a split of n instances whose accuracies have a wide interval; None where they have not."""

    def width(size: int) -> float:
        found = wilson(size // 2, size)
        return found.high - found.low

    if n == 0 or width(n) <= widest:
        return None
    enough = next(size for size in range(n, 1000) if width(size) <= widest)
    return (
        f"{split} has {n} instances: the 95% interval of an accuracy of one half is {width(n):.2f} wide. It is "
        f"narrower than {widest:g} from {enough} instances on (task.{split}_size)"
    )


class NoOptions(BaseModel):
    """The options of a task that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class TaskSpec:
    """A registry entry: what `dataenvgym list tasks` shows, and how the task is loaded."""

    name: str
    domain: str
    summary: str
    load: Callable[[TaskConfig], Task]
    gold_skills: bool
    embedded: bool
    """True when it needs no download."""
    answer_tokens: int = ANSWER_TOKENS
    """Longest answer of a student, in tokens, where the config does not say."""
    row_tokens: int = ROW_TOKENS
    """Longest training row, in tokens, where the config does not say."""
    options: type[BaseModel] = NoOptions
    """What `task.options` may hold: a model that forbids other keys and has a default for each."""
    prepare: Callable[[Any], None] | None = None
    """(options) -> loads the user's code that they name. Called where `load_config` reads a config: nothing is run
    for one that comes over the network (Studio)."""


def options_of(config: TaskConfig, model: type[Options]) -> Options:
    """The options of a task.

    Raises:
        ConfigError: a key or value that the model refuses; the text says what is allowed.
    """
    try:
        return model.model_validate(config.options)
    except ValidationError as error:
        faults = [explain(one, model, "task.options.") for one in error.errors()]
        raise ConfigError("\n".join([f"the options of task {config.name!r} are not valid:", *faults])) from None
