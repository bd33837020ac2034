"""Records of a benchmark from local files."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import DataError
from dataenvgym.envs.text import clean

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""Of the files that are read; all but Parquet may be compressed by gzip, under any name."""
GZIP = b"\x1f\x8b"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


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
    cleaned: list[str] = field(default_factory=list, compare=False)
    """The columns whose text was cleaned (see `envs.text.clean`)."""

    def text(self, column: str, columns: Sequence[str]) -> str:
        """The text in a column.

        Raises:
            DataError: it is missing, is no text, or is empty; `columns` are those expected.
        """
        value = self.data.get(column)
        if isinstance(value, str) and (text := clean(value)).strip():
            if text != value:
                self.cleaned.append(column)
            return text
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
    names = (*SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES if suffix != ".parquet"))
    files = sorted(p for p in path.rglob("*") if p.name.endswith(names) and p.is_file())
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
            yield Record(data, number, where, file if offset is not None else None, offset or 0)
            number += 1


def _rows(file: Path) -> Iterator[tuple[int, Any, int | None]]:
    """(row number from 1, row, where its line begins in bytes, None if it is no plain line) of a file."""
    suffix = Path(file.name.removesuffix(".gz")).suffix
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            yield from ((number, row, None) for number, row in enumerate(pq.read_table(file).to_pylist(), 1))
        elif suffix in (".csv", ".tsv"):
            yield from _table(file, "\t" if suffix == ".tsv" else ",")
        elif suffix == ".json":
            data = json.loads(_text(file))
            rows = data if isinstance(data, list) else [data]
            yield from ((number, row, None) for number, row in enumerate(rows, 1))
        else:
            yield from _lines(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not readable as UTF-8 text ({error}). Save it as UTF-8.") from error
    except RecursionError as error:
        raise DataError(f"{file}: JSON that is nested too deep.") from error
    except (OSError, EOFError, ValueError, csv.Error) as error:
        kind = {".json": "JSON", ".csv": "CSV", ".tsv": "TSV"}.get(suffix, suffix.removeprefix("."))
        raise DataError(f"{file}: not a readable {kind} file ({error}).{_hint(file)}") from error


def _open(file: Path) -> Any:
    """The bytes of a file, unpacked where they are gzip, whatever its name says.

    Raises:
        DataError: it is empty, of another encoding, or named `.gz` and no gzip.
    """
    with file.open("rb") as raw:
        start = raw.read(2)
    if start == GZIP:
        return gzip.open(file)
    if file.suffix == ".gz":
        raise DataError(f"{file}: its name ends in .gz, and it is no gzip file. Rename it, or compress it.")
    if not start:
        raise DataError(f"{file}: the file is empty.")
    if start in UTF_16:
        raise DataError(f"{file}: UTF-16 text. Save it as UTF-8.")
    return file.open("rb")


def _text(file: Path) -> str:
    with _open(file) as opened:
        return str(opened.read().decode("utf-8-sig"))


def _table(file: Path, delimiter: str) -> Iterator[tuple[int, Any, int | None]]:
    """The rows of a table; its first line names the columns."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        rows = csv.DictReader(io.StringIO(_text(file), newline=""), delimiter=delimiter, strict=True)
        for row in rows:
            extra = row.pop(None, None)
            if extra:
                raise DataError(f"{file}, row {rows.line_num}: {len(extra)} more fields than columns.")
            yield rows.line_num, row, None
    finally:
        csv.field_size_limit(before)


def _lines(file: Path) -> Iterator[tuple[int, Any, int | None]]:
    offset = 0
    # As bytes, which end a line at \n alone: JSON text may hold U+2028 and the like.
    with _open(file) as lines:
        plain = not isinstance(lines, gzip.GzipFile)
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield (
                        number,
                        json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8")),
                        offset if plain else None,
                    )
                except json.JSONDecodeError as error:
                    raise DataError(f"{file}, row {number}: not valid JSON ({error}).{_hint(file)}") from error
                except RecursionError as error:
                    raise DataError(f"{file}, row {number}: JSON that is nested too deep.") from error
            offset += len(line)


def _hint(file: Path) -> str:
    """What the file may be instead, by its beginning."""
    try:
        with _open(file) as opened:
            first = opened.readline(10_000).decode("utf-8-sig", errors="replace").strip()
    except (OSError, EOFError, DataError):
        return ""
    if first.startswith(("{", "[")):
        return " It begins as JSON: one object a line is .jsonl, one list or object is .json."
    return " It looks like a table: name it .csv (or .tsv)." if "," in first or "\t" in first else ""
