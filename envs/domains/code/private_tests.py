"""The tests of a code item: those it carries and, for LiveCodeBench, those that stay on disk until they are run.

A LiveCodeBench problem has up to tens of megabytes of private tests, a release of 400 problems gigabytes. An
instance therefore carries only where they are, in `extra["private"]`: `{"file", "offset", "id", "sha256"}`, a
row of a `.jsonl` file and the hash of its column, or `{"coded"}`, the column's text, for sources that cannot be
read at an offset.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.text import storable

COLUMN = "private_test_cases"
IDENTITY = "question_id"
MAX_BYTES = 512 * 2**20
"""Largest size of one problem's private tests once unpacked."""


class Case(TypedDict):
    """A test in LiveCodeBench's form."""

    input: str
    output: str


def public_tests(item: Item) -> list[Case]:
    """The tests that the item carries."""
    return list(item.extra.get("tests") or [])


def has_private_tests(item: Item) -> bool:
    """Whether there are more tests than the item carries."""
    return bool(item.extra.get("private"))


def private_tests(item: Item) -> list[Case]:
    """The tests kept out of the item, unpacked; up to some hundred megabytes, so hold few at a time.

    Raises:
        DataError: the file has changed since the task was loaded, or what it holds is no list of tests.
    """
    place = item.extra.get("private")
    if not place:
        return []
    return decode(place["coded"] if "coded" in place else _coded(place), item.id)


def all_tests(item: Item) -> list[Case]:
    """The public tests, then the private ones, as LiveCodeBench runs them."""
    return public_tests(item) + private_tests(item)


def _coded(place: Mapping[str, Any]) -> str:
    where = f"{place['file']} at byte {place['offset']}"
    try:
        with Path(place["file"]).open("rb") as file:
            file.seek(place["offset"])
            row = json.loads(file.readline())
        column = row[COLUMN]
        if row[IDENTITY] == place["id"] and isinstance(column, str) and digest(column) == place["sha256"]:
            return column
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{where}: the tests of {place['id']!r} cannot be read again ({error}).") from error
    raise DataError(f"{where}: expected the row of {place['id']!r}; the file has changed since it was loaded.")


def digest(column: str) -> str:
    """The sha256 of a column's text, by which a changed file is known."""
    return hashlib.sha256(column.encode(errors="surrogatepass")).hexdigest()


def decode(text: str, where: str) -> list[Case]:
    """The tests in a column: a JSON list, or base64 of zlib of a pickle of such a text or list.

    Args:
        text: the column as it is.
        where: what to name in an error.

    Raises:
        DataError: it is neither, is larger than `MAX_BYTES` unpacked, or the pickle is more than plain data.
    """
    try:
        value: Any = text if text.lstrip().startswith("[") else _unpack(text)
        if isinstance(value, str):
            value = json.loads(value)
    except DataError as error:
        raise DataError(f"{where}: private tests: {error}") from error
    except (ValueError, zlib.error, RecursionError) as error:
        raise DataError(
            f"{where}: private tests: expected a JSON list, or base64 of zlib of a pickle of one "
            f"({type(error).__name__}: {error})."
        ) from error
    return cases(value, where)


def _unpack(text: str) -> Any:
    from dataenvgym.envs.domains.code import safe_pickle

    packed = zlib.decompressobj()
    data = packed.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
    if len(data) >= MAX_BYTES and not packed.eof:
        raise DataError(f"more than {MAX_BYTES:,} bytes when unpacked.")
    if not packed.eof or packed.unused_data:
        raise ValueError("the compressed data is cut short, or more follows it")
    return safe_pickle.loads(data)


def cases(value: Any, where: str) -> list[Case]:
    """A JSON value as tests.

    Raises:
        DataError: it is no list of objects with the texts `input` and `output`.
    """
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list of tests, found {type(value).__name__}.")
    found: list[Case] = []
    for number, case in enumerate(value, 1):
        texts = [case.get(name) if isinstance(case, dict) else None for name in ("input", "output")]
        if not isinstance(texts[0], str) or not isinstance(texts[1], str):
            raise DataError(f"{where}: test {number} has no texts 'input' and 'output': {str(case)[:80]!r}.")
        found.append({"input": storable(texts[0]), "output": storable(texts[1])})
    return found
