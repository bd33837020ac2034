"""Records of a benchmark from local files."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import DataError

SUFFIXES = (".jsonl", ".json", ".parquet", ".jsonl.gz")


SPLITS = ("train", "test")


@dataclass(frozen=True)
class Record:
    """A raw row and where it stands, for error messages; `number` counts from 0 in its split.

    `file` and `offset` (in bytes) say where the line of a `.jsonl` file begins, so that it can be read again.
    """

    data: Mapping[str, Any]
    number: int
    where: str
    file: Path | None = None
    offset: int = 0

    def text(self, column: str, columns: Sequence[str]) -> str:
        """The text in a column.

        Raises:
            DataError: it is missing, is no text, or is empty; `columns` are those expected.
        """
        value = self.data.get(column)
        if isinstance(value, str) and value.strip():
            return value
        if column in self.data:
            problem = f"column {column!r} holds no text: {value!r:.80}"
        else:
            problem = f"no column {column!r}"
        raise DataError(
            f"{self.where}: {problem}. Expected text in the columns {', '.join(columns)}; "
            f"found the columns {', '.join(map(str, self.data)) or 'none'}."
        )


Splits = dict[str, list[Record]]
"""Either `train`, `test` and perhaps `val`, or `all` where the source has no division of its own."""


def read_local(path: Path, splits: Sequence[str] = SPLITS) -> Splits:
    """The records of a file, or of a folder at any depth.

    A file is one split, `all`. In a folder, files whose name or sub-folder begins with `train` or `test` (or
    another of `splits`) are those splits (`train.jsonl`, `test-00000-of-00001.parquet`,
    `train/algebra/1.json`); when both are there other files are not read, otherwise all files are one split,
    `all`.

    Raises:
        DataError: nothing to read there, or a file that does not parse.
    """
    path = path.expanduser()
    files = local_files(path)
    named: dict[str, list[Path]] = {split: [] for split in splits} if path.is_dir() else {}
    for file in files:
        for split, members in named.items():
            if any(part.lower().startswith(split) for part in file.relative_to(path).parts):
                members.append(file)
                break
    if named and all(named.get(split) for split in SPLITS):
        return {split: list(records(members)) for split, members in named.items() if members}
    return {"all": list(records(files))}


def local_files(path: Path) -> list[Path]:
    """The file, or the files of the folder at any depth, in alphabetical order.

    Raises:
        DataError: nothing to read there.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"task.path: no file or folder {str(path)!r}. Expected {', '.join(SUFFIXES)} files.")
    files = sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file())
    if not files:
        raise DataError(f"task.path: no {', '.join(SUFFIXES)} file in the folder {str(path)!r}.")
    return files


def records(files: Iterable[Path]) -> Iterator[Record]:
    """The rows of files, numbered through. Of a `.jsonl` file one line at a time is in memory.

    Raises:
        DataError: a file that cannot be read, or a row that is no object.
    """
    number = 0
    for file in files:
        for line, data, offset in _rows(file):
            where = f"{file}, row {line}"
            if not isinstance(data, dict):
                raise DataError(f"{where}: expected an object with columns, found {type(data).__name__}.")
            yield Record(data, number, where, file if file.suffix == ".jsonl" else None, offset)
            number += 1


def _rows(file: Path) -> Iterator[tuple[int, Any, int]]:
    """(row number from 1, row, where its line begins in bytes) of a file."""
    try:
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            yield from ((number, row, 0) for number, row in enumerate(pq.read_table(file).to_pylist(), 1))
        elif file.suffix == ".json":
            data = json.loads(file.read_text(encoding="utf-8"))
            yield from (
                (number, row, 0) for number, row in enumerate(data if isinstance(data, list) else [data], 1)
            )
        else:
            yield from _lines(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not readable as UTF-8 text ({error}).") from error
    except (OSError, EOFError, ValueError) as error:
        kind = "JSON" if file.suffix == ".json" else file.suffix.removeprefix(".")
        raise DataError(f"{file}: not a readable {kind} file ({error}).") from error


def _lines(file: Path) -> Iterator[tuple[int, Any, int]]:
    offset = 0
    # As bytes, which end a line at \n alone: JSON text may hold U+2028 and the like.
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line.decode("utf-8")), offset
                except json.JSONDecodeError as error:
                    raise DataError(f"{file}, row {number}: not valid JSON ({error}).") from error
            offset += len(line)
