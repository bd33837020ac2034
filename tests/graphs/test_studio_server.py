"""A running `langgraph dev`, driven as Studio drives it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from studio_files import SMALL, TEACHER, edited, rows_in

from dataenvgym.commands.prompts import copy_prompts
from dataenvgym.graphs.config import STRUCTURES

ROOT = Path(__file__).parents[2]


# From here on with a server.


class Studio(NamedTuple):
    """A running `langgraph dev`."""

    client: Any
    folder: Path
    log: Path

    def ask(self, graph: str, **context: Any) -> str:
        """A new assistant of that graph, as Studio makes one of the form; its id."""
        made = self.client.assistants.create(graph, context={**SMALL, **context}, name="of a test")
        return str(made["assistant_id"])

    def default(self, graph: str) -> str:
        """The id of the assistant that each graph has from the start."""
        found = self.client.assistants.search(graph_id=graph, metadata={"created_by": "system"})
        return str(found[0]["assistant_id"])

    def thread(self) -> str:
        return str(self.client.threads.create()["thread_id"])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The server in a folder of its own: no key, no network but loopback."""
    for package in ("langgraph_cli", "langgraph_api", "langgraph_runtime_inmem"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'dataenvgym[studio]'")
    if not (ROOT / "langgraph.json").is_file():
        pytest.skip("langgraph.json is not beside these tests")
    from langgraph_sdk import get_sync_client

    folder, port = tmp_path_factory.mktemp("studio"), free_port()
    shutil.copy(ROOT / "langgraph.json", folder)
    kept = {k: v for k, v in os.environ.items() if not k.upper().endswith(("_API_KEY", "_PROXY"))}
    environment = {
        **kept,
        "LANGGRAPH_NO_VERSION_CHECK": "true",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGSMITH_TRACING": "false",
        "HF_HUB_OFFLINE": "1",
        "DATAENVGYM_CACHE": str(folder / "cache"),
        # Nobody listens there: whatever calls out, fails.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    log = folder / "server.log"
    command = [Path(sys.executable).with_name("langgraph"), "dev", "--no-browser", "--no-reload"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--host", "127.0.0.1"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ok", server, log)
        yield Studio(get_sync_client(url=f"http://127.0.0.1:{port}", timeout=120), folder, log)
        os.killpg(server.pid, signal.SIGINT)
        server.wait(60)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    assert "BlockingError" not in said, "a node blocks the event loop"
    assert "live objects are freed" in said


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(480):
        if server.poll() is not None:
            break
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"langgraph dev did not come up:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.mark.slow
def test_every_structure_has_its_episode_and_its_teacher_alone(studio: Studio) -> None:
    found = studio.client.assistants.search(metadata={"created_by": "system"}, limit=100)
    assert {a["graph_id"] for a in found} == {name for s in STRUCTURES for name in (s, f"{s}_teacher")}
    assert all(a["description"] for a in found)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_drawing_shows_the_nodes_of_the_teacher_and_says_when_an_edge_is_taken(
    structure: str, studio: Studio
) -> None:
    inner = {f"teach:{name}" for name in TEACHER}
    for graph, outer in (
        (structure, {"reset", "train", "evaluate", "finish"}),
        (f"{structure}_teacher", {"open_observation", "show_rows"}),
    ):
        drawn = studio.client.assistants.get_graph(studio.default(graph), xray=True)
        assert outer | inner <= {node["id"] for node in drawn["nodes"]}
        labels = {(e["source"], e["target"]): e.get("data") for e in drawn["edges"] if e.get("conditional")}
        assert labels[("teach:plan_data", "teach:approve_plan")] == "ask a person"
        assert labels[("teach:verify_data", "teach:generate_data")] == "rows missing"
        assert all(labels.values())
        assert set(studio.client.assistants.get_subgraphs(studio.default(graph))) == {"teach"}


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_forms_are_small_and_describe_every_field(structure: str, studio: Studio) -> None:
    schemas = studio.client.assistants.get_schemas(studio.default(f"{structure}_teacher"))
    assert set(schemas["input_schema"]["properties"]) == {"run", "iteration", "given_plan"}
    assert not schemas["input_schema"].get("required")
    episode = studio.client.assistants.get_schemas(studio.default(structure))
    assert set(episode["input_schema"]["properties"]) == {"run_dir"}
    context = schemas["context_schema"]
    for part in (schemas["input_schema"], context, *context["$defs"].values()):
        for name, field in part["properties"].items():
            assert field.get("description"), name
    assert context["properties"]["structure"]["default"] == structure
    assert context["properties"]["structure"]["enum"] == list(STRUCTURES)
    assert "llm" in context["$defs"]["TeacherConfig"]["properties"]["policy"]["examples"]


@pytest.mark.slow
def test_a_plan_is_approved_edited_and_forked(studio: Studio) -> None:
    client, thread = studio.client, studio.thread()
    assistant = studio.ask("skill_list_teacher", approve=True)
    parts = list(
        client.runs.stream(thread, assistant, input={}, stream_mode=["updates", "custom"], stream_subgraphs=True)
    )
    inside = [node for p in parts if p.event.startswith("updates|teach:") for node in p.data]
    assert inside == ["read_feedback", "plan_data", "__interrupt__"]
    assert any(p.event.startswith("custom|teach:") and p.data["event"] == "plan" for p in parts)

    state = client.threads.get_state(thread, subgraphs=True)
    assert state["tasks"][0]["state"]["next"] == ["approve_plan"]
    folder, plan = state["values"]["folder"], state["interrupts"][0]["value"]["plan"]
    assert not list(Path(folder).glob("iterations/001/generated*"))

    # Without the assistant's context: the folder has kept the config.
    resume = {"resume": {"plan": edited(plan, "rounding", 2)}}
    found = client.runs.wait(thread, "skill_list_teacher", command=resume)
    assert found["folder"] == folder
    assert found["shown"]["accepted"] == 2
    assert [row.skill for row in rows_in(folder)] == ["rounding"] * 2

    history = client.threads.get_history(thread)
    assert [s["next"] for s in history] == [[], ["show_rows"], ["teach"], ["open_observation"], ["__start__"]]
    before = history[2]["checkpoint"]
    asked = client.runs.wait(thread, assistant, input=None, checkpoint=before)
    assert asked["__interrupt__"][0]["value"]["plan"] == plan, "a fork asks again"
    client.runs.wait(thread, assistant, command={"resume": edited(plan, "double", 3)})
    assert [row.skill for row in rows_in(folder)] == ["double"] * 3

    # A fork whose state is edited: the plan is put there, and nobody is asked.
    fork = client.threads.update_state(
        thread, {"given_plan": edited(plan, "chain", 1)}, checkpoint=before, as_node="open_observation"
    )
    unasked = studio.ask("skill_list_teacher", approve=False)
    client.runs.wait(thread, unasked, input=None, checkpoint=fork["checkpoint"])
    assert [row.skill for row in rows_in(folder)] == ["chain"]


@pytest.mark.slow
def test_an_episode_runs_with_the_edited_plan(studio: Studio) -> None:
    client, thread, run = studio.client, studio.thread(), studio.folder / "runs/an episode"
    assistant = studio.ask("skill_tree", structure="skill_tree", approve=True)
    asked = client.runs.wait(thread, assistant, input={"run_dir": str(run)})
    plan = asked["__interrupt__"][0]["value"]["plan"]
    # Context is not kept with a thread: an assistant has it, and brings it to every call.
    parts = list(
        client.runs.stream(
            thread,
            assistant,
            command={"resume": {**plan, "requests": plan["requests"][:2]}},
            stream_mode="updates",
        )
    )
    assert [node for p in parts if p.event == "updates" for node in p.data] == [
        "teach",
        "train",
        "evaluate",
        "finish",
    ]
    assert [r.provenance.request for r in rows_in(run)] == [r["id"] for r in plan["requests"][:2]]
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["student"], summary["rows_accepted"]) == ("tiny", 2)
    unasked = studio.ask("skill_tree_teacher", approve=False)  # the run's own config has it
    alone = client.runs.wait(None, assistant_id=unasked, input={"run": str(run)})
    assert rows_in(alone["folder"], 2), "what the episode saw next can be opened"


@pytest.mark.slow
def test_an_episode_from_an_empty_form_says_its_folder_and_its_defaults(studio: Studio) -> None:
    client, thread = studio.client, studio.thread()
    client.runs.wait(thread, studio.ask("skill_list", approve=True), input={})
    values = client.threads.get_state(thread)["values"]
    assert values["run_dir"] == f"runs/studio/{thread}"
    assert (studio.folder / values["run_dir"] / "config.yaml").is_file()
    assert any(thread in text for text in values["notices"])
    assert any("teacher.llm.model scripted" in text for text in values["notices"])


@pytest.mark.slow
def test_an_edited_prompt_is_used_by_the_next_run(studio: Studio, tmp_path: Path) -> None:
    (template,) = copy_prompts(["math/generate_rows"], tmp_path)
    assistant = studio.ask("skill_list_teacher", teacher={"prompts": str(tmp_path)})

    def hashes() -> set[str]:
        found = studio.client.runs.wait(None, assistant, input={})
        return {row.provenance.prompt_hash for row in rows_in(found["folder"])}

    before = hashes()
    assert hashes() == before
    template.write_text(template.read_text() + "\nShort questions, please.\n")
    assert not hashes() & before


@pytest.mark.slow
def test_a_failed_run_says_why_in_the_state_of_its_thread(studio: Studio) -> None:
    thread = studio.thread()
    studio.client.runs.wait(thread, "skill_list_teacher", input={"run": "nowhere"}, raise_error=False)
    assert "there is no folder" in studio.client.threads.get_state(thread)["tasks"][0]["error"]


@pytest.mark.slow
def test_an_unknown_key_of_the_context_is_refused_and_a_nested_one_explained(studio: Studio) -> None:
    for ask in (
        lambda: studio.ask("skill_list_teacher", budgt={"iterations": 3}),
        lambda: studio.client.runs.wait(None, "skill_list_teacher", input={}, context={"budgt": {}}),
    ):
        with pytest.raises(Exception, match=r"budgt: unknown key\. Did you mean 'budget'"):
            ask()
    thread, assistant = studio.thread(), studio.ask("skill_list_teacher", teacher={"rows_per_cal": 3})
    answer = studio.client.runs.wait(thread, assistant, input={}, raise_error=False)
    assert "Did you mean 'teacher.rows_per_call'" in json.dumps(answer)
