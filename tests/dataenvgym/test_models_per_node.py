"""A chat model for each node: who is asked what, what it costs, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import OpenAIServer, scripted_replies

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.graphs.config import load_config
from dataenvgym.runs.estimate import estimate

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]


def two_models(planner: str, writer: str) -> dict[str, Any]:
    return {
        "teacher.policy": "llm",
        "teacher.llm.model": "openai:planner",
        "teacher.llm.base_url": planner,
        "teacher.llm.price": [10, 20],
        "teacher.models.generate_data.model": "openai:writer",
        "teacher.models.generate_data.base_url": writer,
        "teacher.models.generate_data.price": [1, 2],
    }


def test_each_server_sees_its_nodes_calls_alone(
    cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    run = tmp_path / "run"
    with OpenAIServer(scripted_replies()) as planner, OpenAIServer(scripted_replies()) as writer:
        status, out, err = cli("run", "--out", run, *small(**two_models(planner.url, writer.url)))
        assert status == 0, err
    tools = [
        {request["tools"][0]["function"]["name"] for request in server.requests} for server in (planner, writer)
    ]
    assert tools == [{"submit_requests"}, {"submit_rows"}]
    assert {request["model"] for request in planner.requests} == {"planner"}
    ledger = Ledger(run / "ledger.jsonl")
    plans, rows = ledger.totals("plan_data", "openai:planner"), ledger.totals("generate_data", "openai:writer")
    assert (plans.attempts, rows.attempts) == (len(planner.requests), len(writer.requests))
    assert plans.cost == pytest.approx((10 * plans.prompt_tokens + 20 * plans.completion_tokens) / 1e6)
    assert rows.cost == pytest.approx((rows.prompt_tokens + 2 * rows.completion_tokens) / 1e6)
    summary = json.loads((run / "summary.json").read_text())
    assert [(one["node"], one["model"]) for one in summary["calls_by_node"]] == [
        ("plan_data", "openai:planner"),
        ("generate_data", "openai:writer"),
    ]
    assert summary["cost"] == pytest.approx((plans.cost or 0) + (rows.cost or 0))
    assert summary["teacher"]["model"] == "openai:planner (generate_data openai:writer)"
    assert "openai:writer" in out


def test_a_cap_holds_for_all_models_together(
    cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    with OpenAIServer(scripted_replies()) as planner, OpenAIServer(scripted_replies()) as writer:
        settings = two_models(planner.url, writer.url)
        more = {"teacher.rows_per_call": 1, "budget.max_calls": 9}
        status, _, err = cli("run", "--out", tmp_path / "run", *small(**settings, **more))
        assert status == 0, err
        assert len(planner.requests) == 1 and len(writer.requests) == 8
        status, _, err = cli("resume", tmp_path / "run", "--set", "budget.max_calls=11")
        assert status == 0, err
        assert len(planner.requests) + len(writer.requests) == 11


def test_a_cap_in_dollars_needs_the_price_of_each_model(cli: Cli, small: Small, tmp_path: Path) -> None:
    settings = {**two_models("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"), "budget.max_cost": 1}
    del settings["teacher.models.generate_data.price"]
    status, _, err = cli("run", "--out", tmp_path / "run", *small(**settings))
    assert status == 1 and "openai:writer" in err and "price" in err


def test_the_estimate_has_each_nodes_model_and_price(cli: Cli, small: Small) -> None:
    settings = small(**two_models("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"))
    found = {line.node: line for line in estimate(load_config(None, settings[1::2]))}
    assert {node: line.model for node, line in found.items()} == {
        "plan_data": "openai:planner",
        "generate_data": "openai:writer",
    }
    line = found["generate_data"]
    assert line.cost == pytest.approx((line.prompt_tokens + 2 * line.completion_tokens) / 1e6)
    status, out, _ = cli("estimate", *settings)
    assert status == 0 and "openai:writer" in out


def test_what_belongs_to_a_model_is_not_taken_over_by_another() -> None:
    given = {
        "llm": {"model": "openai:a", "base_url": "http://a/v1", "price": [1, 2], "timeout": 7},
        "models": {"solve": {"model": "openai:b"}, "plan_data": {"temperature": 0.1}},
    }
    config = TeacherConfig.model_validate(given)
    other, same = config.model_of("solve"), config.model_of("plan_data")
    assert (other.base_url, other.price, other.timeout) == (None, None, 7)
    assert (same.base_url, same.price, same.temperature) == ("http://a/v1", (1, 2), 0.1)
    assert config.model_of("verify_data") == other, "the node in which the check `solve` runs"
    assert config.model_of("generate_data") == config.llm


def test_wrong_nodes_and_keys_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"generate_dat.*Did you mean 'generate_data'"):
        load_config(None, ["teacher.models.generate_dat.model=scripted"])
    with pytest.raises(
        ConfigError, match=r"teacher\.models\.solve\.temprature.*teacher\.models\.solve\.temperature"
    ):
        load_config(None, ["teacher.models.solve.temprature=1"])
    with pytest.raises(ConfigError, match=r"teacher\.models\.solve\.timeout.*greater than 0"):
        load_config(None, ["teacher.models.solve.timeout=0"])
