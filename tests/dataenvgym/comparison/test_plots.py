"""`dataenvgym plot`: figures of runs and sweeps, and what they are drawn from."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import made_run, made_sweep, right

from dataenvgym.reports.plots import MOST, REST, allocation, flow_of

pytest.importorskip("matplotlib", reason="pip install 'dataenvgym[plot]'")

Cli = Callable[..., tuple[int, str, str]]
KINDS = ("curve", "skills", "rows", "flow")
TAUGHT = [
    [("add", "add", 6, 4), ("double", "double", 4, 4)],
    [("double", "double", 5, 2), ("words", "add", 3, 3)],
]
CURVE = [(0, "1000"), (8, "1100"), (13, "1101")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run(tmp_path / "run", curve=CURVE, taught=TAUGHT)


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def drawn(cli: Cli, folder: Path, kind: str, file: Path) -> str:
    status, out, err = cli("plot", folder, "--kind", kind, "--out", file)
    assert status == 0 and str(file) in out, err
    return file.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("curve", ["training rows", "validation accuracy", "arithmetic / skill_tree"]),
        ("skills", ["add", "double", "base", "1.00 (+4)", "iteration (and rows added)"]),
        ("rows", ["accepted rows", "add", "double"]),
        ("flow", ["add 6", "words 3", "double 9", "add 7, +0.50", "double 6, +0.50", "not accepted 5"]),
    ],
)
def test_a_kind_shows_what_it_is_of(kind: str, words: list[str], run: Path, tmp_path: Path, cli: Cli) -> None:
    text = drawn(cli, run, kind, tmp_path / "figures" / "one.svg")
    assert [word for word in words if word not in text] == []
    assert text == drawn(cli, run, kind, tmp_path / "again.svg"), "equal figures are equal files"


def test_the_ending_says_the_format(run: Path, tmp_path: Path, cli: Cli) -> None:
    for ending, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".SVG", b"<?xml")):
        drawn(cli, run, "curve", tmp_path / f"one{ending}")
        assert (tmp_path / f"one{ending}").read_bytes().startswith(start)


def test_the_rows_of_a_run_are_followed_from_plan_to_skill(run: Path) -> None:
    found = flow_of(run, summary_of(run))
    assert found.asked == {"add": 6, "double": 9, "words": 3}
    assert found.links == {("add", "add"): 4, ("double", "double"): 6, ("words", "add"): 3}
    assert found.gains == {"add": 0.5, "double": 0.5}


def test_more_rows_than_were_asked_are_no_negative_rest(tmp_path: Path, cli: Cli) -> None:
    run = made_run(tmp_path / "run", taught=[[("add", "add", 0, 3)]])
    assert flow_of(run, summary_of(run)).asked == {"add": 3}
    assert "not accepted" not in drawn(cli, run, "flow", tmp_path / "one.svg")


@given(st.lists(st.dictionaries(st.sampled_from([f"s{n}" for n in range(30)]), st.integers(0, 50)), min_size=1))
def test_the_areas_hold_every_row(skills: list[dict[str, int]]) -> None:
    found = allocation({"rows": [{"skills": line} for line in skills]})
    for number, line in enumerate(skills):
        assert sum(counts[number] for counts in found.values()) == sum(line.values())
    assert len(found) <= MOST + 1 and list(found)[MOST:] in ([], [REST])


def test_a_run_without_rows_and_one_of_one_iteration_are_drawn(tmp_path: Path, cli: Cli) -> None:
    base = made_run(tmp_path / "base", curve=CURVE[:1])
    one = made_run(tmp_path / "one", curve=CURVE[:2], taught=TAUGHT[:1])
    for run in (base, one):
        for kind in KINDS:
            drawn(cli, run, kind, tmp_path / f"{run.name}-{kind}.svg")


@pytest.mark.parametrize(
    "name", ["$\\frac{1}{", "<script>alert(1)</script>", "\x1b[31mred\x00", "日本語", "_" * 300]
)
def test_a_name_that_a_model_gave_is_text(name: str, tmp_path: Path, cli: Cli) -> None:
    run = made_run(tmp_path / "run", skill=name, curve=CURVE, taught=[[(name, name, 3, 2)]])
    for kind in KINDS:
        text = drawn(cli, run, kind, tmp_path / f"{kind}.svg")
        assert "<script" not in text and "\x1b" not in text and "_" * 30 not in text


def test_the_curves_of_a_sweep_are_means_per_task(tmp_path: Path, cli: Cli) -> None:
    curve = [(0, right(0.2, 20)), (10, right(0.5, 20))]
    runs = [
        ({"structure": structure, "seed": seed}, {"curve": curve})
        for structure in ("skill_list", "skill_tree")
        for seed in (0, 1)
    ]
    out = made_sweep(tmp_path / "out", runs)
    text = drawn(cli, out, "curve", tmp_path / "one.svg")
    assert "skill_list, with state" in text and "skill_tree, with state" in text
    status, _, err = cli("plot", out, "--kind", "flow", "--out", tmp_path / "two.svg")
    assert status == 1 and "is a sweep, and --kind flow is of a run" in err


def test_mistakes_are_told_in_a_line(run: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> str:
        status, _, err = cli("plot", *arguments)
        assert status == 1 and err.startswith("error: ") and len(err.splitlines()) == 1
        return err

    assert "expected a file that ends in .svg, .pdf, .png" in refused(run, "--out", tmp_path / "one.gif")
    assert "is not a run" in refused(tmp_path, "--out", tmp_path / "one.svg")
    (run / "iterations" / "001" / "plan.jsonl").unlink()
    assert "plan.jsonl: cannot be read" in refused(run, "--kind", "flow", "--out", tmp_path / "one.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'dataenvgym[plot]'" in refused(run, "--out", tmp_path / "one.svg")
    (run / "summary.json").unlink()
    assert "has not finished" in refused(run, "--out", tmp_path / "one.svg")
    assert not list(tmp_path.glob("*.svg"))
