"""An OpenAI-compatible chat server on loopback for tests, with a scriptable reply.

with OpenAIServer(lambda request: tool_reply(request, [{"question": ...}])) as server:
    config = TeacherModelConfig(model="openai:test", base_url=server.url)
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]


@dataclass
class Reply:
    """What the server sends: a status, headers and a body, `delay` seconds after the request came in."""

    body: bytes | dict[str, Any] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


Answer = Reply | dict[str, Any] | int | bytes
"""What a reply function may return: a Reply, a JSON body, a bare status, or bytes sent as HTML with a 200."""


def completion(
    request: Request, message: dict[str, Any], finish_reason: str = "stop", usage: bool = True
) -> dict[str, Any]:
    """The body of a chat completion with one choice."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request.get("model", "test"),
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return body


def tool_reply(
    request: Request, items: list[Any] | str, finish_reason: str = "tool_calls", usage: bool = True
) -> dict[str, Any]:
    """A call of the request's first tool with `items`, or with a raw arguments string."""
    arguments = items if isinstance(items, str) else json.dumps({"items": items})
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": request["tools"][0]["function"]["name"], "arguments": arguments},
    }
    return completion(request, {"content": None, "tool_calls": [call]}, finish_reason, usage)


def text_reply(request: Request, text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
    """A reply in prose, without a tool call."""
    return completion(request, {"content": text}, finish_reason)


def scripted_replies(seed: int = 0, **errors: float) -> Callable[[Request], dict[str, Any]]:
    """Answers any request as the scripted model does, so that a whole episode can run over HTTP.

    `errors` are the model's error shares. A seed in the request draws another sample, as it does in process.
    """
    from langchain_core.messages import convert_to_messages

    from dataenvgym.agents.scripted.chat_model import ScriptedChatModel

    model = ScriptedChatModel(seed=seed, **errors)

    def reply(request: Request) -> dict[str, Any]:
        extra = {"seed": request["seed"]} if "seed" in request else {}
        choice = request.get("tool_choice")
        bound = model.bind_tools(request.get("tools", []), tool_choice=choice, **extra)
        said = bound.invoke(convert_to_messages(request["messages"]))
        calls = [(call["name"], json.dumps(call["args"])) for call in said.tool_calls]
        calls += [(call["name"] or "", call["args"] or "") for call in said.invalid_tool_calls]
        message: dict[str, Any] = {"content": said.text or None}
        if calls:
            message["tool_calls"] = [
                {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for i, (name, arguments) in enumerate(calls)
            ]
        return completion(request, message, said.response_metadata["finish_reason"])

    return reply


class OpenAIServer:
    """The server, as a context manager.

    `requests` and `headers` (lower-case names) grow in order; `peak` is the most that were in flight at once.
    """

    def __init__(self, reply: Callable[[Request], Answer], port: int = 0) -> None:
        self.reply = reply
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.peak = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._http = _HTTPServer(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "OpenAIServer":
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request: Request, headers: dict[str, str]) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
        try:
            answer = self.reply(request)
            if isinstance(answer, bytes):
                answer = Reply(answer, headers={"Content-Type": "text/html"})
            elif isinstance(answer, int):
                answer = Reply({"error": {"message": f"status {answer}", "type": "test"}}, answer)
            elif isinstance(answer, dict):
                answer = Reply(answer)
            self.closing.wait(answer.delay)
            return answer
        finally:
            with self._lock:
                self.in_flight -= 1


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256  # the default of 5 makes many parallel connections wait for a SYN retry
    owner: OpenAIServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as real servers; else the body waits 40 ms for the headers' ACK
    server: _HTTPServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.split("?")[0].endswith("/chat/completions"):
            reply = self.server.owner.answer(
                json.loads(body), {name.lower(): value for name, value in self.headers.items()}
            )
        else:
            reply = Reply({"error": {"message": f"no route {self.path}"}}, 404)
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
