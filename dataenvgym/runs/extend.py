"""A larger budget for a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.store import write_json
from dataenvgym.graphs.config import CONFIG_FILE, BudgetConfig, changed_keys, load_config
from dataenvgym.runs.data import check_data
from dataenvgym.runs.folder import (
    EXTENSIONS,
    extensions,
    kept_unless_it_goes_on,
    locked,
    open_run,
    read_manifest,
)

# Keys that only decide when an episode ends.
EXTENDABLE = tuple(f"budget.{key}" for key in BudgetConfig.model_fields if key != "rows_per_iteration")


@contextmanager
def extended(run_dir: Path, overrides: Sequence[str]) -> Iterator[None]:
    """`extend` for what follows; where that fails before the run has gone on, its budget is again as it was."""
    with kept_unless_it_goes_on(run_dir, EXTENSIONS):
        extend(run_dir, overrides)
        yield


def extend(run_dir: Path, overrides: Sequence[str]) -> None:
    """Change when a run ends, e.g. `budget.max_calls=500`; `resume` then continues it, even if it had ended.

    Test is scored again at the new end, and the summary counts it; neither teacher nor student uses the scores in
    between.

    Raises:
        ConfigError: a key that does more than end the episode; the text names the keys that may change.
        RunFolderError: not a run, in use by another process, damaged, or started on other data.
    """
    with locked(run_dir):
        before = open_run(run_dir)
        config = load_config(run_dir / CONFIG_FILE, [*extensions(run_dir), *overrides])
        changed = changed_keys(before, config)
        fixed = [key for key in changed if key not in EXTENDABLE]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)}: a run keeps the settings of its rows and scores. May change: "
                f"{', '.join(EXTENDABLE)}."
            )
        if changed:
            check_data(run_dir, config, read_manifest(run_dir))
            write_json(run_dir / EXTENSIONS, [*extensions(run_dir), *overrides])
