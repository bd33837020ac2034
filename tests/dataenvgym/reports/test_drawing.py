"""`dataenvgym graph`: Mermaid text, SVG and PNG of the structures and of graphs of one's own.

After a change of the wiring the stored texts are made anew by:
for s in open_ended skill_list skill_tree; do dataenvgym graph $s --out tests/dataenvgym/drawings/$s.mmd; done
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dataenvgym.envs.errors import ConfigError
from dataenvgym.graphs.config import STRUCTURES
from dataenvgym.reports.drawing import draw, drawable, mermaid

Cli = Callable[..., tuple[int, str, str]]
STORED = Path(__file__).parent / "drawings"
TEACHER = {"read_feedback", "plan_data", "approve_plan", "generate_data", "verify_data"}
EPISODE = {"reset", "train", "evaluate", "finish"}
SVG = "{http://www.w3.org/2000/svg}"
OWN = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph

class State(TypedDict):
    x: int

builder = StateGraph(State)
builder.add_node("<b>odd</b>", lambda state: state)
builder.add_node("back\\\\nslash", lambda state: state)
builder.add_edge(START, "<b>odd</b>")
builder.add_conditional_edges("<b>odd</b>", lambda state: "x & y", {"x & y": "back\\\\nslash", "z": END})
graph = builder.compile()
no_entry = StateGraph(State)
no_entry.add_node("alone", lambda state: state)
number = 5

def rows_from(observation):
    return []
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder, under a name of its own."""
    name = f"teacher_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def texts(svg: str) -> list[str]:
    """What is written in a drawing, in order."""
    return [(element.text or "").strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_mermaid_text_of_a_structure_is_the_stored_one(structure: str, cli: Cli, tmp_path: Path) -> None:
    stored = (STORED / f"{structure}.mmd").read_text()
    assert cli("graph", structure) == (0, stored, "")
    file = tmp_path / "new" / "graph.mmd"
    assert cli("graph", structure, "--out", file)[0] == 0
    assert file.read_text() == stored


def test_the_teacher_alone_has_no_episode_around_it(cli: Cli) -> None:
    status, out, _ = cli("graph", "skill_list", "--teacher")
    assert status == 0
    assert all(f"({node})" in out for node in TEACHER)
    assert not any(f"({node})" in out for node in EPISODE)


def test_the_same_text_in_every_process() -> None:
    """No set's order shows in it."""
    code = "from dataenvgym.reports.drawing import *; print(mermaid(drawable('skill_tree')), end='')"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {mermaid(drawable("skill_tree"))}


def test_an_svg_has_every_node_and_edge(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz")
    file = tmp_path / "episode.svg"
    assert cli("graph", "skill_tree", "--out", file)[0] == 0
    graph, svg = drawable("skill_tree"), file.read_text()
    written = texts(svg)
    assert set(written) >= TEACHER | EPISODE | {"start", "end", "teach"}
    groups = list(ElementTree.fromstring(svg).iter(f"{SVG}g"))
    edges = [group for group in groups if group.get("class") == "edge"]
    assert len(edges) == len(graph.edges)
    assert sum("stroke-dasharray" in (edge[1].attrib) for edge in edges) == sum(e.conditional for e in graph.edges)
    labels = [str(edge.data) for edge in graph.edges if edge.data is not None]
    assert labels and all(written.count(label) >= labels.count(label) for label in labels)
    assert sum(group.get("class") == "cluster" for group in groups) == 1  # the teacher, framed


def test_no_two_texts_of_a_drawing_overlap(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz")
    for structure in STRUCTURES:
        file = tmp_path / f"{structure}.svg"
        assert cli("graph", structure, "--out", file)[0] == 0
        boxes = []
        for element in ElementTree.fromstring(file.read_text()).iter(f"{SVG}text"):
            size, x, y = (float(element.attrib[key]) for key in ("font-size", "x", "y"))
            half = 0.3 * size * len((element.text or "").strip())
            boxes.append((x - half, y - 0.75 * size, x + half, y + 0.2 * size))
        for number, one in enumerate(boxes):
            for other in boxes[:number]:
                apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
                assert apart, (structure, one, other)


def test_a_png_is_one(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz")
    file = tmp_path / "episode.png"
    assert cli("graph", "skill_tree", "--teacher", "--out", file) == (0, f"drawn into {file}\n", "")
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_graphviz_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygraphviz")
    draw(drawable("open_ended"), ".png")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["builder", "graph"])
def test_a_graph_of_ones_own_is_drawn_by_its_name(kind: str, own: str, cli: Cli) -> None:
    status, out, _ = cli("graph", f"{own}:{kind}")
    assert status == 0 and "odd" in out and "x & y" in out.replace("&nbsp;", "")
    assert cli("graph", f"{own}.py:{kind}")[1] == out


def test_a_plain_function_is_drawn_as_the_teacher_it_makes(own: str, cli: Cli) -> None:
    status, out, _ = cli("graph", f"{own}:rows_from")
    assert status == 0 and "rows_from" in out and "verify_data" in out


def test_odd_names_are_drawn_letter_by_letter(own: str) -> None:
    pytest.importorskip("pygraphviz")
    svg = draw(drawable(f"{own}:graph"), ".svg").decode()
    assert {"<b>odd</b>", "back\\nslash", "x & y", "z", "start", "end"} == set(texts(svg))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{own}:number", r"{own}:number is of type int; expected a StateGraph, a compiled graph"),
        ("{own}:State", r"{own}:State is the class State; expected a StateGraph"),
        ("{own}:no_entry", r"{own}:no_entry does not compile: .*entry"),
        ("{own}:grahp", r"Did you mean 'graph'"),
        ("no_such_module:graph", r"no module 'no_such_module'"),
        ("{own}:", "module:attribute"),
    ],
)
def test_what_is_no_graph_is_told(name: str, said: str, own: str, cli: Cli) -> None:
    status, out, err = cli("graph", name.format(own=own))
    assert (status, out) == (1, "")
    assert re.search(said.format(own=own), err)


def test_a_teacher_within_a_graph_of_ones_own_is_not_looked_for(own: str, cli: Cli) -> None:
    status, _, err = cli("graph", f"{own}:graph", "--teacher")
    assert status == 1 and "drawn as it is" in err


@pytest.mark.parametrize("name", ["graph.jpg", "graph", "graph.SVG.txt"])
def test_a_file_of_another_kind_is_refused_before_anything_is_drawn(name: str, cli: Cli, tmp_path: Path) -> None:
    status, _, err = cli("graph", "skill_tree", "--out", tmp_path / name)
    assert status == 1 and ".svg, .png, .mmd" in err
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    status, _, err = cli("graph", "skill_tree", "--out", tmp_path / "taken" / "graph.mmd")
    assert status == 1 and "cannot be written" in err


def test_a_missing_pygraphviz_names_the_install_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    status, _, err = cli("graph", "skill_tree", "--out", tmp_path / "graph.svg")
    assert status == 1 and "pip install 'dataenvgym[draw]'" in err
    assert cli("graph", "skill_tree", "--out", tmp_path / "graph.mmd")[0] == 0


def test_a_structure_and_its_teacher_in_python() -> None:
    names = {node.name for node in drawable("open_ended", teacher=True).nodes.values()}
    assert names == {*TEACHER, "__start__", "__end__"}
    with pytest.raises(ConfigError, match="--teacher"):
        drawable("dataenvgym.graphs.skill_tree:graph", teacher=True)
