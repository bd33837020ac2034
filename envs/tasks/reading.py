"""The rows of a data file. What it holds decides how it is read, not its name."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import DataError

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

Numbered = tuple[int, Any, int | None]
"""Row number from 1 (of a text, its line), row, where its line begins in bytes (None if it is no plain line)."""


def rows(file: Path) -> Iterator[Numbered]:
    """Read JSON, JSON Lines, CSV, TSV or Parquet, plain or packed by gzip. Lines and tables are read as they come.

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
            for row in _recognised(file, opened):
                last = row[0]
                yield row if not packed else (*row[:2], None)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        place = f"after row {last}" if last else "near its beginning"
        raise DataError(f"{file}: not a readable gzip file; cut or damaged {place} ({error}).") from error
    except OSError as error:
        raise DataError(f"{file}: not a readable file ({error}).") from error


def _recognised(file: Path, opened: io.BufferedIOBase) -> Iterator[Numbered]:
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
    if b"\0" in start[:64]:
        raise DataError(f"{file}: this is UTF-16 text, or no text. {_EXPECTED}, in UTF-8.")
    if not text:
        raise DataError(f"{file}: the file is empty but for white space.")
    header = text.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
    delimiter = _delimiter(header)
    if text.startswith(b"{"):
        found = _document(file, opened) if suffix == ".json" else _lines(file, opened)
    elif suffix in (".csv", ".tsv"):
        found = _table(file, opened, delimiter or ",")
    elif text.startswith(b"["):
        found = _document(file, opened)
    elif delimiter:
        found = _table(file, opened, delimiter)
    else:
        found = _lines(file, opened)
    number = 0
    for number, row, offset in found:
        yield number, row, offset
    if not number:
        raise DataError(f"{file}: there are no rows in it.")


def _delimiter(header: str) -> str | None:
    """What separates the columns in the first line of a table; None where it is none."""
    best, most = None, 1
    for mark in ",\t;":
        try:
            names = next(csv.reader([header], delimiter=mark), [])
        except csv.Error:
            continue
        if len(names) > most and all(name.strip() for name in names):
            best, most = mark, len(names)
    return best


def _parquet(file: Path, opened: io.BufferedIOBase) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(opened.read()) if isinstance(opened, gzip.GzipFile) else file)
        found = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable parquet file ({_first_line(error)}).") from error
    yield from ((number, row, None) for number, row in enumerate(found, 1))


def _texts(file: Path, opened: io.BufferedIOBase) -> Iterator[str]:
    """The lines of a file with their ends. Only \\n ends one: JSON text may hold U+2028 and the like."""
    for number, line in enumerate(opened, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file}, row {number}: not readable as UTF-8 text (byte {line[error.start]:#04x} at column "
                f"{error.start + 1}; Latin-1 or another encoding?). Save it as UTF-8."
            ) from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{where}: JSON that is nested too deep.") from error
    except ValueError as error:
        expected = "" if text.lstrip().startswith(("{", "[")) else f" {_EXPECTED}."
        raise DataError(f"{where}: not valid JSON ({_first_line(error)}).{expected}") from error


def _document(file: Path, opened: io.BufferedIOBase) -> Iterator[Numbered]:
    """A list of rows or one row; or a row a line, as some name their files of lines `.json` too."""
    text = "".join(_texts(file, opened))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            opened.seek(0)
            yield from ((number, row, None) for number, row, _ in _lines(file, opened))
            return
        raise DataError(f"{file}, row {error.lineno}: not valid JSON ({error}).") from error
    except (ValueError, RecursionError):
        data = _parsed(text, str(file))
    found = data if isinstance(data, list) else [data]
    yield from ((number, row, None) for number, row in enumerate(found, 1))


def _lines(file: Path, opened: io.BufferedIOBase) -> Iterator[Numbered]:
    offset = 0
    for number, line in enumerate(_texts(file, opened), 1):
        if line.strip():
            yield number, _parsed(line, f"{file}, row {number}"), offset
        offset = opened.tell()


def _table(file: Path, opened: io.BufferedIOBase, delimiter: str) -> Iterator[Numbered]:
    """The rows of a table; its first line names the columns."""
    before = csv.field_size_limit(2**31 - 1)
    table = csv.DictReader(_texts(file, opened), delimiter=delimiter, strict=True)
    try:
        names = table.fieldnames or []
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{file}, row 1: columns that stand there twice: {', '.join(map(repr, twice))}.")
        for row in table:
            extra = row.pop(None, None)
            if extra:
                raise DataError(f"{file}, row {table.line_num}: {len(extra)} more fields than columns.")
            yield table.line_num, row, None
    except csv.Error as error:
        raise DataError(f"{file}, row {table.reader.line_num}: not a readable CSV file ({error}).") from error
    finally:
        csv.field_size_limit(before)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
