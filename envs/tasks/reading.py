"""The rows of a data file. What it holds decides how it is read, not its name."""

import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import DataError

if TYPE_CHECKING:
    import _csv

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
HEAD = 1 << 16
"""Bytes by which a file is recognised."""
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\xff\xfe\0\0": "UTF-32 text. Save it as UTF-8",
    b"\0\0\xfe\xff": "UTF-32 text. Save it as UTF-8",
    b"\xff\xfe": "UTF-16 text. Save it as UTF-8",
    b"\xfe\xff": "UTF-16 text. Save it as UTF-8",
    b"PK\x03\x04": "a zip archive or a spreadsheet. Unpack it, or save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "a file packed by zstd. Unpack it, or pack it by gzip",
    b"BZh": "a file packed by bzip2. Unpack it, or pack it by gzip",
    b"\xfd7zXZ": "a file packed by xz. Unpack it, or pack it by gzip",
    GZIP: "a file packed by gzip twice. Unpack it once",
    b"version https://git-lfs": "a pointer of Git LFS in place of the data. Run git lfs pull",
    b"<": "a web page or XML, no data",
}
_EXPECTED = (
    "Expected JSON (a list, or one object a line), CSV or TSV whose first line names the columns, or Parquet"
)
_LONE_CR = re.compile(r"(?<=\r)(?=[^\n])")
"""Where a line ends as on old Macs, which only tables may be written by."""

Bad = Callable[[DataError], None]
"""Told of a row that cannot be read, after which reading goes on. Without one, such a row is an error."""

Numbered = tuple[int, Any, int | None]
"""Row number from 1 (of a text, its line), row, where its line begins in bytes (None if it is no plain line)."""


def rows(file: Path, bad: Bad | None = None) -> Iterator[Numbered]:
    """Read JSON, JSON Lines, CSV, TSV or Parquet, plain or packed by gzip. Lines and tables are read as they come.

    `bad`: told of a line or a row of a table that cannot be read, which is left out.

    Raises:
        DataError: nothing of the kind, damaged, or no UTF-8; the text names the file and, where it can, the row.
    """
    last = 0
    try:
        with file.open("rb") as raw:
            packed = raw.read(2) == GZIP
        if not packed and file.suffix == ".gz":
            raise DataError(f"{file}: its name ends in .gz, and it is no gzip file. Rename it, or compress it.")
        with gzip.open(file) if packed else file.open("rb") as opened:
            for row in _recognised(file, opened, bad):
                last = row[0]
                yield row if not packed else (*row[:2], None)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        place = f" after row {last}" if last else ""
        raise DataError(f"{file}: not a readable gzip file; cut or damaged{place} ({error}).") from error
    except OSError as error:
        raise DataError(f"{file}: not a readable file ({error}).") from error


def _recognised(file: Path, opened: io.BufferedIOBase, bad: Bad | None) -> Iterator[Numbered]:
    start = opened.read(HEAD)
    opened.seek(0)
    suffix = Path(file.name.removesuffix(".gz")).suffix
    if not start:
        raise DataError(f"{file}: the file is empty.")
    if start.startswith(PARQUET) or suffix == ".parquet":
        yield from _parquet(file, opened)
        return
    text = start.removeprefix(_BOM).lstrip()
    for beginning, what in _FOREIGN.items():
        if start.startswith(beginning) or text.startswith(beginning):
            raise DataError(f"{file}: this is {what}.")
    if b"\0" in start[:4]:
        raise DataError(f"{file}: this is UTF-16 or UTF-32 text, or no text. {_EXPECTED}, in UTF-8.")
    if not text:
        raise DataError(f"{file}: the file is empty but for white space.")
    header = re.split(rb"[\r\n]", text, maxsplit=1)[0].decode("utf-8", "replace")
    delimiter = _delimiter(header, suffix)
    if text.startswith(b"{"):
        found = _document(file, opened, bad) if suffix == ".json" else _lines(file, opened, bad)
    elif suffix in (".csv", ".tsv"):
        found = _table(file, opened, delimiter or ("\t" if suffix == ".tsv" else ","), bad)
    elif text.startswith(b"["):
        found = _document(file, opened, bad)
    elif delimiter:
        found = _table(file, opened, delimiter, bad)
    else:
        found = _lines(file, opened, bad)
    number = 0
    for number, row, offset in found:
        yield number, row, offset
    if not number:
        raise DataError(f"{file}: there are no rows in it.")


def _delimiter(header: str, suffix: str) -> str | None:
    """What separates the columns in the first line of a table; None where it is none. A tab stands in no name."""
    names = {mark: next(csv.reader([header], delimiter=mark), []) for mark in "\t,;"}
    counts = {mark: sum(bool(name.strip()) for name in found) for mark, found in names.items()}
    best = "\t" if counts["\t"] > 1 and suffix != ".csv" else max(counts, key=counts.__getitem__)
    return best if counts[best] > 1 else None


def _parquet(file: Path, opened: io.BufferedIOBase) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(opened.read()) if isinstance(opened, gzip.GzipFile) else file)
        found = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable parquet file ({_first_line(error)}).") from error
    yield from ((number, row, None) for number, row in enumerate(found, 1))


def _told(bad: Bad | None, error: DataError, cause: Exception | None = None) -> None:
    """Tell `bad` of a row that cannot be read, or raise the error."""
    if bad is None:
        raise error from cause
    bad(error)


def _texts(file: Path, opened: io.BufferedIOBase, called: str = "row", bad: Bad | None = None) -> Iterator[str]:
    """The lines of a file with their ends. Only \\n ends one: JSON text may hold U+2028 and the like.

    A line that `bad` is told of is empty here, so that lines are numbered as in the file.
    """
    for number, line in enumerate(opened, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            fault = DataError(
                f"{file}, {called} {number}: not readable as UTF-8 text (byte {line[error.start]:#04x} at column "
                f"{error.start + 1}; Latin-1 or another encoding?). Save it as UTF-8."
            )
            _told(bad, fault, error)
            yield ""


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{where}: JSON that is nested too deep.") from error
    except ValueError as error:
        expected = "" if text.lstrip().startswith(("{", "[")) else f" {_EXPECTED}."
        raise DataError(f"{where}: not valid JSON ({_first_line(error)}).{expected}") from error


def _document(file: Path, opened: io.BufferedIOBase, bad: Bad | None) -> Iterator[Numbered]:
    """A list of rows or one row; or a JSON value a line, as some name their files of lines `.json` too."""
    text = "".join(_texts(file, opened, "line"))  # a row of a list may take many
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" not in text[: error.pos].strip():
            opened.seek(0)
            yield from ((number, row, None) for number, row, _ in _lines(file, opened, bad))
            return
        raise DataError(f"{file}, line {error.lineno}: not valid JSON ({error}).") from error
    except (ValueError, RecursionError):
        data = _parsed(text, str(file))
    found = data if isinstance(data, list) else [data]
    yield from ((number, row, None) for number, row in enumerate(found, 1))


def _lines(file: Path, opened: io.BufferedIOBase, bad: Bad | None) -> Iterator[Numbered]:
    offset = 0
    for number, line in enumerate(_texts(file, opened, bad=bad), 1):
        if line.strip():
            try:
                row = _parsed(line, f"{file}, row {number}")
            except DataError as error:
                _told(bad, error, error.__cause__ if isinstance(error.__cause__, Exception) else None)
            else:
                yield number, row, offset
        offset = opened.tell()


def _table(file: Path, opened: io.BufferedIOBase, delimiter: str, bad: Bad | None) -> Iterator[Numbered]:
    """The rows of a table; its first line names the columns. Spreadsheets write empty columns, names and lines."""
    before = csv.field_size_limit(2**31 - 1)
    lines = (line for text in _texts(file, opened, bad=bad) for line in _LONE_CR.split(text))
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = next(filter(None, _fields(file, table, None)), [])
        if twice := sorted({name for name in names if name and names.count(name) > 1}):
            shown = ", ".join(map(repr, twice))
            raise DataError(f"{file}, row {table.line_num}: columns that stand there twice: {shown}.")
        for fields in filter(None, _fields(file, table, bad)):
            if any(fields[len(names) :]):
                more = len(fields) - len(names)
                _told(bad, DataError(f"{file}, row {table.line_num}: {more} more fields than columns."))
            else:
                yield table.line_num, dict(itertools.zip_longest(names, fields[: len(names)])), None
    finally:
        csv.field_size_limit(before)


def _fields(file: Path, table: "_csv.Reader", bad: Bad | None) -> Iterator[list[str]]:
    """The rows of a table as it is read; a reader goes on after a row that is none."""
    while True:
        try:
            yield next(table)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"{file}, row {table.line_num}: not a readable CSV file ({_first_line(error)})."
            _told(bad, DataError(fault), error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].replace("\t", "\\t")
