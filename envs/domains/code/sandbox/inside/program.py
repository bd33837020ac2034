"""What the process of a program does: run the code in one of three roles, and answer over its pipe.

`call`: run it once, then call its names with the arguments that come. `stdin`: run it as the main program.
`script`: run a test script whose unknown names are calls over to another process, by way of the parent.
"""

import _io
import builtins
import contextlib
import functools
import io
import os
import random
import sys
from types import ModuleType
from typing import Any, NoReturn

from . import frames

NAME = "<program>"
LONGEST_TEXT = 500
# The imports that LiveCodeBench puts before every program (lcb_runner/evaluation/testing_util.py).
_MODULES = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
_PRELUDE = "\n".join(
    [
        *(f"from {name} import *" for name in _MODULES),
        "from builtins import *",
        "from typing import *",
        *(f"import {name}" for name in _MODULES),
    ]
)
RECURSION = DIGITS = 50_000  # as LiveCodeBench sets them

Names = dict[str, Any]

_FULL = frames.framed({}, frames.dump({"error": "MemoryError", "kind": "MemoryError"}))
"""Made ahead, for a process in which nothing more can be made."""


def load(common: bool) -> None:
    """Load, once for all processes, the modules that most import; make `common` imports builtins.

    As builtins they cost a process nothing: a copy of them would touch, and so copy, hundreds of pages.
    """
    import atexit  # noqa: F401
    import codecs  # noqa: F401
    import dataclasses  # noqa: F401
    import decimal  # noqa: F401
    import enum  # noqa: F401
    import fractions  # noqa: F401
    import threading  # noqa: F401
    import traceback  # noqa: F401

    if not common:
        return
    names: Names = {}
    exec(_PRELUDE, names)  # noqa: S102 - our own text
    own = vars(builtins)
    own.update({name: value for name, value in names.items() if name not in own and not name.startswith("__")})
    own.update(exit=sys.exit, quit=sys.exit, open=_open)
    io.open = _open  # which is what pathlib uses


_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/0": 0, "/proc/self/fd/1": 1}


@functools.wraps(open)
def _open(file: Any, *args: Any, **named: Any) -> Any:
    """`open` for programs, where there is no /proc, and so no /dev/stdin."""
    path = os.fspath(file) if isinstance(file, os.PathLike) else file
    return _io.open(_STREAMS.get(path, file) if type(path) is str else file, *args, **named)


def run(job: dict[str, Any], code: str, inbox: int, outbox: int) -> NoReturn:
    """Do what the job says with the code, in the process made for it; never returns."""
    sys.setrecursionlimit(RECURSION)
    sys.set_int_max_str_digits(DIGITS)
    random.seed(0)  # Python seeds it anew in every forked process
    status = 0
    try:
        if job["role"] == "stdin":
            sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]  # noqa: SIM115
            sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]  # noqa: SIM115
            vars(builtins).update(stdin=sys.stdin, stdout=sys.stdout)  # common imports too (`from sys import *`)
            _execute(code, "__main__", {})
            _finish()
        elif job["role"] == "call":
            _answer(_execute(code, "program", {}), inbox, outbox)
        else:
            _test(code, job["names"], inbox, outbox)
    except SystemExit:
        if job["role"] == "stdin":
            _finish()
        else:
            _say(outbox, {"error": "the program ended itself (SystemExit) before it could be tested", "kind": ""})
    except BaseException as error:
        status = 1
        try:
            if job["role"] == "stdin":
                _finish()
            _say(outbox, _described(error))
        except MemoryError:
            os.write(outbox, _FULL)
    os._exit(status & 0xFF)


def _execute(code: str, name: str, names: Names) -> Names:
    """Run code as the module `name` and return its names."""
    module = ModuleType(name)
    sys.modules[name] = module
    module.__dict__.update(names, __builtins__=builtins, __file__="program.py")
    exec(compile(code, NAME, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - this is the sandbox
    return module.__dict__


def _finish() -> None:
    """Wait for the program's threads, as the interpreter does, and write out what it printed."""
    import atexit
    import gc
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(BaseException):  # closed, or nothing that can be flushed
        sys.stdout.flush()
    # Its own files too, as when the interpreter ends: it may print through one that it opened on descriptor 1.
    # There may be millions of objects, and `isinstance` would ask each what it is: slowly, and it may raise.
    with contextlib.suppress(BaseException):
        for found in gc.get_objects():
            if issubclass(type(found), _io._IOBase):
                with contextlib.suppress(BaseException):
                    found.flush()


def _answer(found: Names, inbox: int, outbox: int) -> NoReturn:
    """Say which names the program has, then answer calls until the pipe is closed.

    What cannot travel stays here in `kept`; its number travels, and stands for it when it comes back.
    """
    kept: list[Any] = []

    def keep(value: Any) -> Any:
        kept.append(value)
        return {"kept": [len(kept) - 1, type(value).__name__]}

    def back(packed: Any) -> Any:
        return kept[packed["kept"][0]]

    names = [n for n, value in found.items() if not (n.startswith("__") or isinstance(value, ModuleType))]
    _say(outbox, {"names": names})
    while True:
        try:
            _, body = frames.receive(inbox)
        except EOFError:
            os._exit(0)
        try:
            asked = frames.load(body)
            args = [frames.unpack(item, back) for item in asked["args"]]
            named = {key: frames.unpack(value, back) for key, value in asked.get("named", {}).items()}
            before = [frames.pack(item, keep) if isinstance(item, list | dict | set) else None for item in args]
            result = _found(found, asked["path"], kept)(*args, **named)
            reply: dict[str, Any] = {"value": frames.pack(result, keep if asked["keep"] else None)}
            if asked["keep"]:
                after = [None if b is None else frames.pack(a, keep) for a, b in zip(args, before, strict=True)]
                reply["changed"] = {str(n): a for n, a in enumerate(after) if a != before[n]}
        except SystemExit:
            reply = {"error": "the program ended itself (SystemExit) during the call", "kind": ""}
        except BaseException as error:
            reply = _described(error)
        _say(outbox, reply)


def _found(names: Names, path: list[Any], kept: list[Any]) -> Any:
    """`["f"]` is a function, `["Solution", "f"]` a method of a new object, `[3, "f"]` one of what was kept."""
    first = path[0]
    if isinstance(first, int):
        value = kept[first]
    elif first in names and not first.startswith("__"):
        value = names[first]
    else:
        raise NameError(f"the program has no {first!r}")
    if len(path) == 1:
        return value
    return getattr(value() if isinstance(value, type) else value, path[1])


class Method:
    """What an attribute of a kept object is to the test script: something to call.

    A plain attribute stays in the other process. To look at it is an error: it would be true and equal to nothing,
    whatever it is over there, and a test of it could not fail. (By `is` it still can be looked at unseen.)
    """

    def __init__(self, number: int, name: str, call: Any) -> None:
        self._number, self._name, self._call = number, name, call

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call it there."""
        return self._call([self._number, self._name], args, named)

    def _unseen(self, *_: Any) -> Any:
        raise TypeError(f"{self._name!r} of an object of the program can be called but not read")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __repr__ = _unseen


class Kept:
    """What stays in the program's process, as the test script sees it: equal to itself alone."""

    def __init__(self, number: int, kind: str, call: Any) -> None:
        self._number, self._kind, self._call = number, kind, call

    def __getattr__(self, name: str) -> Any:
        """A method of it."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Method(self._number, name, self._call)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call it there."""
        return self._call([self._number], args, named)

    def __iter__(self) -> Any:
        """Its items, at most a million."""
        return self._call([self._number, "__iter__"], (), {})

    def __len__(self) -> Any:
        """How many it has."""
        return self._call([self._number, "__len__"], (), {})

    def __bool__(self) -> bool:
        """An object, whatever it holds: only what has a length can be empty, and `len` says so."""
        return True

    def __getitem__(self, key: Any) -> Any:
        """One of its items."""
        return self._call([self._number, "__getitem__"], (key,), {})

    def __repr__(self) -> str:
        """Its type."""
        return f"<{self._kind} of the program>"


def _test(code: str, names: list[str], inbox: int, outbox: int) -> None:
    """Run a test script; it passes when it comes to its end."""

    def travel(value: Any) -> Any:
        if isinstance(value, Kept):
            return {"kept": [value._number, value._kind]}
        raise TypeError(f"a {type(value).__name__} of the test cannot be given to the program")

    def arrive(packed: Any) -> Any:
        return Kept(packed["kept"][0], str(packed["kept"][1]), call)

    def call(path: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        message = {
            "path": path,
            "args": [frames.pack(item, travel) for item in args],
            "named": {key: frames.pack(value, travel) for key, value in named.items()},
            "keep": True,
        }
        _say(outbox, message)
        _, body = frames.receive(inbox)
        reply = frames.load(body)
        if "error" in reply:
            kind = getattr(builtins, str(reply["kind"]), None)
            # The end of an iterator would pass for that of the test's own, and what it still compares be left out.
            stops = (StopIteration, StopAsyncIteration)
            if not (isinstance(kind, type) and issubclass(kind, Exception)) or issubclass(kind, stops):
                kind = RuntimeError
            raise kind(reply["error"])
        for number, packed in reply.get("changed", {}).items():
            _replace(args[int(number)], frames.unpack(packed, arrive))
        return frames.unpack(reply["value"], arrive)

    def proxy(name: str) -> Any:
        def stands_for(*args: Any, **named: Any) -> Any:
            return call([name], args, named)

        return stands_for

    _execute(code, "test", {name: proxy(name) for name in names})
    _say(outbox, {"done": True})


def _replace(target: Any, value: Any) -> None:
    """Make an argument what the program has made of its copy."""
    if isinstance(target, list):
        target[:] = value
    elif isinstance(target, dict | set):
        target.clear()
        target.update(value)


def _say(outbox: int, message: dict[str, Any]) -> None:
    frames.send(outbox, {}, frames.dump(message))


def _described(error: BaseException) -> dict[str, Any]:
    """An error as text, with the last line of the program (or the test) that it went through."""
    kind = type(error)
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == NAME:
            line = step.tb_lineno
        step = step.tb_next
    if isinstance(error, SyntaxError) and error.filename == NAME:
        line = error.lineno
    try:
        text = str(error)[:LONGEST_TEXT]
    except BaseException:
        text = ""
    where = f" (line {line})" if line else ""
    told = f"{kind.__name__}{where}: {text}" if text else f"{kind.__name__}{where}"
    return {"error": told, "kind": next((k.__name__ for k in kind.__mro__ if k.__module__ == "builtins"), "")}
