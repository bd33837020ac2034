"""Edit a teacher: functions that change the builder from `build_teacher`, and teachers from a plain function.

graph = build_teacher("skill_list")
replace_node(graph, "plan_data", planner(my_policy))
insert_after(graph, "plan_data", "critic", critic)
dataenvgym.run(config, teacher=graph)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sized
from inspect import isawaitable, isfunction
from itertools import islice
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import ValidationError

from dataenvgym.envs.errors import TeacherError, UnknownNameError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import DataRequest, Plan, Provenance, Row
from dataenvgym.graphs.config import EpisodeConfig, Structure, config_for
from dataenvgym.graphs.files import observation_of, save
from dataenvgym.graphs.state import TeacherInput, TeacherOutput, TeacherState
from dataenvgym.graphs.teacher import verify_data
from dataenvgym.graphs.timing import timed

Builder = StateGraph[Any, Any, Any, Any]
Node = Any
"""A function of (state) or (state, runtime), async or not, or a compiled graph."""

RowMappings = Iterable[Mapping[str, Any]]
Writer = Callable[[Observation], RowMappings | Awaitable[RowMappings]]
"""A plain function from an observation to rows: mappings with question, solution, answer, skill."""


def replace_node(graph: Builder, name: str, node: Node) -> None:
    """Replace the node `name`; its edges stay.

    Raises:
        UnknownNameError: the graph has no such node.
    """
    _known(graph, name)
    edges, branches = set(graph.edges), graph.branches.get(name)
    del graph.nodes[name]
    graph.add_node(name, node)
    graph.edges = edges
    if branches is not None:
        graph.branches[name] = branches


def insert_after(graph: Builder, after: str, name: str, node: Node) -> None:
    """Insert a new node between `after` and all its successors: edges and conditions move to the new node.

    Raises:
        UnknownNameError: the graph has no node `after`.
        TeacherError: the graph already has a node `name`.
    """
    _known(graph, after)
    if name in graph.nodes:
        raise TeacherError(f"the graph already has a node {name!r}; give the new one another name")
    graph.add_node(name, node)
    graph.edges = {(name if start == after else start, end) for start, end in graph.edges}
    if after in graph.branches:
        graph.branches[name] = graph.branches.pop(after)
    graph.add_edge(after, name)


def disconnect(graph: Builder, start: str, end: str) -> None:
    """Remove the edge from `start` to `end`; conditions stay.

    Raises:
        UnknownNameError: the graph has no such edge.
    """
    if (start, end) not in graph.edges:
        raise UnknownNameError("edge", f"{start} -> {end}", [f"{a} -> {b}" for a, b in graph.edges])
    graph.edges.discard((start, end))


def compiled(teacher: Any, structure: Structure) -> Any:
    """Compile a teacher: a compiled graph, a builder, or a plain function (see `teacher_from`).

    Raises:
        TeacherError: none of these.
    """
    if isfunction(teacher):
        teacher = teacher_from(teacher, structure)
    if isinstance(teacher, StateGraph):
        return teacher.compile()
    if not hasattr(teacher, "ainvoke"):
        raise TeacherError(
            f"a teacher is a graph (compiled or not) or a function from the observation to rows, "
            f"got {type(teacher).__name__}"
        )
    return teacher


def _known(graph: Builder, name: str) -> None:
    if name not in graph.nodes:
        raise UnknownNameError("node", name, graph.nodes)


def teacher_from(
    write: Writer, structure: Structure = "skill_tree"
) -> StateGraph[TeacherState, EpisodeConfig, TeacherInput, TeacherOutput]:
    """Make a teacher of one plain function and the verifier.

    `write` takes the observation and returns rows as mappings with `question`, `solution`, `answer` and
    `skill`, and where they exist `subskill` and further fields of the domain. The config's checks
    apply as to any rows. `write` may be async; a plain function runs in a thread.

    Raises (when the graph runs):
        TeacherError: a malformed row, or more rows than the iteration's budget; the text names the row, the
            key and what was expected.
    """
    name = write.__name__

    @timed("teach")
    async def write_rows(state: TeacherState, runtime: Runtime[EpisodeConfig]) -> TeacherState:
        observation = await asyncio.to_thread(observation_of, state)
        found = await asyncio.to_thread(write, observation)
        found = await found if isawaitable(found) else found
        given = list(islice(found, observation.budget + 1))  # what yields rows may have no end
        if len(given) > observation.budget:
            many = f"more than {counted(observation.budget, 'row')}"
            if isinstance(found, Sized):
                many = counted(len(found), "row")
            raise TeacherError(
                f"{name}: gave {many}; the budget of this iteration is {observation.budget} (observation.budget)"
            )
        ids: dict[tuple[str, str], str] = {}
        rows = [_row(item, number, name, observation, ids) for number, item in enumerate(given)]
        counts = Counter(row.provenance.request for row in rows)
        requests = [
            DataRequest(id=request, skill=skill, subskill=subskill, count=counts[request])
            for (skill, subskill), request in ids.items()
        ]
        plan = Plan(policy=name, requests=requests)
        return {
            "plan": await asyncio.to_thread(save, state, "plan", [plan]),
            "generated": await asyncio.to_thread(save, state, "generated-0", rows),
            "rejected": await asyncio.to_thread(save, state, "rejected-0-reply", []),
            "round": 0,
        }

    graph = StateGraph(
        TeacherState,
        context_schema=config_for(structure),
        input_schema=TeacherInput,
        output_schema=TeacherOutput,
    )
    graph.add_node(name, write_rows)
    graph.add_node("verify_data", verify_data)
    graph.add_edge(START, name)
    graph.add_edge(name, "verify_data")
    graph.add_edge("verify_data", END)
    return graph


def _row(
    item: Mapping[str, Any], number: int, name: str, observation: Observation, ids: dict[tuple[str, str], str]
) -> Row:
    """Make a row of a function's mapping; `ids` maps each skill and subskill to the id of its data request."""
    if not isinstance(item, Mapping):
        raise TeacherError(
            f"{name}: row {number} is {type(item).__name__}, expected a mapping with question, solution, answer "
            "and skill"
        )
    own = {"question", "solution", "answer", "skill", "subskill"}
    digest = hashlib.sha256(json.dumps(dict(item), sort_keys=True, default=str).encode()).hexdigest()[:16]
    of = (str(item.get("skill")), str(item.get("subskill", "")))
    source = Provenance(
        iteration=observation.iteration,
        request=ids.setdefault(of, f"r{len(ids)}"),
        model="none",
        prompt=name,
        prompt_hash=digest,
    )
    try:
        return Row.model_validate(
            {
                "id": f"{observation.iteration:03d}-{name}-{number}",
                **{key: value for key, value in item.items() if key in own},
                "extra": {key: value for key, value in item.items() if key not in own},
                "provenance": source,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise TeacherError(
            f"{name}: row {number}, key {first['loc'][0]!r}: {first['msg']}; "
            "expected text in question, solution, answer and skill"
        ) from error
