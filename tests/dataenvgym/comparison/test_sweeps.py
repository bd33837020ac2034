"""`dataenvgym compare SWEEP`: means over seeds, pairs over seeds and tasks, the table of the paper."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import made_sweep, right, split_prints
from scipy.stats import t, ttest_rel

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.stats import holm, mcnemar
from dataenvgym.sweeps.comparison import compare_sweep
from dataenvgym.sweeps.comparison_display import table_lines

Cli = Callable[..., tuple[int, str, str]]
MEASUREMENTS = Path(__file__).parents[3] / "docs" / "measurements.md"
Made = tuple[dict[str, Any], dict[str, Any] | None]


def made(best: float, base: float = 0.2, n: int = 20, **more: Any) -> dict[str, Any]:
    return {"best": right(best, n), "base": right(base, n), **more}


TASKS = {"arithmetic": split_prints(test="a"), "functions": split_prints(test="f")}
BESTS = {  # of the seeds 0, 1 and 2
    ("skill_list", False, "arithmetic"): (0.3, 0.4, 0.4),
    ("skill_list", True, "arithmetic"): (0.5, 0.5, 0.7),
    ("skill_list", False, "functions"): (0.2, 0.4, 0.3),
    ("skill_list", True, "functions"): (0.6, 0.5, 0.4),
}


def two_tasks() -> Iterator[Made]:
    for (structure, state, task), bests in BESTS.items():
        for seed, best in enumerate(bests):
            settings = {"structure": structure, "state": state, "task.name": task, "seed": seed}
            yield settings, made(best, data=TASKS[task])


def test_differences_are_paired_over_seeds_and_tasks(tmp_path: Path) -> None:
    found = compare_sweep(made_sweep(tmp_path, list(two_tasks())))
    assert found["paired_by"] == ["seed", "task.name"] and found["columns"] == ["arithmetic", "functions"]
    (one,) = found["differences"]
    without, with_state = ([x for k, v in BESTS.items() if k[1] is state for x in v] for state in (False, True))
    theirs = ttest_rel(with_state, without)
    assert (one["key"], one["value"], one["first"], one["pairs"]) == ("state", True, False, 6)
    assert one["each"] == pytest.approx([b - a for a, b in zip(without, with_state, strict=True)])
    assert one["p"] == one["p_holm"] == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.95)
    assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))


def test_the_papers_table_has_a_line_per_teacher_and_a_column_per_task(tmp_path: Path) -> None:
    found = compare_sweep(made_sweep(tmp_path, list(two_tasks())))
    lines = table_lines(found)
    assert [line["name"] for line in lines] == ["before", "skill_list, no state", "skill_list, with state"]
    texts = [[cell["text"] for cell in line["cells"]] for line in lines]
    assert texts == [
        ["20.00", "20.00"],
        ["36.67 (+16.67)", "30.00 (+10.00)"],
        ["56.67 (+36.67)", "50.00 (+30.00)"],
    ]
    assert [line["average"] for line in lines] == ["-", "+13.33", "+33.33"]
    assert [[cell["best"] for cell in line["cells"]] for line in lines[1:]] == [[False, False], [True, True]]
    cell = found["lines"][1]["cells"][0]
    half = t.ppf(0.975, 2) * 0.11547005 / 3**0.5
    assert (cell["best_low"], cell["best_high"]) == pytest.approx((0.5666667 - half, 0.5666667 + half))


def test_the_student_of_a_task_goes_along_with_it(tmp_path: Path) -> None:
    students = {"arithmetic": "smollm2", "functions": "tiny"}
    runs = [({**settings, "student.name": students[settings["task.name"]]}, run) for settings, run in two_tasks()]
    found = compare_sweep(made_sweep(tmp_path, runs))
    assert found["columns"] == ["arithmetic (smollm2)", "functions (tiny)"]
    assert [d["pairs"] for d in found["differences"]] == [6] and len(found["lines"]) == 2


def test_holm_is_over_all_differences_and_one_pair_is_tested_over_its_instances(tmp_path: Path) -> None:
    values = {"ucb": 0.2, "random": 0.6, "llm": 0.9}
    runs: list[Made] = [
        ({"structure": "skill_tree", "teacher.policy": policy, "seed": 0}, made(best))
        for policy, best in values.items()
    ]
    found = compare_sweep(made_sweep(tmp_path, runs))
    answers = [[one == "1" for one in right(best, 20)] for best in values.values()]
    ps = [mcnemar(answers[0], answers[1]), mcnemar(answers[0], answers[2])]
    assert [d["over"] for d in found["differences"]] == ["instances", "instances"]
    assert [d["p"] for d in found["differences"]] == ps
    assert [d["p_holm"] for d in found["differences"]] == holm(ps)
    assert [d["effect"] for d in found["differences"]] == [None, None]
    assert "one seed alone" in found["notes"][0]
    assert [line["name"] for line in found["lines"]] == [
        f"skill_tree, with state, policy={policy}" for policy in values
    ]


def test_what_has_not_finished_is_named_and_left_out(tmp_path: Path) -> None:
    runs = [(settings, None if settings["seed"] == 2 else run) for settings, run in two_tasks()]
    found = compare_sweep(made_sweep(tmp_path, runs))
    assert found["finished"] == 8 and found["unfinished"][0] == "r2 (failed)"
    assert [d["pairs"] for d in found["differences"]] == [4]
    with pytest.raises(RunFolderError, match=r"no run of .* has finished"):
        compare_sweep(made_sweep(tmp_path / "none", [({"seed": 0}, None)]))


def test_a_task_that_a_teacher_was_not_run_on_is_left_open(tmp_path: Path) -> None:
    runs = [(s, run) for s, run in two_tasks() if s["state"] or s["task.name"] == "arithmetic"]
    lines = table_lines(compare_sweep(made_sweep(tmp_path, runs)))
    assert lines[1]["cells"][1]["text"] == "-" and lines[1]["average"] == "-"


def test_runs_of_one_task_that_were_tested_on_other_instances_are_refused(tmp_path: Path) -> None:
    runs: list[Made] = [
        ({"seed": seed}, made(0.5, data=split_prints(test="tu"[seed], count=20))) for seed in (0, 1)
    ]
    with pytest.raises(RunFolderError, match=r"r0 and .*r1 have the same task settings .*\(20 instances in the"):
        compare_sweep(made_sweep(tmp_path, runs))


@pytest.mark.parametrize("text", ["{", "[]", '{"status": "finished"}'])
def test_a_damaged_sweep_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text(text)
    with pytest.raises(RunFolderError, match=r"results\.jsonl is damaged \(line 1"):
        compare_sweep(tmp_path)


def test_the_command_says_it_and_writes_a_page(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = made_sweep(tmp_path / "six", list(two_tasks()))
    status, said, err = cli("compare", out, "--html", tmp_path / "p.html", "--json", tmp_path / "all.json")
    assert status == 0, err
    said = " ".join(said.split())
    assert "sweep six: 12 finished runs" in said and "36.67 (+16.67)" in said and "+13.33" in said
    assert "differences paired by seed and task" in said and "state: true - false" in said
    page = (tmp_path / "p.html").read_text()
    for words in ("36.67 (+16.67)", "<b>56.67 (+36.67)</b>", "Paired differences", "mean of 3 runs"):
        assert words in page
    assert "<script" not in page and "://" not in page
    assert len(json.loads((tmp_path / "all.json").read_text())["differences"][0]["each"]) == 6
    status, _, err = cli("compare", out, out / "r0")
    assert status == 1 and "compare one sweep alone" in err
    assert cli("compare", out / "r0", out / "r1")[0] == 0, "a sweep's runs are runs"


def test_a_name_with_brackets_is_no_markup(tmp_path: Path, cli: Cli) -> None:
    runs = list(two_tasks())
    for settings, _ in runs:
        settings["student.name"] = f"{settings['task.name']}[/red]"
    out = made_sweep(tmp_path / "out", runs)
    status, said, err = cli("compare", out)
    assert status == 0 and "(arithmetic[/red])" in "".join(said.split()), err


@pytest.mark.skipif(not MEASUREMENTS.is_file(), reason="the documentation is not beside these tests")
def test_the_six_teachers_of_the_documentation(tmp_path: Path) -> None:
    tables = MEASUREMENTS.read_text().partition("## Six teachers")[2].partition("\n## ")[0]
    runs: list[Made] = []
    for line in re.findall(r"^\| \w+ \| (?:yes|no) \|.*$", tables, re.MULTILINE):
        structure, state, seed, rows, curve, area, base, best, *_ = (
            cell.strip() for cell in line.strip("|").split("|")
        )
        points = [(80 * n, right(float(one), 144)) for n, one in enumerate(curve.split())]
        assert rows == str(points[-1][0])
        settings = {"structure": structure, "state": state == "yes", "seed": int(seed)}
        runs.append((settings, made(float(best), float(base), 240, curve=points)))
    found = compare_sweep(made_sweep(tmp_path, runs))
    assert found["finished"] == 18 and len(found["lines"]) == 6
    cells = {(one["settings"]["structure"], one["settings"]["state"]): one["cells"][0] for one in found["lines"]}
    states = {d["settings"]["structure"]: d for d in found["differences"] if d["key"] == "state"}
    expected = re.findall(
        r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([-+\d. ]+) \| ([\d.]+) \| ([\d.]+) \|$", tables, re.M
    )
    assert len(expected) == 3
    for structure, area, area_without, each, best, best_without in expected:
        with_state, without = cells[structure, True], cells[structure, False]
        assert f"{with_state['val_area']:.3f} {without['val_area']:.3f}" == f"{area} {area_without}"
        assert f"{with_state['best']:.3f} {without['best']:.3f}" == f"{best} {best_without}"
        theirs = [-one for one in states[structure]["area_each"]]  # the sweep's first value is with state
        assert [f"{one:+.3f}" for one in theirs] == each.split()
    family = [d["p"] for d in found["differences"]]
    assert len(family) == 7 and [d["p_holm"] for d in found["differences"]] == holm(family)
