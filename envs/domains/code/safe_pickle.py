"""Pickles of plain data, read without the power to build anything else.

Python's own unpickler runs whatever a pickle names. This one is a small machine of its own over the standard
library's disassembler: it has no way to import, call or look anything up, so there is nothing to switch off.
"""

import pickletools
from typing import Any

from dataenvgym.envs.errors import DataError

MAX_STEPS = 500_000
"""Instructions of a pickle, and values in what it builds, shared ones counted each time they stand."""
MAX_DEPTH = 100
MAX_TEXT = 2**29
"""Characters in all texts of what it builds, shared ones counted each time they stand."""

_SKIP = {"PROTO", "FRAME"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ARGUMENT = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BINUNICODE8",
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def loads(data: bytes) -> Any:
    """The value of a pickle of None, booleans, numbers, texts, lists, tuples and dictionaries with text keys.

    Protocols 2 to 5 write such values with a few instructions; any other instruction is refused before it has
    an effect, and so is a value larger than the limits of this module (a small pickle can stand for a huge
    value), nested deeper, or that contains itself.

    Raises:
        DataError: it holds something else, is damaged, or is too large.
    """
    try:
        value = _run(data)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        # The disassembler's complaints, a stack run empty, a name in the memo that was never set.
        raise DataError(f"not a readable pickle ({type(error).__name__}: {str(error)[:200]}).") from error
    _check_size(value)
    return value


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    outer: list[list[Any]] = []  # the stacks below each open MARK
    memo: dict[Any, Any] = {}
    for step, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if step >= MAX_STEPS:
            raise DataError(f"a pickle of more than {MAX_STEPS:,} instructions.")
        if name in _ARGUMENT:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(items)))
        elif name == "MARK":
            outer.append(stack)
            stack = []
        elif name == "TUPLE":
            items, stack = stack, outer.pop()
            stack.append(tuple(items))
        elif name == "APPENDS":
            items, stack = stack, outer.pop()
            _list(stack[-1]).extend(items)
        elif name == "APPEND":
            item = stack.pop()
            _list(stack[-1]).append(item)
        elif name == "SETITEMS":
            items, stack = stack, outer.pop()
            _set_items(stack[-1], items)
        elif name == "SETITEM":
            item = stack.pop()
            key = stack.pop()
            _set_items(stack[-1], [key, item])
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "STOP":
            if len(stack) != 1 or outer or position != len(data) - 1:
                raise ValueError("it ends before its value is whole, or after")
            return stack[0]
        elif name not in _SKIP:
            raise DataError(
                f"a pickle that would do more than hold data: instruction {name} at byte {position}. "
                "Expected numbers, texts, lists, tuples and dictionaries alone."
            )
    raise ValueError("it has no end")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("it appends to something that is no list")
    return value


def _set_items(target: Any, items: list[Any]) -> None:
    # Text keys alone: numbers with chosen equal hashes would make a dictionary as slow as a list.
    if not isinstance(target, dict) or len(items) % 2 or not all(isinstance(key, str) for key in items[::2]):
        raise ValueError("it sets items of something that is no dictionary with text keys")
    target.update(zip(items[::2], items[1::2], strict=True))


def _check_size(value: Any) -> None:
    """Refuse a value that is large once its shared parts are written out, is deep, or contains itself."""
    count = text = 0
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        parts: Any = ()
        if isinstance(item, str):
            text += len(item)
        elif isinstance(item, list | tuple):
            parts = item
        elif isinstance(item, dict):
            text += sum(map(len, item))
            parts = item.values()
        count += 1 + len(parts)
        if count > MAX_STEPS or text > MAX_TEXT or depth > MAX_DEPTH:
            raise DataError(
                f"a pickle that stands for more than {MAX_STEPS:,} values, {MAX_TEXT:,} characters "
                f"or {MAX_DEPTH} levels, or for a value that contains itself."
            )
        waiting.extend((part, depth + 1) for part in parts)
