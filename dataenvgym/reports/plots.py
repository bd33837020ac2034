"""Figures of runs and sweeps for a paper, by matplotlib: curves, skills, rows, and how plans became skills."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.envs.errors import MissingDependencyError
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.text import clean
from dataenvgym.envs.types import Plan, Row
from dataenvgym.reports.curves import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".pdf", ".png")
WIDTH = 5.5  # inches: the width of a text column of the usual conference styles
NAME = 26  # characters of a skill
MOST = 12  # skills with a colour of their own; the rest are one
REST, MISSING = "other skills", "not accepted"
# The palette of M. Okabe and K. Ito (2008), told apart by people with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")
LINES, MARKS = ("-", "--", ":", "-."), ("o", "s", "^", "D", "v", "P")
GREY = "#9aa0a6"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # a skill's name is text, whatever dollars it has
    "text.usetex": False,
    "pdf.fonttype": 42,  # TrueType, which conferences ask for
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dataenvgym",  # equal figures are equal files
}


def draw(make: Callable[[], Figure], file: Path) -> None:
    """Make a figure and write it, as the file's ending says: .svg, .pdf or .png.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError("a plot needs matplotlib: pip install 'dataenvgym[plot]'") from error
    file.parent.mkdir(parents=True, exist_ok=True)
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(file.suffix.lower())
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box is drawn, as everywhere
        make().savefig(file, dpi=200, bbox_inches="tight", metadata=undated)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # no pyplot: no window, no state shared with the caller's figures

    return Figure(figsize=(width, height), layout="constrained")


class Panel(NamedTuple):
    """Curves that share axes, under a title; `names`: of the curves, where a legend tells them apart."""

    title: str
    curves: Sequence[Curve]
    names: Sequence[str] = ()


def curves(panels: Sequence[Panel]) -> Figure:
    """Draw validation accuracy over training rows, a pair of axes per panel, with 95% intervals as bars."""
    figure = _figure(WIDTH, 2.6 * len(panels))
    for panel, axes in zip(panels, figure.subplots(len(panels), 1, squeeze=False)[:, 0], strict=True):
        names = panel.names or [curve.label for curve in panel.curves]
        for number, (curve, name) in enumerate(zip(panel.curves, names, strict=True)):
            _curve(axes, curve, name, number)
        axes.set_xlabel("training rows")
        axes.set_ylabel("validation accuracy")
        axes.set_title(_name(panel.title, 80), fontsize=8)
        if len(panel.curves) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _curve(axes: Any, curve: Curve, name: str, number: int) -> None:
    rows = [point.rows for point in curve.points]
    values = [point.accuracy.value for point in curve.points]
    below = [max(0.0, point.accuracy.value - point.accuracy.low) for point in curve.points]
    above = [max(0.0, point.accuracy.high - point.accuracy.value) for point in curve.points]
    colour = COLOURS[number % len(COLOURS)]
    look: dict[str, Any] = {"color": colour, "linestyle": LINES[number % len(LINES)], "linewidth": 1.2}
    mark = MARKS[number % len(MARKS)]
    axes.errorbar(
        rows,
        values,
        [below, above],
        marker=mark,
        markersize=4,
        capsize=2,
        elinewidth=0.7,
        label=_name(name),
        **look,
    )
    best = [(point.rows, point.accuracy.value) for point in curve.points if point.best]
    if best:
        axes.scatter(*zip(*best, strict=True), s=60, facecolors="none", edgecolors=colour, zorder=3)


def skills(summary: Mapping[str, Any]) -> Figure:
    """Draw a heat map of validation accuracy by skill and iteration, with the rows that each iteration added."""
    val = summary["val"]
    names = sorted({name for point in val for name in point["skills"]})
    cells = [[point["skills"].get(name, {}).get("accuracy", float("nan")) for point in val] for name in names]
    figure = _figure(WIDTH, 0.9 + 0.24 * max(1, len(names)))
    axes = figure.subplots()
    image = axes.imshow(cells or [[float("nan")]], aspect="auto", cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(val)), ["base", *(str(point["iteration"]) for point in val[1:])])
    axes.set_yticks(range(len(names)), [_name(name) for name in names])
    axes.set_xlabel("iteration (and rows added)")
    added = [{}, *(line["skills"] for line in summary["rows"])]
    for y, line in enumerate(cells):
        for x, value in enumerate(line):
            if value == value:
                rows = added[x].get(names[y], 0)
                text = f"{value:.2f}" + (f" (+{rows})" if rows else "")
                axes.text(
                    x, y, text, ha="center", va="center", fontsize=6, color="white" if value < 0.6 else "black"
                )
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="validation accuracy", shrink=0.8)
    return figure


def allocation(summary: Mapping[str, Any]) -> dict[str, list[int]]:
    """The accepted rows of each iteration per skill, those with the most rows first; beyond `MOST`, `REST`."""
    lines = [line["skills"] for line in summary["rows"]]
    names = _largest(Counter({name: sum(line.get(name, 0) for line in lines) for line in lines for name in line}))
    found = {name: [line.get(name, 0) for line in lines] for name in names}
    rest = [sum(count for name, count in line.items() if name not in names) for line in lines]
    return {**found, REST: rest} if any(rest) else found


def _largest(totals: Counter[str]) -> list[str]:
    return [name for name, _ in sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:MOST]]


def rows(summary: Mapping[str, Any]) -> Figure:
    """Draw the accepted rows by skill as areas over the iterations; a single iteration as a bar."""
    found, numbers = allocation(summary), [line["iteration"] for line in summary["rows"]]
    figure = _figure(WIDTH, 2.8)
    axes = figure.subplots()
    colours = _colours(list(found))
    if len(numbers) > 1:
        axes.stackplot(
            numbers, *found.values(), labels=[_name(name) for name in found], colors=list(colours.values())
        )
        axes.set_xlim(numbers[0], numbers[-1])
    else:
        below = 0
        for name, counts in found.items():
            axes.bar(numbers, counts, 0.4, below, color=colours[name], label=_name(name))
            below += sum(counts)
    axes.set_xticks(numbers)
    axes.set_xlabel("iteration")
    axes.set_ylabel("accepted rows")
    if found:
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _colours(names: Sequence[str]) -> dict[str, Any]:
    """A colour per skill, of equal steps through a map whose lightness rises; what is no skill is grey."""
    from matplotlib import colormaps

    own = [name for name in names if name not in (REST, MISSING)]
    steps = colormaps["viridis"]
    found = {name: steps(k / max(1, len(own) - 1)) for k, name in enumerate(own)}
    return {name: found.get(name, GREY) for name in names}


class Flow(NamedTuple):
    """How the plans of a run became skills.

    `asked`: rows by the skill of the request, at least the accepted ones; `links`: accepted rows by (skill of the
    request, skill of the row); `gains`: of validation accuracy from base to best iteration, by skill. A skill of
    rows that validation has not has no gain.
    """

    asked: dict[str, int]
    links: dict[tuple[str, str], int]
    gains: dict[str, float]


def flow_of(run_dir: Path, summary: Mapping[str, Any]) -> Flow:
    """Follow the rows of a run from its plans to the skills.

    Raises:
        RunFolderError: a file that the summary names is gone or damaged.
    """
    asked: Counter[str] = Counter()
    links: Counter[tuple[str, str]] = Counter()
    for line in summary["rows"]:
        files, requests = line["files"], dict[str, str]()
        for plan in read_jsonl(run_dir / files["plan"], Plan) if files["plan"] else []:
            for request in plan.requests:
                requests[request.id] = request.skill
                asked[request.skill] += request.count
        for row in read_jsonl(run_dir / files["accepted"], Row) if files["accepted"] else []:
            links[requests.get(row.provenance.request, row.skill), row.skill] += 1
    for skill in {source for source, _ in links}:
        asked[skill] = max(asked[skill], sum(n for (source, _), n in links.items() if source == skill))
    best = next(point for point in summary["val"] if point["iteration"] == summary["best_iteration"])
    base = summary["val"][0]["skills"]
    gains = {
        name: found["accuracy"] - base[name]["accuracy"] for name, found in best["skills"].items() if name in base
    }
    return Flow(dict(asked), dict(links), gains)


def flow(found: Flow) -> Figure:
    """Draw bands from what the plans asked, by skill, through the accepted rows to the gain of each skill."""
    from matplotlib import colormaps

    shown = _largest(Counter(found.asked))
    asked, links = _merged(found, shown)
    left = dict(asked)
    right = Counter[str]()
    for (_, target), count in links.items():
        right[target] += count
    names = list(dict.fromkeys([*shown, *sorted(right), REST]))
    colours = _colours(names)
    figure = _figure(WIDTH, max(2.5, 0.36 * max(len(left), len(right) + 1)))
    axes = figure.subplots()
    total = sum(left.values()) or 1
    gap = 0.02 * total
    missing = total - sum(right.values())
    starts = _stack({name: left[name] for name in names if left.get(name)}, gap)
    ends = _stack({**{name: right[name] for name in names if right[name]}, MISSING: missing}, gap)
    at, into = {name: low for name, (low, _) in starts.items()}, {name: low for name, (low, _) in ends.items()}
    for name in starts:
        targets = {target: count for (source, target), count in links.items() if source == name}
        unfilled = left[name] - sum(targets.values())
        for target, count in {**{t: targets[t] for t in ends if t in targets}, MISSING: unfilled}.items():
            _band(axes, at[name], into[target], count, GREY if target == MISSING else colours[name])
            at[name] += count
            into[target] += count
    change = colormaps["RdBu"]
    for name, (low, size) in starts.items():
        axes.bar(0, size, 0.06, low, color=colours[name])
        axes.text(-0.05, low + size / 2, f"{_name(name)} {size}", ha="right", va="center", fontsize=7)
    for name, (low, size) in ends.items():
        if size:
            gain = found.gains.get(name)
            colour = GREY if gain is None else change(0.5 + gain / 2)
            axes.bar(1, size, 0.06, low, color=colour, edgecolor="#444444", linewidth=0.4)
            moved = "" if gain is None else f", {gain:+.2f}"
            axes.text(1.05, low + size / 2, f"{_name(name)} {size}{moved}", ha="left", va="center", fontsize=7)
    axes.set_xlim(-0.6, 1.7)
    axes.invert_yaxis()
    axes.axis("off")
    axes.set_title("rows asked by the plans, rows accepted, and the gain of each skill on validation", fontsize=8)
    return figure


def _merged(found: Flow, shown: Sequence[str]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """The flow with the skills that are not shown as one."""

    def name(skill: str) -> str:
        return skill if skill in shown else REST

    asked, links = Counter[str](), Counter[tuple[str, str]]()
    for skill, count in found.asked.items():
        asked[name(skill)] += count
    for (source, target), count in found.links.items():
        links[name(source), name(target)] += count
    return asked, links


def _stack(sizes: Mapping[str, int], gap: float) -> dict[str, tuple[float, int]]:
    """Where blocks begin, stacked with a gap between them, and their sizes."""
    found, low = dict[str, tuple[float, int]](), 0.0
    for name, size in sizes.items():
        found[name] = (low, size)
        low += size + gap
    return found


def _band(axes: Any, start: float, end: float, size: int, colour: Any) -> None:
    """A band of equal width from the left blocks to the right ones."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curves

    if size <= 0:
        return
    x0, x1, mid = 0.03, 0.97, 0.5
    points = [(x0, start), (mid, start), (mid, end), (x1, end)]
    points += [(x1, end + size), (mid, end + size), (mid, start + size), (x0, start + size), (x0, start)]
    codes = [Curves.MOVETO, *[Curves.CURVE4] * 3, Curves.LINETO, *[Curves.CURVE4] * 3, Curves.CLOSEPOLY]
    axes.add_patch(PathPatch(Curves(points, codes), facecolor=colour, alpha=0.45, linewidth=0))


def _name(text: str, most: int = NAME) -> str:
    text = " ".join(clean(text).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
