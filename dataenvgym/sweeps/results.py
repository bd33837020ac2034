"""Results of a sweep: a record per run, means over seeds, and paired differences between the values of a key."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple, TypedDict

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.stats import curve_area, effect_size, holm, mcnemar, paired_gain, t_test
from dataenvgym.envs.store import read_jsonl, write_bytes, write_json
from dataenvgym.envs.types import Interval, Prediction
from dataenvgym.sweeps.episode import EpisodeStatus
from dataenvgym.sweeps.plan import Episode, value_at, values_of

SEED = "seed"
RESULTS, TABLE, COMPARISONS = "results.jsonl", "results.csv", "comparisons.json"
# (column, where it stands in a run's summary.json)
FIGURES = (
    ("base", "test.base.accuracy"),
    ("best", "test.best.accuracy"),
    ("n", "test.best.n"),
    ("gain", "test.gain.value"),
    ("gain_low", "test.gain.low"),
    ("gain_high", "test.gain.high"),
    ("curve", "val"),
    ("rows", "rows_accepted"),
    ("calls", "calls"),
    ("prompt_tokens", "tokens.prompt"),
    ("completion_tokens", "tokens.completion"),
    ("cost", "cost"),
    ("seconds", "seconds.total"),
    ("best_iteration", "best_iteration"),
    ("stop_reason", "stop_reason"),
)


class Record(TypedDict):
    """A run of the sweep. `settings`: the values of all keys that the sweep varies; `figures`: null unless
    finished. Accuracies are fractions, `cost` is in US dollars, `seconds` is the time of the run's nodes."""

    name: str
    status: str
    reason: str
    settings: dict[str, Any]
    figures: dict[str, Any]


class Difference(TypedDict):
    """The effect of a value of a key against the key's first value, all other settings and the seed equal.

    `best`, `val_area`: the mean difference, of the accuracy on test at the best of val and of the area under the
    validation curve; `low`, `high`: a 95% interval of `best`'s, over `pairs` runs (Student's t), or, with one pair
    alone, over its test instances (`paired_gain`), which says nothing about other seeds. `p`: of `best`, by
    Student's test over runs or McNemar's over instances, null where it says nothing; `p_holm`: corrected for all
    differences of the list; `effect`: the effect size of `best` over the pairs (`effect_size`). `each`,
    `area_each`: the differences per pair, by seed.
    """

    key: str
    value: Any
    first: Any
    settings: dict[str, Any]
    pairs: int
    best: float
    low: float
    high: float
    over: str
    p: float | None
    p_holm: float | None
    effect: float | None
    val_area: float
    each: list[float]
    area_each: list[float]


class SweepResult(NamedTuple):
    """A record per episode, and paired differences between the values of each key."""

    records: list[Record]
    differences: list[Difference]


def record(episode: Episode, keys: Sequence[str], out: Path, ended: EpisodeStatus | None) -> Record:
    """Make the record of an episode from its run folder. `ended`: its status here; None: it has not run."""
    return _record(episode.name, values_of(episode, keys), out, ended)


def _record(name: str, settings: dict[str, Any], out: Path, ended: EpisodeStatus | None) -> Record:
    from dataenvgym.runs.folder import read_summary

    try:
        summary = read_summary(out / name)
        status, reason = ("waiting", "") if ended is None else (ended["status"], ended["reason"])
    except RunFolderError as error:
        summary, status, reason = None, "failed", str(error)
    if summary is not None and status != "failed":
        status = "finished"
    figures = {figure: value_at(summary, at) if status == "finished" else None for figure, at in FIGURES}
    figures["curve"] = [(point["rows"], point["accuracy"]) for point in figures["curve"] or []]
    return Record(name=name, status=status, reason=reason, settings=settings, figures=figures)


def read_records(out: Path) -> list[Record]:
    """Read the records of a sweep from its folder.

    Names, settings and failures are as the sweep wrote them, figures from each run's summary as it is now.

    Raises:
        RunFolderError: results.jsonl is missing or damaged.
    """
    known = {"name", "status", "reason", "val_area", "area_rows", *(figure for figure, _ in FIGURES)}
    found = []
    try:
        for text in (out / RESULTS).read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            settings = {key: value for key, value in line.items() if key not in known}
            now = _record(line["name"], settings, out, None)
            if now["status"] != "finished":
                now["status"], now["reason"] = line["status"], line["reason"]
            found.append(now)
    except OSError as error:
        raise RunFolderError(f"{out / RESULTS}: cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{out / RESULTS} is damaged (line {len(found) + 1}: {error}); start the sweep again to write it anew"
        ) from error
    return found


def with_areas(records: Sequence[Record]) -> list[Record]:
    """Add each run's area under the validation curve, over the range of rows that all finished runs have.

    `val_area` is the area from 0 to `area_rows` rows, the fewest with which a finished run ended.
    """
    ends = [r["figures"]["curve"][-1][0] for r in records if r["status"] == "finished"]
    rows = min(ends, default=None)

    def figures(record: Record) -> dict[str, Any]:
        given = {name: value for name, value in record["figures"].items() if name != "curve"}
        area = curve_area(record["figures"]["curve"], rows) if record["status"] == "finished" else None
        return {**given, "val_area": area, "area_rows": None if area is None else rows}

    return [Record(**{**record, "figures": figures(record)}) for record in records]


def write_results(
    out: Path, records: Sequence[Record], differences: Sequence[Difference], refused: str | None = None
) -> None:
    """Write results.jsonl, results.csv and comparisons.json into the sweep's folder.

    `refused`: why the runs cannot be compared (`mixed_data`); comparisons.json then says so and holds no figures.
    """
    flat = [
        {**{k: v for k, v in r.items() if k not in ("settings", "figures")}, **r["settings"], **r["figures"]}
        for r in records
    ]
    write_bytes(out / RESULTS, "".join(json.dumps(line) + "\n" for line in flat).encode())
    text = io.StringIO()
    if flat:
        table = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(
            {k: json.dumps(v) if isinstance(v, list | dict | bool) else v for k, v in f.items()} for f in flat
        )
    write_bytes(out / TABLE, text.getvalue().encode())
    compared = {"means": means(records), "differences": differences}
    write_json(out / COMPARISONS, compared if refused is None else {"refused": refused})


def means(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Compute means over seeds: finished runs and mean figures for each combination of the other settings.

    `best` and `gain` have a deviation and Student's 95% interval over the seeds, null for a run alone.
    """
    found = []
    for rest, group in _group(records, without=(SEED,)):
        figures: dict[str, Any] = {
            name: mean(r["figures"][name] for r in group) for name in ("base", "best", "gain", "val_area", "rows")
        }
        for name in ("best", "gain"):
            values = [r["figures"][name] for r in group]
            interval = mean_interval(values) if len(values) > 1 else None
            figures[f"{name}_deviation"] = stdev(values) if len(values) > 1 else None
            figures[f"{name}_low"] = None if interval is None else interval.low
            figures[f"{name}_high"] = None if interval is None else interval.high
        found.append({"settings": rest, "runs": len(group), **figures})
    return found


def differences(records: Sequence[Record], out: Path, paired_by: Sequence[str] = (SEED,)) -> list[Difference]:
    """Compare each value of every varied key with the key's first value, pair by pair.

    A pair is two runs that are equal in `paired_by` and in all other settings; the keys of `paired_by` are not
    compared. Runs tested on other instances are no pair: another task or `task.seed` has other questions.
    """
    keys = list(records[0]["settings"]) if records else []
    found = []

    def pairing(record: Record) -> str:
        return json.dumps([record["settings"].get(key) for key in paired_by])

    for key in keys:
        values = _distinct(r["settings"][key] for r in records)
        if key in paired_by or len(values) < 2:
            continue
        for rest, group in _group(records, without=(*paired_by, key)):
            firsts = {pairing(r): r for r in group if r["settings"][key] == values[0]}
            for value in values[1:]:
                others = [r for r in group if r["settings"][key] == value and pairing(r) in firsts]
                pairs = [(firsts[pairing(r)], r) for r in others]
                pairs = [(a, b) for a, b in pairs if same_test(*(data_of(out / r["name"]) for r in (a, b)))]
                if pairs and (one := _difference(key, value, rest, pairs, out)) is not None:
                    found.append(one)
    for one, p in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = p
    return found


def data_of(run_dir: Path) -> dict[str, Any] | None:
    """What the manifest of a run says of its data; None where it says nothing, or there is no run yet."""
    from dataenvgym.runs.data import DATA
    from dataenvgym.runs.folder import read_manifest

    try:
        return read_manifest(run_dir).get(DATA)
    except RunFolderError:
        return None


def same_test(first: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two runs were tested on the same instances; True where that was not recorded."""
    from dataenvgym.runs.data import other_splits

    return first is None or other is None or "test" not in other_splits(first, other)


def mixed_data(episodes: Sequence[Episode], out: Path) -> str | None:
    """Why the runs of a sweep cannot be compared: two with the same task settings are on different data.

    None where that is not so. Runs without a record of their data are passed over.
    """
    from dataenvgym.runs.data import counts, other_splits

    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    for episode in episodes:
        data = data_of(out / episode.name)
        if data is None:
            continue
        key = json.dumps([episode.config.task.model_dump(mode="json"), episode.config.imports])
        name, first = seen.setdefault(key, (episode.name, data))
        if changed := other_splits(first, data):
            return (
                f"{out / name} and {out / episode.name} have the same task settings and other data, which "
                "changed between them, so the sweep cannot compare its runs ("
                + "; ".join(f"{split}: {counts(first, data, split)}" for split in changed)
                + f"). {RESULTS} has the figures of each. Delete the runs on the data that you do not mean, "
                "restore the others' data (or set task.revision), and start the sweep again."
            )
    return None


def _difference(
    key: str, value: Any, rest: dict[str, Any], pairs: Sequence[tuple[Record, Record]], out: Path
) -> Difference | None:
    """The difference of some pairs; None for one pair without a test instance in common."""

    def by(figure: str) -> list[float]:
        return [b["figures"][figure] - a["figures"][figure] for a, b in pairs]

    each, p = by("best"), None
    if len(pairs) > 1:
        interval, over, p = mean_interval(each), "runs", t_test(each)
    else:
        first, other = (_right(out / r["name"]) for r in pairs[0])
        shared = sorted(first.keys() & other.keys())  # of runs that recorded no data, perhaps not all
        if not shared:
            return None
        right = [first[i] for i in shared], [other[i] for i in shared]
        interval, over, p = paired_gain(*right), "instances", mcnemar(*right)
    return Difference(
        key=key,
        value=value,
        first=pairs[0][0]["settings"][key],
        settings=rest,
        pairs=len(pairs),
        best=mean(each),
        low=interval.low,
        high=interval.high,
        over=over,
        p=p,
        p_holm=p,
        effect=effect_size(each),
        val_area=mean(by("val_area")),
        each=each,
        area_each=by("val_area"),
    )


def mean_interval(values: Sequence[float]) -> Interval:
    """Compute the mean of two or more values with Student's 95% interval."""
    from scipy.stats import t

    middle, n = mean(values), len(values)
    half = float(t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(middle, middle - half, middle + half)


def _right(run_dir: Path) -> dict[tuple[str, str], bool]:
    """(id, question) -> whether the answer was right; one id may stand for other questions in other data."""
    return {(p.id, p.question): p.correct for p in read_jsonl(run_dir / "test" / "best.jsonl", Prediction)}


def _group(records: Sequence[Record], without: Sequence[str]) -> Iterable[tuple[dict[str, Any], list[Record]]]:
    """Group finished records by their settings without the given keys."""
    groups: dict[str, tuple[dict[str, Any], list[Record]]] = {}
    for found in records:
        if found["status"] == "finished":
            rest = {key: value for key, value in found["settings"].items() if key not in without}
            groups.setdefault(json.dumps(rest), (rest, []))[1].append(found)
    return groups.values()


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Shorten each dotted key to its last part where that is unique."""
    ends = [key.rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def format_value(value: Any) -> str:
    """Format a setting for a table."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def varying_keys(records: Sequence[Record]) -> list[str]:
    """List the keys with more than one value."""
    keys = records[0]["settings"] if records else {}
    return [key for key in keys if len(_distinct(r["settings"][key] for r in records)) > 1]


def format_settings(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Format the given keys of the settings: `structure=skill_tree state=true`."""
    names = short_names(keys)
    return " ".join(f"{names[key]}={format_value(settings[key])}" for key in keys if key in settings)
