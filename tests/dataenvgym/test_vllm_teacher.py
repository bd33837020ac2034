"""A real language model as the teacher: vLLM serves SmolLM2, and a whole episode asks it for rows.

Runs where vLLM is installed: in this environment, or in that of the interpreter DATAENVGYM_VLLM_PYTHON names
(docs/teachers.md). A model this small writes poor rows; what must hold is that the path works and that
nothing poor is accepted without a check or lost without a reason.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.students.smollm import smollm_folder
from dataenvgym.envs.types import Rejected, Row

PYTHON = os.environ.get("DATAENVGYM_VLLM_PYTHON") or sys.executable
INSTALLED = "DATAENVGYM_VLLM_PYTHON" in os.environ or importlib.util.find_spec("vllm") is not None
START = 300  # seconds that loading the model may take

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed")]


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a vLLM server with SmolLM2, its tool calls held to the tool's schema."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(smollm_folder())]
    command += ["--served-model-name", "smollm2", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-model-len", "2048", "--enforce-eager", "--enable-auto-tool-choice"]
    command += ["--tool-call-parser", "hermes", "--tool-strict-level", "parameter"]
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("w") as out:
        server = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until = time.monotonic() + START
        while not answers(f"http://127.0.0.1:{port}/health"):
            gone = server.poll() is not None or time.monotonic() > until
            assert not gone, f"vLLM did not start:\n{log.read_text()[-3000:]}"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_small_model_teaches(
    vllm: str, cli: Callable[..., tuple[int, str, str]], small: Callable[..., list[str]], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    settings = {
        "teacher.llm.model": "openai:smollm2",
        "teacher.llm.base_url": vllm,
        "teacher.llm.temperature": 0,
        "teacher.llm.max_tokens": 256,
        "teacher.llm.timeout": 300,
        "teacher.llm.send_seed": "false",  # vLLM on a CPU fails on seeded requests
        "teacher.llm.content_attempts": 1,
        "teacher.refill_rounds": 0,
        "budget.iterations": 1,
        "budget.rows_per_iteration": 6,
    }
    status, _, err = cli("run", *small(**settings), "--out", run_dir)
    assert (status, err) == (0, "")
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["teacher"]["model"] == "openai:smollm2"
    assert summary["calls"] > 0 and summary["tokens"]["prompt"] > 0 and summary["tokens"]["completion"] > 0
    store = run_dir / "iterations" / "001"
    written = read_jsonl(store / "generated-0.jsonl", Row)
    accepted = read_jsonl(store / "accepted-0.jsonl", Row)
    rejected = read_jsonl(store / "rejected-0.jsonl", Rejected)
    assert written, f"no reply held a row:\n{[r.row for r in rejected]}"
    # Rows over what a call asked for (a small model miscounts) are recorded, but are not among those to be judged.
    of_rows = [r for r in rejected if "question" in r.row and r.verdicts[-1].check != "surplus"]
    assert len(accepted) + len(of_rows) == len(written), "each row is accepted or rejected"
    assert of_rows, "a model of 135 M parameters repeats itself and errs"
    reasons = [[v.reason for v in r.verdicts if not v.passed] for r in rejected]
    assert all(r and all(r) for r in reasons), "each rejection has its reason"
