"""Finished runs side by side: their curves and costs, and paired differences on the private test they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

from dataenvgym.envs.errors import ConfigError, RunFolderError
from dataenvgym.envs.stats import curve_area, holm, mcnemar, paired_gain, wilson
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import Interval, Prediction
from dataenvgym.graphs.config import EpisodeConfig, changed_keys
from dataenvgym.runs.data import DATA, SEEN, counts, other_splits
from dataenvgym.runs.folder import open_run, read_manifest, read_summary
from dataenvgym.runs.scorings import TEST_SCORED, said


class Side(TypedDict):
    """One of the runs. Accuracies are fractions, intervals 95%, `cost` in US dollars, null where unknown.

    `label`: a letter, A for the first run; `settings`: the config keys in which the runs differ; `curve`: of
    validation, a point per iteration with `rows`, `n` and an accuracy with its interval; `area`: under the curve,
    from 0 rows to the fewest with which one of the runs ended; `skills`: of the private test.
    """

    label: str
    name: str
    path: str
    settings: dict[str, Any]
    curve: list[dict[str, Any]]
    area: float
    best_iteration: int
    n: int
    base: Interval
    best: Interval
    gain: Interval
    skills: dict[str, dict[str, Any]]
    rows: int
    rows_rejected: int
    calls: int
    tokens: dict[str, int]
    cost: float | None
    seconds: dict[str, float]
    stop_reason: str


class Pair(TypedDict):
    """A run against the first one, on the test instances of both, at the best iteration of each.

    `difference`: accuracy of the other less that of the first, with the paired 95% interval; `p`: McNemar's exact
    test; `p_holm`: corrected for the number of pairs; `both`, `neither`: instances that both or none has right;
    `only_first`, `only_other`: those that one alone has right; `skills`: the difference per skill, as the first
    run names them.
    """

    first: str
    other: str
    difference: Interval
    p: float
    p_holm: float
    both: int
    neither: int
    only_first: list[dict[str, Any]]
    only_other: list[dict[str, Any]]
    skills: list[dict[str, Any]]


class RunComparison(TypedDict):
    """Runs on one private test. `area_rows`: where the areas end; `notes`: what limits the comparison."""

    task: str
    area_rows: int
    runs: list[Side]
    pairs: list[Pair]
    notes: list[str]


class _Run:
    """A finished run as it is read."""

    def __init__(self, run_dir: Path) -> None:
        self.dir, self.config = run_dir, open_run(run_dir)
        summary, manifest = read_summary(run_dir), read_manifest(run_dir)
        if summary is None:
            raise RunFolderError(f"{run_dir} has not finished. Continue it: dataenvgym resume {run_dir}")
        self.summary: dict[str, Any] = summary
        self.data: dict[str, Any] | None = manifest.get(DATA)
        self.base = read_jsonl(run_dir / "test" / "base.jsonl", Prediction)
        self.best = read_jsonl(run_dir / "test" / "best.jsonl", Prediction)


def compare_runs(run_dirs: Sequence[Path]) -> RunComparison:
    """Compare finished runs of the same task with the first of them, on their private test.

    Raises:
        ConfigError: fewer than two runs, or one of them twice.
        RunFolderError: no run, not finished, damaged, or tested on other instances or by another scorer than the
            first; the text says which and why.
    """
    if len(run_dirs) < 2:
        raise ConfigError(f"a comparison needs two runs or more; got {len(run_dirs)}")
    for folder, again in combinations(run_dirs, 2):
        if folder.resolve() == again.resolve():
            raise ConfigError(f"{again} is named twice; a comparison needs different runs")
    runs = [_Run(run_dir) for run_dir in run_dirs]
    first, *others = runs
    for other in others:
        _check_same_test(first, other)
    keys = _keys([run.config for run in runs])
    area_rows = min(run.summary["val"][-1]["rows"] for run in runs)
    sides = [_side(_label(n), run, keys, area_rows) for n, run in enumerate(runs)]
    pairs = [_pair(first, other, _label(n)) for n, other in enumerate(others, 1)]
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = pair["p"] if p is None else p
    return RunComparison(
        task=first.summary["task"], area_rows=area_rows, runs=sides, pairs=pairs, notes=_notes(runs)
    )


def _label(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    text = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        text = chr(ord("A") + letter) + text
    return text


def _check_same_test(first: _Run, other: _Run) -> None:
    """Refuse runs whose scores on test are of other instances, or judged in another way."""
    between = f"{first.dir} and {other.dir} cannot be compared: "
    names = [run.summary["task"] for run in (first, other)]
    if names[0] != names[1]:
        raise RunFolderError(f"{between}the first is of task {names[0]!r}, the other of {names[1]!r}")
    scorers = [run.config.task.scorer for run in (first, other)]
    if scorers[0] != scorers[1]:
        said_by = [repr(scorer) if scorer else "the task's own" for scorer in scorers]
        raise RunFolderError(f"{between}task.scorer is {said_by[0]} in the first and {said_by[1]} in the other")
    if first.data and other.data and "test" in other_splits(first.data, other.data):
        number = counts(first.data, other.data, "test", ("in the first", "in the other"))
        raise RunFolderError(f"{between}they were tested on other instances ({number}){_why(first, other)}")
    for run in (first, other):
        if [_asked(p) for p in run.base] != [_asked(p) for p in run.best]:
            raise RunFolderError(f"{run.dir}: test/base.jsonl and test/best.jsonl are not of the same instances")
    seen, others = {_asked(p) for p in first.best}, {_asked(p) for p in other.best}
    if seen != others:
        example = min(seen ^ others)[0]
        raise RunFolderError(
            f"{between}they were tested on other instances ({len(seen)} and {len(others)}, in both "
            f"{len(seen & others)}, in one alone e.g. {example}){_why(first, other)}"
        )


def _asked(prediction: Prediction) -> tuple[str, str, str]:
    return prediction.id, prediction.question, prediction.gold


def _why(first: _Run, other: _Run) -> str:
    keys = [key for key in changed_keys(first.config, other.config) if key.startswith("task.")]
    return f"; their configs differ in {', '.join(keys)}" if keys else "; their configs name the same task"


def _keys(configs: Sequence[EpisodeConfig]) -> list[str]:
    """The config keys in which any run differs from the first."""
    return sorted({key for config in configs[1:] for key in changed_keys(configs[0], config)})


def _value(config: EpisodeConfig, key: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _interval(accuracy: float, n: int) -> Interval:
    return wilson(round(accuracy * n), n)


def _side(label: str, run: _Run, keys: Sequence[str], area_rows: int) -> Side:
    summary = run.summary
    test, name = summary["test"], run.dir.resolve().name
    curve = [
        {"rows": point["rows"], "n": point["n"], **_interval(point["accuracy"], point["n"])._asdict()}
        for point in summary["val"]
    ]
    skills = {
        skill: {"n": one["n"], "base": one["base"], "best": one["best"], "gain": one["gain"]}
        for skill, one in summary["skills"].items()
    }
    return Side(
        label=label,
        name=name,
        path=str(run.dir),
        settings={key: _value(run.config, key) for key in keys},
        curve=curve,
        area=curve_area([(point["rows"], point["value"]) for point in curve], area_rows),
        best_iteration=summary["best_iteration"],
        n=test["best"]["n"],
        base=_interval(test["base"]["accuracy"], test["base"]["n"]),
        best=_interval(test["best"]["accuracy"], test["best"]["n"]),
        gain=Interval(**test["gain"]),
        skills=skills,
        rows=summary["rows_accepted"],
        rows_rejected=summary["rows_rejected"],
        calls=summary["calls"],
        tokens=summary["tokens"],
        cost=summary["cost"],
        seconds=summary["seconds"],
        stop_reason=summary["stop_reason"],
    )


def _pair(first: _Run, other: _Run, label: str) -> Pair:
    theirs = {_asked(p): p for p in other.best}
    answers = [(mine, theirs[_asked(mine)]) for mine in first.best]
    skills: dict[str, list[tuple[bool, bool]]] = {}
    for mine, its in answers:
        skills.setdefault(mine.skill, []).append((mine.correct, its.correct))
    right = [mine.correct for mine, _ in answers], [its.correct for _, its in answers]
    p = mcnemar(*right)
    return Pair(
        first=_label(0),
        other=label,
        difference=paired_gain(*right),
        p=p,
        p_holm=p,
        both=sum(a and b for a, b in zip(*right, strict=True)),
        neither=sum(not (a or b) for a, b in zip(*right, strict=True)),
        only_first=[_instance(mine, its) for mine, its in answers if mine.correct and not its.correct],
        only_other=[_instance(mine, its) for mine, its in answers if its.correct and not mine.correct],
        skills=[_skill(name, found) for name, found in sorted(skills.items())],
    )


def _skill(name: str, answers: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    first, other = [a for a, _ in answers], [b for _, b in answers]
    n = len(answers)
    difference = paired_gain(first, other)
    return {"name": name, "n": n, "first": sum(first) / n, "other": sum(other) / n, "difference": difference}


def _instance(first: Prediction, other: Prediction) -> dict[str, Any]:
    """An instance with what both runs' students said to it."""
    answers = {
        key: {"answer": one.answer, "text": one.text, "detail": one.detail}
        for key, one in (("first", first), ("other", other))
    }
    return {"id": first.id, "skill": first.skill, "question": first.question, "gold": first.gold, **answers}


def _notes(runs: Sequence[_Run]) -> list[str]:
    """What a reader must know of the comparison."""
    first, notes = runs[0], list[str]()
    for label, run in ((_label(n), run) for n, run in enumerate(runs)):
        if run.data is None:
            notes.append(f"{label} did not record its data; its test was compared by questions and answers alone")
        if len(scored := run.summary.get(TEST_SCORED) or []) > 1:
            notes.append(f"{label}: {said(scored)}")
        if run is first:
            continue
        if not _same_validation(first, run):
            notes.append(f"{label} was validated on other instances than A: do not compare their curves")
        if {_asked(p): p.correct for p in run.base} != {_asked(p): p.correct for p in first.base}:
            notes.append(f"the students of A and {label} differ before any training: compare the gains")
        skills = [{p.id: p.skill for p in one.best} for one in (first, run)]
        if skills[0] != skills[1]:
            notes.append(f"A and {label} name the skills of the test differently; differences go by A's names")
    if any(run.summary["teacher"]["model"] == "scripted" for run in runs):
        notes.append("scripted is a test instrument, not a language model")
    return notes


def _same_validation(first: _Run, other: _Run) -> bool:
    if first.data is not None and other.data is not None:
        return "val" not in other_splits(first.data, other.data)
    seen = [{_asked(p) for p in read_jsonl(run.dir / SEEN["val"], Prediction)} for run in (first, other)]
    return seen[0] == seen[1]
