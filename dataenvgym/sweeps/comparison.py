"""The settings of a sweep compared over its seeds and tasks, from the files in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import mean
from typing import Any, TypedDict

import yaml

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.types import Interval
from dataenvgym.graphs.config import CONFIG_FILE
from dataenvgym.sweeps.plan import value_at
from dataenvgym.sweeps.results import (
    SEED,
    Difference,
    Record,
    data_of,
    differences,
    format_settings,
    format_value,
    mean_interval,
    means,
    read_records,
    same_test,
    short_names,
    varying_keys,
    with_areas,
)

STRUCTURE, STATE, TASK = "structure", "state", "task.name"
USED = ("rows", "calls", "prompt_tokens", "completion_tokens", "cost", "seconds")


class SweepComparison(TypedDict):
    """A sweep over its seeds and tasks. Accuracies are fractions on the private test at the best of val.

    `columns`: a name per task; `before`: the least and the greatest base accuracy of each; `lines`:
    one per combination of the other settings, with `name`, `settings`, `cells` (per column the means over seeds
    with Student's 95% intervals, or null) and `average`, the mean gain over all columns or null; `paired_by`: what
    the two runs of a pair share beside their other settings; `differences`: corrected as one family; `curves`: per
    column, a line each with the mean validation accuracy over seeds after each iteration.
    """

    name: str
    finished: int
    unfinished: list[str]
    area_rows: int
    columns: list[str]
    before: list[tuple[float, float]]
    lines: list[dict[str, Any]]
    paired_by: list[str]
    differences: list[Difference]
    curves: list[list[dict[str, Any]]]
    notes: list[str]


def compare_sweep(out: Path) -> SweepComparison:
    """Compare the settings of a sweep that has run, or of as much of it as has finished.

    Raises:
        RunFolderError: no sweep, damaged, nothing finished, or runs with the same task settings were tested on
            other instances; the text says which.
    """
    plain = _with_constants(read_records(out), out)
    records = with_areas(plain)
    finished = [record for record in records if record["status"] == "finished"]
    if not finished:
        raise RunFolderError(f"no run of {out} has finished; run the sweep again to continue it")
    task_keys = _task_keys(finished, out)
    paired_by = [SEED, *task_keys]
    columns = _distinct_settings(finished, task_keys)
    _check_columns(finished, task_keys, out)
    rows = _distinct_settings(finished, [key for key in finished[0]["settings"] if key not in paired_by])
    rows.sort(key=_order(rows))
    varied = [key for key in varying_keys(finished) if key not in (*paired_by, STRUCTURE, STATE)]
    cells = {_id(group["settings"]): group for group in means(records)}
    curves = [r for r in plain if r["status"] == "finished"]
    return SweepComparison(
        name=out.resolve().name,
        finished=len(finished),
        unfinished=[f"{r['name']} ({r['status']})" for r in records if r["status"] != "finished"],
        area_rows=finished[0]["figures"]["area_rows"],
        columns=[_column_name(column, finished[0]) for column in columns],
        before=[_before(finished, column) for column in columns],
        lines=[_line(row, columns, varied, cells, finished) for row in rows],
        paired_by=[key for key in paired_by if key in (SEED, *varying_keys(finished))],
        differences=differences(records, out, paired_by),
        curves=[[_curve(curves, {**row, **column}) for row in rows] for column in columns],
        notes=_notes(finished, out),
    )


def _with_constants(records: Sequence[Record], out: Path) -> list[Record]:
    """Add structure, state and task to the settings, where the sweep does not vary them: from a run's config."""
    config = next((found for record in records if (found := _config(out / record["name"]))), {})
    constants = {key: value_at(config, key) for key in (STRUCTURE, STATE, TASK)}
    return [Record(**{**record, "settings": {**constants, **record["settings"]}}) for record in records]


def _config(run_dir: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _task_keys(records: Sequence[Record], out: Path) -> list[str]:
    """The settings that say what a run is tested on: those of the task, and others that go along with them, as the
    student where each task has its own. None where all runs were tested on the same instances."""
    if _one_test(records, out):
        return []
    keys = [TASK, *(key for key in varying_keys(records) if key.startswith("task.") and key != TASK)]
    others = [key for key in varying_keys(records) if key not in (*keys, SEED, STRUCTURE, STATE)]
    tasks = len(_distinct_settings(records, keys))
    return [*keys, *(key for key in others if len(_distinct_settings(records, [*keys, key])) == tasks)]


def _one_test(records: Sequence[Record], out: Path) -> bool:
    """Whether all runs have the same test; where that was not recorded, whether they name the same task."""
    known = [data_of(out / record["name"]) for record in records]
    named = len(_distinct_settings(records, [key for key in records[0]["settings"] if key.startswith("task.")]))
    return all(same_test(known[0], one) for one in known) and (None not in known or named == 1)


def _check_columns(records: Sequence[Record], keys: Sequence[str], out: Path) -> None:
    """Refuse runs with the same task settings that were tested on other instances."""
    from dataenvgym.runs.data import counts

    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    for record in records:
        data = data_of(out / record["name"])
        if data is None:
            continue
        name, first = seen.setdefault(_id({key: record["settings"][key] for key in keys}), (record["name"], data))
        if not same_test(first, data):
            number = counts(first, data, "test", ("in the first", "in the other"))
            raise RunFolderError(
                f"{out / name} and {out / record['name']} have the same task settings and were tested on other "
                f"instances ({number}), so the sweep cannot be compared. Delete the runs on the data that you do "
                "not mean, and start the sweep again."
            )


def _distinct_settings(records: Sequence[Record], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The combinations of values of the keys, in the order of the records."""
    found = [{key: record["settings"][key] for key in keys} for record in records]
    return list({_id(one): one for one in found}.values())


def _id(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(sorted(settings.items())))


def _order(rows: Sequence[Mapping[str, Any]]) -> Any:
    """By structure, as they come, and within one the baseline without state first, as in the paper's table."""
    structures = list(dict.fromkeys(row[STRUCTURE] for row in rows))
    return lambda row: (structures.index(row[STRUCTURE]), row[STATE] is not False)


def _line(
    row: Mapping[str, Any],
    columns: Sequence[Mapping[str, Any]],
    varied: Sequence[str],
    cells: Mapping[str, Mapping[str, Any]],
    records: Sequence[Record],
) -> dict[str, Any]:
    found = [_cell(cells.get(_id({**row, **column})), records) for column in columns]
    gains = [cell["gain"] for cell in found if cell is not None]
    state = "no state" if row[STATE] is False else "with state"
    return {
        "name": ", ".join([str(row[STRUCTURE]), state, *filter(None, [format_settings(row, varied)])]),
        "settings": dict(row),
        "cells": found,
        "average": mean(gains) if len(gains) == len(columns) else None,
    }


def _cell(group: Mapping[str, Any] | None, records: Sequence[Record]) -> dict[str, Any] | None:
    """The means over seeds of a line's runs on one task: `means`, and what they used."""
    if group is None:
        return None
    runs = [
        r for r in records if _id({k: v for k, v in r["settings"].items() if k != SEED}) == _id(group["settings"])
    ]
    used: dict[str, float | None] = {}
    for name in USED:
        values = [value for r in runs if (value := r["figures"].get(name)) is not None]
        used[name] = mean(values) if len(values) == len(runs) else None
    return {**{key: value for key, value in group.items() if key != "settings"}, **used}


def _column_name(column: Mapping[str, Any], record: Record) -> str:
    """The task with what else goes along with it: `gsm8k (openai/some-student, seed=1)`."""
    name = format_value(column.get(TASK, record["settings"][TASK]))
    names = short_names([key for key in column if key != TASK])
    more = [column[key] if isinstance(column[key], str) else f"{names[key]}={column[key]!r}" for key in names]
    return f"{name} ({', '.join(more)})" if more else name


def _before(records: Sequence[Record], column: Mapping[str, Any]) -> tuple[float, float]:
    bases = [
        r["figures"]["base"] for r in records if all(r["settings"][key] == value for key, value in column.items())
    ]
    return min(bases), max(bases)


def _curve(records: Sequence[Record], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Mean rows and validation accuracy over the seeds, after each iteration that all of them have."""
    curves = [
        r["figures"]["curve"]
        for r in records
        if {key: value for key, value in r["settings"].items() if key != SEED} == dict(settings)
    ]
    points = []
    for step in zip_longest(*curves):
        if None in step:
            break
        values = [accuracy for _, accuracy in step]
        interval = mean_interval(values) if len(values) > 1 else Interval(values[0], values[0], values[0])
        points.append({"rows": mean(rows for rows, _ in step), "accuracy": interval})
    return {"runs": len(curves), "points": points}


def _notes(records: Sequence[Record], out: Path) -> list[str]:
    """What a reader must know of the comparison."""
    notes = []
    if SEED not in varying_keys(records):
        notes.append("one seed alone: intervals over test instances say nothing about other seeds")
    if any(data_of(out / record["name"]) is None for record in records):
        notes.append(
            "some runs did not record their data: whether their tests are the same goes by their settings"
        )
    models = {str(value_at(_config(out / r["name"]), "teacher.llm.model")) for r in records}
    if "scripted" in models:
        notes.append("scripted is a test instrument, not a language model")
    return notes
