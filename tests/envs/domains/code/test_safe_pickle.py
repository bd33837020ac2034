"""Private tests come as pickles from strangers: only plain data is read, all else is refused unbuilt."""

import builtins
import collections
import datetime
import functools
import io
import os
import pickle
import pickletools
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.domains.code import safe_pickle
from dataenvgym.envs.errors import DataError

PROTOCOLS = (2, 3, 4, 5)
CODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**600), 2**600) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
    ),
)


@given(plain, st.sampled_from(PROTOCOLS))
def test_plain_data_comes_back_as_it_was(value: Any, protocol: int) -> None:
    assert safe_pickle.loads(pickle.dumps(value, protocol)) == value


def test_a_text_longer_than_a_frame_comes_back() -> None:
    text = '[{"input": "é\u2028"}]' * 200_000
    assert safe_pickle.loads(pickle.dumps(text)) == text


def test_equal_parts_are_read_once_and_shared() -> None:
    part = {"input": "1"}
    assert safe_pickle.loads(pickle.dumps([part, part, {"input": "2"}])) == [part, part, {"input": "2"}]


class Calls:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


class Plain:
    pass


class Slots:
    __slots__ = ("a",)


class Named:
    def __reduce__(self) -> str:
        return "NAMED"


class WithArguments:
    def __new__(cls, *_: Any, **__: Any) -> "WithArguments":
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, int]]:
        return (1,), {"b": 2}


NAMED = Named()


def hostile(marker: Path) -> list[Any]:
    """Objects whose unpickling would make the file `marker`, or build anything that is not plain data."""
    touch = f"touch {marker}"
    return [
        Calls(os.system, (touch,)),
        Calls(subprocess.check_output, (["touch", str(marker)],)),
        Calls(builtins.eval, (f"open({str(marker)!r}, 'w')",)),
        Calls(builtins.exec, (f"open({str(marker)!r}, 'w')",)),
        Calls(builtins.open, (str(marker), "w")),
        Calls(Path.touch, (marker,)),
        Calls(builtins.getattr, ("", "join")),
        Calls(list, (), None, iter([1])),
        Calls(dict, (), None, None, iter([("a", 1)])),
        Calls(Plain, (), {"a": 1}),
        Calls(Plain, (), ({"a": 1}, {"b": 2})),
        Calls(functools.partial, (os.system, touch)),
        Calls(io.BytesIO, (b"",)),
        Plain(),
        Slots(),
        NAMED,
        WithArguments(),
        os.system,
        Plain,
        {1, 2},
        frozenset({1}),
        b"bytes",
        bytearray(b"b"),
        1 + 2j,
        datetime.date(2024, 1, 1),
        collections.OrderedDict(a=1),
        collections.Counter("a"),
        range(3),
        Ellipsis,
        {1: "a key that is a number"},
        1 << 4000,
    ]


def wrapped(item: Any) -> list[Any]:
    return [item, [item], {"input": item}, ("a", item, "b"), ["x", {"y": (1, [item])}]]


@pytest.mark.parametrize("number", range(len(hostile(Path()))))
def test_anything_but_plain_data_is_refused_and_nothing_runs(tmp_path: Path, number: int) -> None:
    marker = tmp_path / "marker"
    for protocol in range(6):
        for item in wrapped(hostile(marker)[number]):
            try:
                data = pickle.dumps(item, protocol)
            except (pickle.PicklingError, TypeError):
                continue
            with pytest.raises(DataError):
                safe_pickle.loads(data)
    assert not marker.exists()


class Opaque:
    """Written as a persistent id."""


class PersistentPickler(pickle.Pickler):
    def persistent_id(self, item: Any) -> Any:
        return "stored" if isinstance(item, Opaque) else None


def test_persistent_ids_and_buffers_out_of_band_are_refused() -> None:
    for protocol in range(6):
        file = io.BytesIO()
        PersistentPickler(file, protocol).dump(["a", Opaque()])
        with pytest.raises(DataError):
            safe_pickle.loads(file.getvalue())
    data = pickle.dumps(pickle.PickleBuffer(b"x"), 5, buffer_callback=lambda _: None)
    with pytest.raises(DataError):
        safe_pickle.loads(data)


HAND_WRITTEN = {
    "GLOBAL and REDUCE": b"cos\nsystem\n(X\x04\x00\x00\x00truetR.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "INST": b"(X\x04\x00\x00\x00trueios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "NEWOBJ": b"\x80\x02cbuiltins\nlist\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04cbuiltins\nlist\n)}\x92.",
    "BUILD": b"\x80\x02]}b.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "PERSID": b"Pstored\n.",
    "BINPERSID": b"\x8c\x01aQ.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "READONLY_BUFFER": b"\x80\x05\x8c\x01a\x98.",
    "STRING": b"S'a'\n.",
    "LONG": b"L1L\n.",
    "INT": b"I1\n.",
    "DUP": b"\x80\x02]2\x86.",
    "POP": b"\x80\x02]]0.",
    "LONG4": b"\x80\x02\x8b\x01\x00\x00\x00\x01.",
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_hand_written_instructions_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="instruction"):
        safe_pickle.loads(HAND_WRITTEN[name])


def test_every_instruction_of_the_format_is_known_to_be_safe_or_is_refused() -> None:
    # A new instruction of a later protocol is refused until someone has thought about it.
    known = {*safe_pickle._ARGUMENT, *safe_pickle._CONSTANTS, *safe_pickle._TUPLES, *safe_pickle._SKIP}
    known |= {"EMPTY_LIST", "EMPTY_DICT", "MARK", "TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "STOP"}
    known |= {"MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
    building = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
    assert known < {op.name for op in pickletools.opcodes}
    assert not known & building


BOMBS = {
    "a long text promised": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.",
    "a text of more than can be": b"\x80\x04\x8d" + b"\xff" * 8 + b"a.",
    "a frame of any size": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"]N.",
    "lists in lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "tuples in tuples": b"\x80\x02)" + b"\x85" * 300_000 + b".",
    "a million laughs": pickle.dumps(functools.reduce(lambda part, _: [part] * 10, range(40), ["ha"])),
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dictionary in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "marks alone": b"\x80\x02" + b"(" * 600_000 + b".",
    "more instructions than allowed": b"\x80\x02](" + b"N" * 600_000 + b"e.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_of_huge_values_are_refused(name: str) -> None:
    with pytest.raises(DataError):
        safe_pickle.loads(BOMBS[name])


def test_a_memo_slot_far_away_takes_no_room() -> None:
    assert safe_pickle.loads(b"\x80\x02]r\xff\xff\xff\xff.") == []


def test_one_long_text_repeated_counts_each_time() -> None:
    data = pickle.dumps(["x" * 1_000_000] * 1_000)
    assert len(data) < 1_010_000
    with pytest.raises(DataError, match="characters"):
        safe_pickle.loads(data)


DAMAGED = {
    "nothing": b"",
    "no value": b"\x80\x02.",
    "no end": b"\x80\x02]",
    "more after its end": b"\x80\x02].]",
    "two values": b"\x80\x02]].",
    "an open mark": b"\x80\x02](.",
    "an append to nothing": b"\x80\x02a.",
    "no mark": b"\x80\x02u.",
    "a name never set": b"\x80\x02h\x05.",
    "an append to no list": b"\x80\x02}Na.",
    "items of a list": b"\x80\x02](NNu.",
    "a key without its value": b"\x80\x02}(Nu.",
    "a key that is no text": b"\x80\x02}(NNu.",
    "an append across a mark": b"\x80\x02](Na.",
    "text that is not UTF-8": b"\x80\x02X\x02\x00\x00\x00\xff\xff.",
    "a text cut short": b"\x80\x04\x8c\x05ab.",
    "no instruction": b"\xff\xff",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_pickles_are_refused(name: str) -> None:
    with pytest.raises(DataError):
        safe_pickle.loads(DAMAGED[name])


def is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    return value is None or type(value) in (bool, int, float, str)


@given(st.binary(max_size=200))
def test_any_bytes_give_plain_data_or_a_clear_error(data: bytes) -> None:
    try:
        value = safe_pickle.loads(data)
    except DataError:
        return
    assert is_plain(value)


@given(plain, st.sampled_from(PROTOCOLS), st.data())
def test_a_good_pickle_with_changed_bytes_gives_plain_data_or_a_clear_error(
    value: Any, protocol: int, data: st.DataObject
) -> None:
    changed = bytearray(pickle.dumps(value, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = safe_pickle.loads(bytes(changed))
    except DataError:
        return
    assert is_plain(found)


@given(st.lists(st.sampled_from(CODES), max_size=12), st.binary())
def test_instructions_in_any_order_give_plain_data_or_a_clear_error(codes: list[bytes], tail: bytes) -> None:
    try:
        value = safe_pickle.loads(b"\x80\x04](K\x01K\x02" + b"".join(codes) + tail + b".")
    except DataError:
        return
    assert is_plain(value)
