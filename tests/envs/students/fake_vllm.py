"""What the student uses of a vLLM server, over the same HTTP, with a made-up model: it answers with the last
tokens of the user's turn, an adapter with fewer of them.

Run as an interpreter would be (`fake_vllm.py -m vllm... --model ... --port ...`), it stands for the python of an
environment with vLLM. It notes what it is asked in `$FAKE_VLLM/calls.jsonl`. A file there tells it to misbehave:
`die` (at the next completion, once), `broken` (at the start), `old` (no token ids).
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

FOLDER = Path(os.environ.get("FAKE_VLLM", "."))
END = 2


def option(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


class Handler(BaseHTTPRequestHandler):
    adapters: ClassVar[dict[str, str]] = {}
    asleep = False

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.reply(200, {})
        if not self.allowed():
            return self.reply(401, {"error": "Unauthorized"})
        base = {"id": "base", "root": option("--model"), "parent": None}
        loaded = [{"id": name, "root": path, "parent": "base"} for name, path in self.adapters.items()]
        return self.reply(200, {"data": [*loaded, base]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        path = self.path.partition("?")[0]
        with (FOLDER / "calls.jsonl").open("a") as file:
            file.write(json.dumps({"path": self.path, **body}) + "\n")
        if path.startswith("/v1") and not self.allowed():
            return self.reply(401, {"error": "Unauthorized"})
        if path == "/v1/completions":
            return self.complete(body)
        if path == "/v1/load_lora_adapter":
            if body["lora_name"] in self.adapters:
                return self.reply(400, {"error": {"message": "already loaded"}})
            self.adapters[body["lora_name"]] = body["lora_path"]
        elif path == "/v1/unload_lora_adapter":
            if self.adapters.pop(body["lora_name"], None) is None:
                return self.reply(404, {"error": {"message": "no such adapter"}})
        elif path in ("/sleep", "/wake_up"):
            Handler.asleep = path == "/sleep"
        return self.reply(200, {})

    def complete(self, body: dict[str, Any]) -> None:
        if (FOLDER / "die").exists():
            (FOLDER / "die").unlink()
            os._exit(1)
        if self.asleep or body["model"] not in ("base", *self.adapters):
            return self.reply(500 if self.asleep else 404, {"error": {"message": "cannot answer"}})
        if any(len(prompt) > 500 for prompt in body["prompt"]):
            return self.reply(400, {"error": {"message": "the prompt is longer than the model's 500 tokens"}})
        kept = 6 if body["model"] == "base" else 4
        choices = []
        for number, prompt in enumerate(body["prompt"]):
            asked = prompt[: len(prompt) - 1 - prompt[::-1].index(END)]  # the user's turn
            found = [*asked[-kept:], END, 5]
            ids = {} if (FOLDER / "old").exists() else {"token_ids": found[: body["max_tokens"]]}
            choices.append({"index": number, "text": "", **ids})
        return self.reply(200, {"choices": choices[::-1]})  # order is by index, not by place

    def allowed(self) -> bool:
        key = os.environ.get("VLLM_API_KEY")
        return not key or self.headers["Authorization"] == f"Bearer {key}"

    def reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    (FOLDER / "starts.jsonl").open("a").write(json.dumps({"pid": os.getpid(), "arguments": sys.argv[1:]}) + "\n")
    if (FOLDER / "broken").exists():
        sys.exit("RuntimeError: no kernel image is available for this GPU")
    time.sleep(0.2)
    ThreadingHTTPServer(("127.0.0.1", int(option("--port", "8000"))), Handler).serve_forever()


if __name__ == "__main__":
    main()
