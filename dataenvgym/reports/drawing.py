"""Draw a graph as Mermaid text, or as SVG or PNG by Graphviz, without a network."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import ConfigError, MissingDependencyError, UnknownNameError

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Edge, Graph

SUFFIXES = (".svg", ".png", ".mmd")
# Verdana is as wide as DejaVu Sans, and other fallback fonts are narrower, so labels fit their boxes.
FONT = "DejaVu Sans,Verdana,sans-serif"
INK, LINE, FRAME = "#1f2937", "#64748b", "#94a3b8"
_TEXT = {"fontname": FONT, "fontcolor": INK}
GRAPH = {
    "bgcolor": "white",
    "newrank": "true",  # one order from top to bottom for the nodes of inner and outer graphs
    "nodesep": "0.45",
    "ranksep": "0.5",
    "pad": "0.3",
}
NODE = {**_TEXT, "fontsize": "12", "shape": "box", "style": "rounded,filled", "fillcolor": "#e8e4ff", "color": INK}
NODE |= {"penwidth": "0.8", "margin": "0.2,0.1", "height": "0.4"}
END_NODE = {"fillcolor": "#cbd5e1", "height": "0.3"}
EDGE = {**_TEXT, "fontsize": "10", "color": LINE, "arrowsize": "0.7", "penwidth": "1.1"}
INNER = {**_TEXT, "fontsize": "12", "labeljust": "l", "style": "rounded,filled", "color": FRAME, "margin": "16"}
SHADES = ("#f8fafc", "#eef2f7")  # of inner graphs, by depth
ENDS = {"__start__": "start", "__end__": "end"}
PNG_DPI = 144


# A Linux machine, e.g. a container, may have no fonts; the font of matplotlib is used then.
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
FONT_SETTINGS = "FONTCONFIG_FILE"


def drawable(name: str, teacher: bool = False) -> Graph:
    """Load the graph of a structure (the whole episode, or its teacher alone), or of an object `module:attribute`.

    Raises:
        UnknownNameError: no such structure, or the module has no such attribute.
        ConfigError: no such module, or the object is no graph; the text says what was found.
    """
    from dataenvgym.graphs.config import STRUCTURES
    from dataenvgym.graphs.episode import build_episode
    from dataenvgym.graphs.teacher import build_teacher

    if ":" in name:
        if teacher:
            raise ConfigError(f"--teacher is for structures; {name} is drawn as it is")
        return _own(name)
    if name not in STRUCTURES:
        raise UnknownNameError("structure", name, STRUCTURES)
    graph: Any = build_teacher(name) if teacher else build_episode(structure=name)
    return _seen(graph.compile())


def _own(name: str) -> Graph:
    from inspect import isclass, isfunction

    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel

    from dataenvgym.envs.loading import load_object
    from dataenvgym.graphs.compose import compiled

    found = load_object(name)
    if not isfunction(found) and not isinstance(found, StateGraph | Pregel):
        what = f"the class {found.__name__}" if isclass(found) else f"of type {type(found).__name__}"
        raise ConfigError(
            f"{name} is {what}; expected a StateGraph, a compiled graph, or a teacher that is a plain function"
        )
    try:
        return _seen(compiled(found, "skill_tree"))
    except ValueError as error:  # LangGraph's error for a graph without an entry, with unknown nodes, ...
        raise ConfigError(f"{name} does not compile: {error}") from error


def _seen(graph: Any) -> Graph:
    seen: Graph = graph.get_graph(xray=True)
    return seen


def mermaid(graph: Graph) -> str:
    """Draw the graph as Mermaid text."""
    return graph.draw_mermaid().rstrip() + "\n"


def draw(graph: Graph, suffix: str) -> bytes:
    """Draw the graph by Graphviz as ".svg" or ".png": inner graphs framed, conditional edges dashed.

    Raises:
        MissingDependencyError: pygraphviz, which brings Graphviz along, is not installed.
    """
    try:
        from pygraphviz import AGraph
    except ImportError as error:
        raise MissingDependencyError(
            "a drawing needs pygraphviz: pip install 'dataenvgym[draw]'. Without it: --out FILE.mmd"
        ) from error
    canvas = AGraph(directed=True, strict=False)
    canvas.graph_attr.update(GRAPH)
    canvas.node_attr.update(NODE)
    canvas.edge_attr.update(EDGE)
    if suffix == ".png":
        canvas.graph_attr["dpi"] = str(PNG_DPI)
    frames: dict[tuple[str, ...], Any] = {(): canvas}
    ids = {}
    for number, node in enumerate(graph.nodes.values()):
        *outer, name = node.id.split(":") if ":" in node.id else [node.name]
        ids[node.id] = f"n{number}"
        look = END_NODE if name in ENDS else {}
        _frame(frames, tuple(outer)).add_node(ids[node.id], label=_plain(ENDS.get(name, name)), **look)
    for edge in graph.edges:
        canvas.add_edge(ids[edge.source], ids[edge.target], **_look(edge))
    with _fonts(), _without_warnings():
        drawing: bytes = canvas.draw(format=suffix.removeprefix("."), prog="dot")
    return drawing


@contextmanager
def _fonts() -> Iterator[None]:
    """Set Graphviz's font folder at its first use in this process, unless the user has set it."""
    matplotlib = find_spec("matplotlib")
    if sys.platform != "linux" or FONT_SETTINGS in os.environ or matplotlib is None or not matplotlib.origin:
        yield
        return
    folders = [*FONT_FOLDERS, str(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf")]
    parts = [*(f"<dir>{folder}</dir>" for folder in folders), '<dir prefix="xdg">fonts</dir>']
    parts.append('<cachedir prefix="xdg">fontconfig</cachedir>')
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "fonts.conf"
        file.write_text(f'<?xml version="1.0"?>\n<fontconfig>{"".join(parts)}</fontconfig>\n')
        os.environ[FONT_SETTINGS] = str(file)
        try:
            yield
        finally:
            del os.environ[FONT_SETTINGS]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Filter stderr: the wheel's fontconfig warns about samples of a newer version, which it does not use."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            lines = captured.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not line.startswith("Fontconfig warning")))


def _frame(frames: dict[tuple[str, ...], Any], names: tuple[str, ...]) -> Any:
    """Return the frame of an inner graph within its outer frames, created on first use."""
    if names not in frames:
        outer = _frame(frames, names[:-1])
        look = {**INNER, "label": _plain(names[-1]), "fillcolor": SHADES[(len(names) - 1) % len(SHADES)]}
        frames[names] = outer.add_subgraph([], name=f"cluster_{len(frames)}", **look)
    return frames[names]


def _look(edge: Edge) -> dict[str, str]:
    label = "" if edge.data is None else f" {_plain(str(edge.data))} "
    return {"label": label, "style": "dashed" if edge.conditional else "solid"}


def _plain(text: str) -> str:
    """Escape a label so that Graphviz shows it literally, without escapes and markup."""
    text = text.replace("\\", "\\\\")
    return f"{text} " if text.startswith("<") and text.endswith(">") else text
