"""A larger budget for a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.store import write_json
from dataenvgym.graphs.config import CONFIG_FILE, BudgetConfig, changed_keys, load_config
from dataenvgym.runs.folder import EXTENSIONS, SUMMARY, extensions, locked, open_run

# Keys that say when an episode ends and nothing else.
EXTENDABLE = tuple(f"budget.{key}" for key in BudgetConfig.model_fields if key != "rows_per_iteration")


def extend(run_dir: Path, overrides: Sequence[str]) -> None:
    """Change when a run ends, e.g. `budget.max_calls=500`; `resume` then goes on, also with one that had ended.

    The run's own test scores are made again at its new end: nothing that teaches sees them in between.

    Raises:
        ConfigError: a key that does more than end the episode; the text names those that may change.
        RunFolderError: not a run, in use by another process, or damaged.
    """
    with locked(run_dir):
        before = open_run(run_dir)
        config = load_config(run_dir / CONFIG_FILE, [*extensions(run_dir), *overrides])
        changed = changed_keys(before, config)
        fixed = [key for key in changed if key not in EXTENDABLE]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)}: a run keeps what its rows and scores were made with. May change: "
                f"{', '.join(EXTENDABLE)}."
            )
        if changed:
            (run_dir / SUMMARY).unlink(missing_ok=True)
            write_json(run_dir / EXTENSIONS, [*extensions(run_dir), *overrides])
