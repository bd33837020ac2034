"""Exceptions for users. Each says what was wrong, what was expected and the nearest valid name."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class DataEnvGymError(RuntimeError):
    """Base class: a mistake that the user can fix. The command line prints it without a traceback.

    A RuntimeError, because a LangGraph server tells its clients the text of built-in errors only.
    """


class UnknownNameError(DataEnvGymError):
    """A name that is not registered, e.g. ``unknown task 'mth'. Did you mean 'math'?``."""

    def __init__(self, kind: str, name: str, known: Iterable[str], more: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(set(known))
        near = get_close_matches(name, self.known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}. {hint}Known: {', '.join(self.known)}.{more and f' {more}'}")


class ConfigError(DataEnvGymError):
    """A config with a wrong key, type or range; the text names the key and the allowed values."""


class MissingDependencyError(DataEnvGymError):
    """A required package, file, model or key is missing; the text says what to install or set."""


class DataError(DataEnvGymError):
    """Input data that does not have the expected schema."""


class RunFolderError(DataEnvGymError):
    """A run folder that cannot be used: it has another config or a damaged file, or is not a run."""


class BudgetReachedError(DataEnvGymError):
    """A cap on calls, tokens or cost prevents a request; current work finishes without it."""


class TrainingError(DataEnvGymError):
    """A training failed; the student that it started from is unchanged."""


class DivergedError(TrainingError, FloatingPointError):
    """A training whose loss or weights became NaN or infinite."""


class StudentError(DataEnvGymError):
    """A student cannot answer: its server does not start, or died twice."""


class TeacherError(DataEnvGymError):
    """A teacher broke its contract, or its model cannot be reached."""


class FruitlessError(TeacherError):
    """The model gives no valid item, whatever it is asked: asking on would only cost."""


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full or a quota is used up. SQLite and safetensors say it in words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(error) for words in ("No space left on device", "database or disk is full"))
