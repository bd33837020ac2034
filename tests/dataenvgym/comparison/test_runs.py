"""`dataenvgym compare RUN RUN`: what it says of runs, and which it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import changed_summary, made_run, predictions, split_prints

from dataenvgym.envs.errors import ConfigError, RunFolderError
from dataenvgym.envs.stats import mcnemar, paired_gain
from dataenvgym.envs.store import Store
from dataenvgym.runs.comparison import compare_runs

Cli = Callable[..., tuple[int, str, str]]


def test_a_pair_is_compared_instance_by_instance(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / "a", "11110000"), made_run(tmp_path / "b", "01111110")]
    found = compare_runs(runs)
    (pair,) = found["pairs"]
    first, other = ([one == "1" for one in right] for right in ("11110000", "01111110"))
    assert pair["difference"] == paired_gain(first, other)
    assert pair["p"] == pair["p_holm"] == mcnemar(first, other)
    assert (pair["both"], pair["neither"]) == (3, 1)
    assert [one["id"] for one in pair["only_first"]] == ["test/0"]
    assert [one["id"] for one in pair["only_other"]] == ["test/4", "test/5", "test/6"]
    assert [(s["name"], s["n"], s["first"], s["other"]) for s in pair["skills"]] == [
        ("add", 4, 1.0, 0.75),
        ("double", 4, 0.0, 0.75),
    ]
    assert [(run["label"], run["name"]) for run in found["runs"]] == [("A", "a"), ("B", "b")]


@settings(max_examples=25)  # each writes two runs
@given(st.lists(st.tuples(st.sampled_from("01"), st.sampled_from("01")), min_size=1, max_size=30))
def test_every_instance_is_counted_once_and_the_other_way_round_mirrors(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    right = ["".join(one) for one in zip(*answers, strict=True)]
    runs = [made_run(folder / name, best) for name, best in zip("ab", right, strict=True)]
    ((pair,), (back,)) = compare_runs(runs)["pairs"], compare_runs(runs[::-1])["pairs"]
    alone = len(pair["only_first"]), len(pair["only_other"])
    assert pair["both"] + pair["neither"] + sum(alone) == len(answers) == sum(s["n"] for s in pair["skills"])
    assert pair["difference"].value == pytest.approx((alone[1] - alone[0]) / len(answers))
    assert back["difference"].value == pytest.approx(-pair["difference"].value) and back["p"] == pair["p"]
    assert back["only_first"] == [
        {**one, "first": one["other"], "other": one["first"]} for one in pair["only_other"]
    ]


def test_several_runs_are_each_compared_with_the_first_and_corrected_for_it(tmp_path: Path) -> None:
    rights = {"a": "0" * 12, "b": "1" * 6 + "0" * 6, "c": "1" * 8 + "0" * 4}
    pairs = compare_runs([made_run(tmp_path / n, right) for n, right in rights.items()])["pairs"]
    assert [(pair["first"], pair["other"]) for pair in pairs] == [("A", "B"), ("A", "C")]
    assert [pair["p"] for pair in pairs] == [2 / 64, 2 / 256]
    assert [pair["p_holm"] for pair in pairs] == [2 / 64, 4 / 256]


def test_areas_end_where_the_shortest_run_ends(tmp_path: Path) -> None:
    short = made_run(tmp_path / "a", curve=[(0, "0000"), (10, "1100")])
    long = made_run(tmp_path / "b", curve=[(0, "0000"), (20, "1111")])
    found = compare_runs([short, long])
    assert found["area_rows"] == 10 and [run["area"] for run in found["runs"]] == pytest.approx([0.25, 0.25])
    assert [(point["rows"], point["value"]) for point in found["runs"][1]["curve"]] == [(0, 0.0), (20, 1.0)]


def test_the_settings_that_differ_are_named(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a", settings=["structure=skill_list"])
    b = made_run(tmp_path / "b", settings=["structure=skill_tree", "teacher.policy=ucb", "seed=3"])
    first, other = compare_runs([a, b])["runs"]
    assert first["settings"] == {"seed": 0, "structure": "skill_list", "teacher.policy": None}
    assert other["settings"] == {"seed": 3, "structure": "skill_tree", "teacher.policy": "ucb"}


def refusal(*runs: Path) -> str:
    with pytest.raises(RunFolderError) as refused:
        compare_runs(runs)
    return str(refused.value)


def test_runs_whose_test_differs_are_refused_with_the_reason(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a")
    other = made_run(tmp_path / "other", data=split_prints(test="u"), settings=["task.seed=1"])
    assert (
        refusal(a, other)
        == f"{a} and {other} cannot be compared: they were tested on other instances (4 instances "
        "in the first and in the other, not the same); their configs differ in task.seed"
    )
    fewer = made_run(tmp_path / "fewer", "10", data=split_prints(test="u", count=2))
    assert "(4 instances in the first, 2 in the other); their configs name the same task" in refusal(a, fewer)
    scored = made_run(tmp_path / "scored", settings=["task.scorer=exact"])
    assert "task.scorer is the task's own in the first and 'exact' in the other" in refusal(a, scored)
    task = made_run(tmp_path / "task", settings=["task.name=functions"])
    assert "the first is of task 'arithmetic', the other of 'functions'" in refusal(a, task)


def test_without_recorded_data_the_instances_are_compared_themselves(tmp_path: Path) -> None:
    a, same = made_run(tmp_path / "a"), made_run(tmp_path / "same", forget=True)
    found = compare_runs([a, same])
    assert "B did not record its data" in " ".join(found["notes"])
    other = made_run(tmp_path / "other", said="other", forget=True)
    assert "other instances (4 and 4, in both 0, in one alone e.g. test/0)" in refusal(a, other)
    more = made_run(tmp_path / "more", "11001", forget=True)
    assert "other instances (4 and 5, in both 4, in one alone e.g. test/4)" in refusal(a, more)


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b")
    with pytest.raises(ConfigError, match="needs two runs or more; got 1"):
        compare_runs([a])
    with pytest.raises(ConfigError, match="named twice"):
        compare_runs([a, tmp_path / "b" / ".." / "a"])
    assert "is not a run" in refusal(a, tmp_path)
    Store(b).save("test/best.jsonl", predictions("11"))
    assert "are not of the same instances" in refusal(a, b)
    (b / "test" / "best.jsonl").write_text("{}\n")
    assert "best.jsonl, line 1" in refusal(a, b)
    (b / "summary.json").unlink()
    assert f"{b} has not finished. Continue it: dataenvgym resume {b}" in refusal(a, b)


def test_notes_say_what_limits_a_comparison(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a")
    assert compare_runs([a, made_run(tmp_path / "same")])["notes"] == [
        "scripted is a test instrument, not a language model"
    ]
    b = made_run(tmp_path / "b", base="1000", data=split_prints(val="w"), skill="words")
    scored = [{"iterations": n, "rows": 10 * n, "best_iteration": 1, "predictions": None} for n in (1, 2)]
    changed_summary(b, test_scored=scored)
    notes = "\n".join(compare_runs([a, b])["notes"])
    assert "B: the private test was scored 2 times" in notes
    assert "B was validated on other instances than A" in notes
    assert "the students of A and B differ before any training" in notes
    assert "A and B name the skills of the test differently" in notes


def test_the_command_says_it_on_a_narrow_terminal_and_writes_all_as_json(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    a = made_run(tmp_path / "a", "111111110000")
    b = made_run(tmp_path / "b", "000111111100", settings=["structure=open_ended"])
    changed_summary(b, cost=None)
    file = tmp_path / "deep" / "all.json"
    status, out, err = cli("compare", a, b, "--json", file)
    said = " ".join(out.split())
    assert status == 0, err
    assert "B - A: -0.083" in said and "McNemar's exact p = 1.000" in said
    assert "both solve 5, A alone 3, B alone 2, neither 2" in said
    assert "structure skill_tree open_ended" in said and "dollars 0.0000 unknown" in said
    assert "A alone, test/0: fine 0? = 0 (B: fine)" in said
    tables = [line for line in out.splitlines() if line.startswith(" ") and "alone," not in line]
    assert max(map(len, tables)) <= 80
    found = json.loads(file.read_text())
    assert len(found["pairs"][0]["only_first"]) == 3
    assert found["pairs"][0]["difference"]["value"] == pytest.approx(-1 / 12)


def test_a_mistake_of_the_command_is_one_line(tmp_path: Path, cli: Cli) -> None:
    a = made_run(tmp_path / "a")
    for arguments, said in (
        ([a], "needs two runs or more"),
        ([a, tmp_path / "nowhere"], "is not a run"),
        ([a, made_run(tmp_path / "b"), "--html", tmp_path], "is a folder; name a file"),
    ):
        status, _, err = cli("compare", *arguments)
        assert status == 1 and err.startswith("error: ") and said in err and len(err.splitlines()) == 1


def test_a_text_of_a_model_moves_no_cursor(tmp_path: Path, cli: Cli) -> None:
    hostile: Any = "[bold]\x1b[2J\x1b[31mred\r"
    runs = [made_run(tmp_path / n, r, said=hostile, skill=hostile) for n, r in (("a", "1100"), ("b", "0110"))]
    status, out, _ = cli("compare", *runs)
    assert status == 0 and "[bold]red" in out and "\x1b" not in out and "\r" not in out
