"""report.html: what it shows, and that nothing a model wrote becomes part of the page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym import resume, run
from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.store import Store, write_bytes
from dataenvgym.envs.types import DataRequest, Plan, Prediction, Provenance, Rejected, Row, Verdict
from dataenvgym.graphs.config import dump_config, load_config
from dataenvgym.graphs.state import Step
from dataenvgym.graphs.summary import summarise
from dataenvgym.reports.html_report import write_report
from dataenvgym.reports.report import facts
from dataenvgym.runs.extend import extend

HOSTILE = "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} &amp;"


def finished(folder: Path, said: str, rows: int = 3, skill: str = "add") -> dict[str, Any]:
    """A run of one iteration in which every text that a model writes is `said`; its summary."""
    store = Store(folder)
    write_bytes(folder / "config.yaml", dump_config(load_config(None)).encode())
    write_bytes(folder / "manifest.json", b"{}")
    source = Provenance(iteration=1, request="r0", round=0, model="m", prompt="p", prompt_hash="0")

    def predicted(right: int) -> list[Prediction]:
        return [
            Prediction(
                id=str(i),
                skill=skill,
                question=said,
                gold=said,
                text=said,
                answer=said,
                correct=i < right,
                detail=said,
            )
            for i in range(4)
        ]

    row = Row(id="x", question=said, solution=said, answer=said, skill=skill, subskill=said, provenance=source)
    request = DataRequest(id="r0", skill=skill, subskill=said, count=rows, reason=said)
    bad = Rejected(row={"question": said}, verdicts=[Verdict(check="answer", passed=False, reason=said)])
    before, after = (
        store.save(f"iterations/00{i}/predictions.jsonl", predicted(right)) for i, right in ((0, 1), (1, 2))
    )
    steps = [
        Step(
            iteration=0,
            student=None,
            predictions=before,
            accuracy=0.25,
            n=4,
            rows=0,
            plan=None,
            accepted=None,
            rejected=None,
        ),
        Step(
            iteration=1,
            student="s",
            predictions=after,
            accuracy=0.5,
            n=4,
            rows=rows,
            plan=store.save("iterations/001/plan.jsonl", [Plan(policy="p", requests=[request], notes=said)]),
            accepted=store.save("iterations/001/accepted-0.jsonl", [row] * rows),
            rejected=store.save("iterations/001/rejected-0.jsonl", [bad]),
        ),
    ]
    store.save("test/base.jsonl", predicted(0))
    store.save("test/best.jsonl", predicted(3))
    return summarise(load_config(None), folder, steps, "all 1 iterations done")


def page_of(run_dir: Path, summary: dict[str, Any]) -> Page:
    return Page(write_report(run_dir, summary).read_text(encoding="utf-8"))


def test_the_figures_of_the_summary_stand_in_it_with_their_intervals(tmp_path: Path) -> None:
    page = page_of(tmp_path / "run", finished(tmp_path / "run", "fine"))
    assert "Private test: 0.000 to 0.750 , gain +0.750 (95% interval" in page.text
    assert "add 25% 50% 3 rows 4" in page.text, "val accuracy of base and iteration, the rows between, n"
    assert "0.500 (0.150 to 0.850), n = 4" in page.text
    assert "all 1 iterations done" in page.text and "budget:" in page.text


def test_what_a_model_wrote_is_shown_and_is_no_part_of_the_page(tmp_path: Path) -> None:
    plain = page_of(tmp_path / "plain", finished(tmp_path / "plain", "fine"))
    page = page_of(tmp_path / "hostile", finished(tmp_path / "hostile", HOSTILE, skill=HOSTILE))
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "{{ 7 * 7 }} &amp;" in page.text


def test_it_runs_no_script_and_fetches_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path / "run", finished(tmp_path / "run", "fine"))
    assert not {"script", "link", "img", "iframe", "object", "form"} & {*page.tags}
    assert not {"src", "href", "action"} & page.attributes
    assert not [name for name in page.attributes if name.startswith("on")]


@given(said=st.text(min_size=1, max_size=60))
def test_any_text_is_only_text(tmp_path_factory: pytest.TempPathFactory, said: str) -> None:
    folder = tmp_path_factory.mktemp("run") / "run"
    page = page_of(folder, finished(folder, said))
    assert page.tags.count("details") == 3 and page.tags.count("h2") == 5


def test_of_many_rows_some_are_shown_and_the_file_of_the_rest_is_named(tmp_path: Path) -> None:
    page = page_of(tmp_path / "run", finished(tmp_path / "run", "x" * 5_000, rows=30))
    assert "22 more in iterations/001/accepted-0.jsonl" in page.text
    assert "x … (5,000 characters)" in page.text
    assert len(page.text) < 100_000


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    summary = finished(tmp_path / "run", "fine")
    (tmp_path / "run" / "iterations" / "001" / "plan.jsonl").unlink()
    with pytest.raises(RunFolderError, match=r"plan\.jsonl: cannot be read"):
        write_report(tmp_path / "run", summary)


def test_a_run_ends_with_it_and_a_longer_run_with_another(
    tmp_path: Path, cli: Callable[..., Any], small: Callable[..., list[str]]
) -> None:
    status, said, _ = cli("run", *small(**{"budget.iterations": 1}), "--out", tmp_path / "run")
    report = tmp_path / "run" / "report.html"
    assert status == 0 and str(report) in "".join(said.split("\n"))
    one = Page(report.read_text())
    assert "iteration 1" in one.text and "iteration 2" not in one.text

    extend(tmp_path / "run", ["budget.iterations=2"])
    resume(tmp_path / "run")
    assert "iteration 2" in Page(report.read_text()).text

    report.unlink()
    resume(tmp_path / "run")
    assert report.is_file(), "made again for a run that has ended"


def test_rows_too_long_for_the_training_are_counted_everywhere(
    tmp_path: Path, cli: Callable[..., Any], small: Callable[..., list[str]]
) -> None:
    settings = small(**{"budget.iterations": 1, "student.train.max_length": 80})
    status, out, _ = cli("run", *settings, "--out", tmp_path / "run")
    said = " ".join(out.split())
    assert status == 0
    (line,) = json.loads((tmp_path / "run" / "summary.json").read_text())["rows"]
    (note,) = line["training_notes"]
    assert re.search(
        r"student\.train\.max_length = 80 tokens: \d+ of 12 rows cut.*; [1-9]\d* of 12 rows left out", note
    )
    assert f"{line['left_out']} of 12 rows left out" in note
    assert f"training of iteration 1: {note}" in said
    assert "student.train.max_length=TOKENS" in said
    text = Page((tmp_path / "run" / "report.html").read_text()).text
    assert text.count(note) == 2, "with the iteration and among the facts"


def test_many_notes_on_trainings_are_shortened(tmp_path: Path) -> None:
    summary = finished(tmp_path / "run", "fine")
    (line,) = summary["rows"]
    lines = [{**line, "iteration": n, "training_notes": [f"memory ran out {n} times"]} for n in range(1, 10)]
    said = facts({**summary, "rows": lines})
    assert len([words for words in said if words.startswith("training of iteration")]) == 5
    assert "4 more notes on trainings in summary.json" in said
    assert not [words for words in said if "max_length" in words]


@pytest.mark.parametrize(
    ("structure", "state"), [("open_ended", True), ("skill_list", False), ("skill_tree", True)]
)
def test_each_structure_has_one(
    tmp_path: Path, small: Callable[..., list[str]], structure: str, state: bool
) -> None:
    changes = {"structure": structure, "state": state, "budget.iterations": 1}
    outcome = run(load_config(None, small(**changes)[1::2]), tmp_path / "run")
    assert outcome.summary is not None
    skills = json.loads((tmp_path / "run" / "summary.json").read_text())["val"][0]["skills"]
    text = Page((tmp_path / "run" / "report.html").read_text()).text
    assert skills and all(name in text for name in skills) and structure in text
