# type: ignore
"""Loads the libraries once, then forks a process for each command it reads: {where, arguments, environment, log}.

It answers with the exit status, negative for a signal. `main` runs on the forked process's only thread.
"""

import functools
import json
import os
import signal
import sys
import traceback

import datasketch  # noqa: F401
import langgraph.checkpoint.sqlite.aio
import peft  # noqa: F401
import reasoning_gym  # noqa: F401
import scipy.stats  # noqa: F401
import torch  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

from dataenvgym.agents.scripted.chat_model import ScriptedChatModel
from dataenvgym.cli import main
from dataenvgym.envs.students import hf, loop
from dataenvgym.envs.teacher_env import TeacherEnv  # noqa: F401
from dataenvgym.graphs import episode, teacher

NODES = {
    episode: ["reset", "train", "evaluate"],
    teacher: ["read_feedback", "plan_data", "generate_data", "verify_data"],
}


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name, number):
    """Kill the process when `name` is called for the `number`th time."""
    original, calls = getattr(owner, name), []

    def wrapped(*args, **kwargs):
        calls.append(1)
        return die() if len(calls) == number else original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner, name, number):
    original, calls = getattr(owner, name), []

    def wrapped(*args, **kwargs):
        done = original(*args, **kwargs)
        calls.append(1)
        return die() if len(calls) == number else done

    setattr(owner, name, wrapped)


def nodes(leave):
    """Call `leave(name)` whenever a node has finished, before LangGraph records it."""
    for module, names in NODES.items():
        for name in names:
            setattr(module, name, leaving(getattr(module, name), name, leave))


def leaving(node, name, leave):
    @functools.wraps(node)
    async def wrapped(state, runtime):
        done = await node(state, runtime)
        leave(name)
        return done

    return wrapped


def after_node(wanted, number):
    left = []
    nodes(lambda name: (left.append(name), left.count(wanted) == number and die()))


def after_two_nodes():
    """The checkpoint has the first node and not the second."""
    left = []
    nodes(lambda name: (left.append(name), print("left", name, flush=True), len(left) == 2 and die()))


def after_writes():
    """The writes of a node are stored, and no checkpoint has them."""
    saver = langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver
    original = saver.aput_writes

    async def wrapped(*args, **kwargs):
        await original(*args, **kwargs)
        die()

    saver.aput_writes = wrapped


WHERE = {
    "reset": lambda: before(hf.TransformersStudent, "predict", 1),
    "generation": lambda: before(ScriptedChatModel, "_result", 18),  # 12 calls in the first iteration
    "training": lambda: after(loop, "fit", 2) or after(hf, "fit", 2),  # trained, nothing saved
    "two nodes": after_two_nodes,
    "writes": after_writes,
    "nowhere": lambda: None,
    **{
        f"after {name}": functools.partial(after_node, name, 1 if name == "reset" else 2)
        for names in NODES.values()
        for name in names
    },  # all of it written, no checkpoint
    "evaluation": lambda: before(hf.TransformersStudent, "predict", 3),
    "test": lambda: before(hf.TransformersStudent, "predict", 4),
}


def command(order):
    os.environ.clear()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    WHERE[order["where"]]()
    return main(order["arguments"])


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                status = command(json.loads(line))
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
