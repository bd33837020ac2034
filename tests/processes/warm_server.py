"""Loads the large libraries once, then forks a process for each order that comes over a socket.

    python warm_server.py SOCKET

An order is JSON with the descriptors of its standard streams and a pipe for its exit status; the answer is the
process. A forked process leaves the loop and runs its program as `python` would, so that its end (atexit, threads,
an exception, a signal) is Python's own. Nothing of DataEnvGym is loaded here: every process imports that itself.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import warm  # beside this file

# What a run imports and does not change. `transformers` and `torch` load most of their parts on demand.
LIBRARIES = (
    "torch",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torch.optim",
    "transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.tokenization_utils_tokenizers",
    "peft",
    "langgraph.graph",
    "langgraph.checkpoint.sqlite.aio",
    "langchain_core.language_models",
    "langsmith",
    "datasketch",
    "scipy.stats",
    "reasoning_gym",
    "jinja2",
    "rich.console",
    "rich.progress",
)


class Order(NamedTuple):
    """What to run, and the descriptors of its standard streams."""

    words: list[str]
    environment: dict[str, str]
    folder: str
    session: bool
    streams: list[int]


def serve(path: str) -> Order:
    """Fork a process per order; returns only in such a process, with its order. Ends with standard input."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    parent = 0
    places = selectors.DefaultSelector()
    places.register(listener, selectors.EVENT_READ)
    places.register(parent, selectors.EVENT_READ)
    running: dict[int, tuple[int, int]] = {}  # pidfd: the process, and where its exit status is awaited
    print("ready", flush=True)
    while True:
        for key, _ in places.select():
            if key.fd == parent:
                os._exit(0)  # no byte is ever sent: the tests are over
            if key.fd in running:
                process, answer = running.pop(key.fd)
                places.unregister(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with suppress(BrokenPipeError):  # who asked may have ended first
                    os.write(answer, str(status).encode())
                os.close(answer)
                os.close(key.fd)
                continue
            order = _forked(listener, places, running)
            if order is not None:
                return order


def _forked(
    listener: socket.socket, places: selectors.BaseSelector, running: dict[int, tuple[int, int]]
) -> Order | None:
    """The order, in the process that is to follow it; None in the server."""
    asking, _ = listener.accept()
    with asking:
        size = int.from_bytes(asking.recv(8, socket.MSG_WAITALL), "big")
        message, descriptors, _, _ = socket.recv_fds(asking, 1, 4)
        while len(message) < size:
            message += asking.recv(size - len(message))
        *streams, answer = descriptors
        process = os.fork()
        if process == 0:
            return Order(**json.loads(message), streams=streams)
        watched = os.pidfd_open(process)
        running[watched] = (process, answer)
        places.register(watched, selectors.EVENT_READ)
        with suppress(OSError):
            asking.sendall(str(process).encode())
    for stream in streams:
        os.close(stream)
    return None


def follow(order: Order, server: warm.Server) -> None:
    """Make this process one that was started as the order says; what it starts is forked too."""
    warm.use(server)
    if order.session:
        os.setsid()
    for place, stream in enumerate(order.streams):
        os.dup2(stream, place)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.folder)
    before = server.environment.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(order.environment)
    added = order.environment.get("PYTHONPATH", "").split(os.pathsep)
    here = str(Path(__file__).parent)
    sys.path[:] = [p for p in added if p] + [p for p in sys.path if p != here and p not in before]
    sys.path_importer_cache.clear()
    threads = order.environment.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        import torch

        torch.set_num_threads(int(threads))  # read when the library was loaded


def run(words: list[str]) -> None:
    """Run `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...` as the program of this process."""
    import runpy

    first, *rest = words
    if first == "-m":
        module, *rest = rest
        sys.argv = ["-m", *rest]
        sys.path.insert(0, str(Path.cwd()))
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]
        return
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    if first == "-c":
        code, *rest = rest
        sys.argv = ["-c", *rest]
        sys.path.insert(0, "")
        program: Any = compile(code, "<string>", "exec")
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(first).resolve().parent))
        main.__file__ = first
        program = compile(Path(first).read_bytes(), first, "exec")
    exec(program, main.__dict__)


def load() -> None:
    """Import the libraries; one that is not installed is left to who needs it."""
    from importlib import import_module

    for name in LIBRARIES:
        try:
            import_module(name)
        except ImportError:
            continue


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end this process
    load()
    gc.collect()
    gc.freeze()  # no process goes through these objects again, at its end least of all
    server = warm.Server(sys.argv[1], dict(os.environ))
    order = serve(server.path)
    follow(order, server)
    run(order.words)
