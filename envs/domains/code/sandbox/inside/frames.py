"""Frames on pipes, and plain values as JSON text: what the sandbox and its parent say to each other.

Only values of the builtin types travel, copied by their exact type, so that nothing a program defines (an `__eq__`
that is always true) is there where values are compared.
"""

import decimal
import fractions
import json
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

HEAD = struct.Struct("!II")
MOST_DIGITS = 4_000
"""Decimal digits up to which an int is written as JSON; a longer one is hexadecimal, read in linear time."""
MOST_ITEMS = 1_000_000
LONGEST_DECIMAL = 100_000
"""Characters; reading a longer one takes more than linear time."""
_BIG = 1 << (3 * MOST_DIGITS)

Unknown = Callable[[Any], Any]


def framed(header: dict[str, Any], body: bytes = b"") -> bytes:
    """A frame."""
    head = json.dumps(header).encode()
    return HEAD.pack(len(head), len(body)) + head + body


def send(fd: int, header: dict[str, Any], body: bytes = b"") -> None:
    """Write a frame."""
    data = memoryview(framed(header, body))
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> tuple[dict[str, Any], bytes]:
    """Read a frame of somebody who is trusted. Raises EOFError at the end of the pipe."""
    head, body = HEAD.unpack(_exactly(fd, HEAD.size))
    header = json.loads(_exactly(fd, head))
    return header, _exactly(fd, body)


def cut(buffer: bytearray) -> bytes | None:
    """The body of the frame that `buffer` begins with; None while it is not complete."""
    if len(buffer) < HEAD.size:
        return None
    head, body = HEAD.unpack(buffer[: HEAD.size])
    start = HEAD.size + head
    return bytes(buffer[start : start + body]) if len(buffer) >= start + body else None


def _exactly(fd: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        data = os.read(fd, min(1 << 20, count - len(parts)))
        if not data:
            raise EOFError("the pipe was closed")
        parts += data
    return bytes(parts)


def pack(value: Any, unknown: Unknown | None = None) -> Any:
    """A value as JSON; `unknown` turns what is of no builtin type into JSON, else that is a TypeError.

    Subclasses of builtin types become these; their own methods are not called. An iterator becomes its items.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is float:
        return value if value - value == 0 else {"float": repr(value)}
    if isinstance(value, int):
        plain = int.__add__(value, 0) if kind is not int else value
        return plain if -_BIG < plain < _BIG else {"int": hex(plain)}
    for base, packer in _CONTAINERS:
        if isinstance(value, base):
            return packer(value, unknown)
    if hasattr(kind, "__next__"):
        return {"iter": [pack(item, unknown) for _, item in zip(range(MOST_ITEMS), value, strict=False)]}
    if unknown is not None:
        return unknown(value)
    raise TypeError(f"a value of type {kind.__name__} cannot be compared")


def _pack_dict(value: Any, unknown: Unknown | None) -> Any:
    return {"dict": [[pack(k, unknown), pack(v, unknown)] for k, v in dict.items(value)]}


# (type, how it is packed), the types of which others are subclasses last.
_CONTAINERS: tuple[tuple[type, Callable[[Any, Unknown | None], Any]], ...] = (
    (list, lambda v, u: [pack(item, u) for item in list.__iter__(v)]),
    (tuple, lambda v, u: {"tuple": [pack(item, u) for item in tuple.__iter__(v)]}),
    (dict, _pack_dict),
    (set, lambda v, u: {"set": [pack(item, u) for item in set.__iter__(v)]}),
    (frozenset, lambda v, u: {"frozenset": [pack(item, u) for item in frozenset.__iter__(v)]}),
    (str, lambda v, u: str.__getitem__(v, slice(None))),
    (float, lambda v, u: pack(float.__add__(v, 0.0), u)),
    (complex, lambda v, u: {"complex": repr(complex.__add__(v, 0j))}),
    (bytes, lambda v, u: {"bytes": bytes.hex(v)}),
    (bytearray, lambda v, u: {"bytearray": bytearray.hex(v)}),
    (range, lambda v, u: {"range": [v.start, v.stop, v.step]}),
    (decimal.Decimal, lambda v, u: {"decimal": decimal.Decimal.__str__(v)}),
    (fractions.Fraction, lambda v, u: {"fraction": [hex(v.numerator), hex(v.denominator)]}),
)


MADE: Mapping[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "iter": iter,
    "dict": dict,
}
"""What becomes of the items under each tag; those of a dict are pairs."""


def unpack(packed: Any, unknown: Unknown | None = None, made: Mapping[str, Callable[[Any], Any]] = MADE) -> Any:
    """The value of `pack`; what stands under an unknown tag is given to `unknown`.

    Raises:
        ValueError, TypeError, AttributeError, ArithmeticError: it is not what `pack` makes.
    """
    if isinstance(packed, list):
        return [unpack(item, unknown, made) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((tag, value),) = packed.items()
    if tag == "dict":
        return made[tag]([(unpack(k, unknown, made), unpack(v, unknown, made)) for k, v in value])
    if tag in made:
        return made[tag]([unpack(item, unknown, made) for item in value])
    if tag in _PLAIN:
        return _PLAIN[tag](value)
    if unknown is not None:
        return unknown(packed)
    raise ValueError(f"an unknown value: {str(packed)[:80]}")


def _decimal(text: str) -> decimal.Decimal:
    if len(text) > LONGEST_DECIMAL:
        raise ValueError("a decimal of too many digits")
    return decimal.Decimal(text)


def _fraction(above: str, below: str) -> fractions.Fraction:
    if len(above) + len(below) > LONGEST_DECIMAL:
        raise ValueError("a fraction of too many digits")
    return fractions.Fraction(int(above, 16), int(below, 16))


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "float": float,
    "complex": complex,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda v: range(*v),
    "decimal": _decimal,
    "fraction": lambda v: _fraction(*v),
}


def dump(message: Any) -> bytes:
    """A message as the body of a frame."""
    return json.dumps(message).encode()


def load(body: bytes) -> Any:
    """The message in a body that may be hostile.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
