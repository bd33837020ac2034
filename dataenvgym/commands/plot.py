"""`dataenvgym plot`: a figure of a run or a sweep for a paper."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.commands.arguments import Commands
from dataenvgym.envs.errors import ConfigError, RunFolderError, is_full

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {
    "curve": "validation accuracy over rows with 95% intervals; of a sweep the means over seeds",
    "skills": "a heat map of validation accuracy by skill and iteration",
    "rows": "the accepted rows by skill, as areas over the iterations",
    "flow": "from what the plans asked through the accepted rows to the gain of each skill",
}
EXAMPLES = """\
examples:
  dataenvgym plot runs/first --kind curve --out curve.pdf
  dataenvgym plot runs/teachers --kind curve --out teachers.svg     of a sweep
  dataenvgym plot runs/first --kind flow --out flow.png
"""


def add_parser(commands: Commands) -> None:
    """Add the command `plot`."""
    parser = commands.add_parser(
        "plot",
        help="draw a figure of a run or a sweep for a paper",
        description="Draw a finished run, or the curves of a sweep, by matplotlib.",
        epilog="\n".join(["kinds:", *(f"  {name:8}{text}" for name, text in KINDS.items()), "", EXAMPLES]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, metavar="RUN", help="the run folder, or with `curve` a sweep's folder"
    )
    parser.add_argument("--kind", choices=tuple(KINDS), default="curve", help="what is drawn (default: curve)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write: .svg, .pdf or .png"
    )
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from dataenvgym.reports.plots import SUFFIXES, draw
    from dataenvgym.sweeps.results import RESULTS

    folder, kind, out = arguments.folder, arguments.kind, arguments.out
    if out.suffix.lower() not in SUFFIXES or out.is_dir():
        raise ConfigError(f"--out {out}: expected a file that ends in {', '.join(SUFFIXES)}")
    if (folder / RESULTS).is_file():
        if kind != "curve":
            raise ConfigError(f"{folder} is a sweep, and --kind {kind} is of a run; name one of its folders")
        make = _of_sweep(folder)
    else:
        make = _of_run(folder, kind)
    try:
        draw(make, out)
    except OSError as error:
        if is_full(error):
            raise
        raise ConfigError(f"{out} cannot be written ({error.strerror}); name another file") from error
    print(f"drawn to {out}")  # noqa: T201
    return 0


def _of_run(run_dir: Path, kind: str) -> Callable[[], Figure]:
    from dataenvgym.reports import plots
    from dataenvgym.reports.html_report import val_curve
    from dataenvgym.reports.report import headline
    from dataenvgym.runs.folder import open_run, read_summary

    open_run(run_dir)
    summary: dict[str, Any] | None = read_summary(run_dir)
    if summary is None:
        raise RunFolderError(f"{run_dir} has not finished. Continue it: dataenvgym resume {run_dir}")
    if kind == "curve":
        return lambda: plots.curves([plots.Panel(headline(summary), [val_curve(summary)])])
    if kind == "flow":
        found = plots.flow_of(run_dir, summary)
        return lambda: plots.flow(found)
    return lambda: {"skills": plots.skills, "rows": plots.rows}[kind](summary)


def _of_sweep(folder: Path) -> Callable[[], Figure]:
    from dataenvgym.reports import plots
    from dataenvgym.sweeps.comparison import compare_sweep
    from dataenvgym.sweeps.comparison_display import mean_curves

    found = compare_sweep(folder)
    panels = []
    for column, lines in zip(found["columns"], found["curves"], strict=True):
        names = [line["name"] for line, one in zip(found["lines"], lines, strict=True) if one["points"]]
        panels.append(plots.Panel(column, mean_curves(lines), names))
    return lambda: plots.curves(panels)
