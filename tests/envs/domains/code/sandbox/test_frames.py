"""Values on their way out of the sandbox: nothing but plain data, whatever bytes arrive."""

import json
from typing import Any

from calls import call
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.domains.code.sandbox import (
    Program,
    judge,
)
from dataenvgym.envs.domains.code.sandbox.inside import frames

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
        | st.sets(st.integers() | st.text())
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_values_travel_as_they_are(value: Any) -> None:
    back = frames.unpack(frames.load(frames.dump(frames.pack(value))))
    assert back == value
    assert repr(back) == repr(value) or isinstance(value, set | dict | list | tuple)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_hostile_bytes_are_no_value_or_a_plain_one(body: bytes) -> None:
    try:
        frames.unpack(frames.load(body))
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return


TAGS = [
    "value",
    "error",
    "kind",
    "names",
    "path",
    "int",
    "float",
    "complex",
    "bytes",
    "tuple",
    "set",
    "dict",
    "iter",
]


TAGS += ["range", "decimal", "fraction", "kept", "frozenset", "done", "changed"]


FORGED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text() | st.just("1e999999"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(TAGS), inner, max_size=2),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(TAGS), FORGED, max_size=3) | FORGED.map(lambda v: {"value": v}) | FORGED)
def test_whatever_a_program_says_it_gets_a_verdict(message: Any) -> None:
    code = "import os\ndef f(m):\n    m = m.encode()\n    os.write(4, len(b'{}').to_bytes(4, 'big') + len(m).to_bytes(4, 'big') + b'{}' + m)\n    os._exit(0)"
    tests = (call([json.dumps(message)], "none of these"),)
    (found,) = judge([Program(code=code, tests=tests, entry="f")], isolation="rlimits")
    assert found.results[0].status in {"failed", "error", "refused", "memory"}
