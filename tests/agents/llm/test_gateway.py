"""Replies of the model: each row is validated alone, and complete rows of cut replies are kept."""

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway_calls import GOOD, ask, make, rows
from openai_server import (
    OpenAIServer,
    scripted_replies,
    text_reply,
    tool_reply,
)

from dataenvgym.agents.config import ScriptedConfig
from dataenvgym.agents.llm.gateway import Gateway, Items
from dataenvgym.agents.llm.items import tool_schema
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.schemas import ActionItem, SubskillItem
from dataenvgym.agents.prompts import load_prompt


def test_valid_rows_come_back_with_usage_and_a_ledger_line(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        found = ask(make(server.url, tmp_path, max_tokens=77, temperature=0.3))
    assert [row.model_dump() for row in found.valid] == GOOD
    assert (found.failures, found.attempts, found.cached, tuple(found.usage)) == ([], 1, False, (10, 5))
    (request,) = server.requests
    assert [m["content"] for m in request["messages"]] == ["You teach.", "Write two rows."]
    assert request["tool_choice"]["function"]["name"] == "submit_rows"
    assert request["temperature"] == 0.3
    assert 77 in (request.get("max_tokens"), request.get("max_completion_tokens"))
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    assert (record.node, record.iteration, record.model, record.prompt) == (
        "generate_data",
        3,
        "openai:test",
        "math/rows",
    )
    assert (record.ok, record.attempts, record.valid, record.failed) == (True, 1, 2, 0)
    assert (record.prompt_tokens, record.completion_tokens, record.error) == (10, 5, None)


def test_a_cut_reply_gives_its_closed_rows_only(tmp_path: Path) -> None:
    cut = json.dumps({"items": [*GOOD, {"question": "3+3?", "answer": "60"}]})[:-4]
    with OpenAIServer(lambda r: tool_reply(r, cut, "length")) as server:
        found = ask(make(server.url, tmp_path, cached=True))
        assert [row.model_dump() for row in found.valid] == GOOD
        assert len(found.failures) == 1
        assert "cut" in found.failures[0].reason and "3+3?" in found.failures[0].raw
        assert found.attempts == 1


def test_each_row_is_validated_alone(tmp_path: Path) -> None:
    mixed = [
        GOOD[0],
        {"question": "no answer"},
        "text",
        {"question": 3, "answer": "x"},
        {**GOOD[1], "more": 1},
    ]
    with OpenAIServer(lambda r: tool_reply(r, mixed)) as server:
        found = ask(make(server.url, tmp_path))
    assert [row.model_dump() for row in found.valid] == GOOD
    assert len(found.failures) == 3
    assert "answer" in found.failures[0].reason


def test_a_reply_in_prose_is_read_too(tmp_path: Path) -> None:
    text = f"Sure!\n```json\n{json.dumps(GOOD)}\n```"
    with OpenAIServer(lambda r: text_reply(r, text)) as server:
        assert [row.model_dump() for row in ask(make(server.url, tmp_path)).valid] == GOOD


def test_nested_items_reach_the_model_without_references() -> None:
    schema = json.dumps(tool_schema("submit_actions", ActionItem))
    assert "$ref" not in schema and "$defs" not in schema
    assert "Rows to add (positive)" in schema


def subskills(gateway: Gateway, sample: int = 0) -> Items[SubskillItem]:
    """What the scripted model understands: a packaged prompt."""
    template = load_prompt("math", "propose_subskills")
    prompt = template.render(skill="addition", count=3, existing=[], exemplars=[])
    return asyncio.run(gateway.items(prompt, SubskillItem, node="n", sample=sample))


def test_a_seed_gives_the_same_scripted_reply_in_process_and_over_http(tmp_path: Path) -> None:
    scripted = make("", tmp_path, model="scripted", base_url=None)
    with OpenAIServer(scripted_replies(seed=0)) as server:
        over_http = subskills(make(server.url, tmp_path))
    in_process = subskills(scripted)
    assert len(in_process.valid) == 3
    assert over_http.valid == in_process.valid and over_http.usage != in_process.usage


def test_malformed_scripted_replies_are_faults_like_any_other(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": "scripted", "base_url": None}
    gateway = make("", tmp_path, **settings, scripted=ScriptedConfig(malformed=1.0))
    seen = []
    for sample in range(6):
        found = subskills(gateway, sample)
        assert found.failures
        seen += found.valid
    assert seen and all(item.description.endswith(item.name) for item in seen), "a cut record was completed"
