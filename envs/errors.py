"""The exceptions a user may see. Each says what was wrong, what was expected and the nearest valid name."""

from collections.abc import Iterable
from difflib import get_close_matches


class DataEnvGymError(RuntimeError):
    """Base class: a mistake the user can mend. The command line prints it without a traceback.

    A RuntimeError, because a LangGraph server tells its clients the text of built-in errors only.
    """


class UnknownNameError(DataEnvGymError):
    """A name that is not registered, e.g. ``unknown task 'mth'. Did you mean 'math'?``."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = get_close_matches(name, self.known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}. {hint}Known: {', '.join(self.known)}.")


class ConfigError(DataEnvGymError):
    """A config with a wrong key, type or range; the text names the key and the allowed values."""


class MissingDependencyError(DataEnvGymError):
    """A package, file, model or key that is needed and absent; the text says what to install or set."""


class DataError(DataEnvGymError):
    """Input data that does not have the expected schema."""


class RunFolderError(DataEnvGymError):
    """A run folder that cannot be used: another config, a damaged file, not a run."""


class BudgetReachedError(DataEnvGymError):
    """A request that a cap on calls, tokens or cost forbids; the work in hand is finished without it."""


class TrainingError(DataEnvGymError):
    """A training of the student that could not be finished; the student it started from is as it was."""


class DivergedError(TrainingError, FloatingPointError):
    """A training whose loss or weights became NaN or infinite."""


class StudentError(DataEnvGymError):
    """A student that cannot answer: its server does not start, or has died twice."""


class TeacherError(DataEnvGymError):
    """A teacher that broke its contract or whose model cannot be reached."""
