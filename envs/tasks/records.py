"""Records of a benchmark from local files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks.reading import Bad, rows
from dataenvgym.envs.text import clean, storable

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""Of the files of a folder that are read, plain or, with `.gz`, packed. A file that is named may have any."""


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

    def text(self, column: str, columns: Sequence[str], *, as_it_is: bool = False) -> str:
        """The text in a column, cleaned. Of one to be kept `as_it_is`, such as tests, only surrogates go.

        Raises:
            DataError: it is missing, is no text, or is empty; `columns` are those expected.
        """
        value = self.data.get(column)
        if isinstance(value, str) and (text := storable(value) if as_it_is else clean(value)).strip():
            if text != value:
                self.cleaned.append(column)
            return text
        if column in self.data:
            problem = f"column {column!r} holds no text: {value!r:.80}"
        else:
            problem = f"no column {column!r}"
        raise DataError(
            f"{self.where}: {problem}. Expected text in the columns {', '.join(columns)}; "
            f"found the columns {clean(', '.join(map(str, self.data))) or 'none'}."
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
    try:
        if path.is_file():
            return [path]
        folder = path.is_dir()
    except OSError as error:  # a folder that may not be entered, or a name that is too long
        raise DataError(f"task.path: {str(path)!r:.200} cannot be read ({error.strerror}).") from error
    if not folder:
        raise DataError(f"task.path: no file or folder {str(path)!r}. Expected {', '.join(SUFFIXES)} files.")
    names = (*SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES))
    there = sorted(p for p in path.rglob("*") if p.is_file())
    files = [p for p in there if p.name.endswith(names)]
    if not files:
        shown = ", ".join(repr(str(p.relative_to(path))) for p in there[:3]) or "no file"
        raise DataError(f"task.path: no {', '.join(SUFFIXES)} file in the folder {str(path)!r}. It holds {shown}.")
    return files


def records(files: Iterable[Path], bad: Bad | None = None) -> Iterator[Record]:
    """The rows of files, numbered through. Of a `.jsonl` file one line at a time is in memory.

    `bad`: told of a row that cannot be read or is no object, which is left out.

    Raises:
        DataError: a file that cannot be read, or a row that is no object.
    """
    number = 0
    for file in files:
        for line, data, offset in rows(file, bad):
            where = f"{file}, row {line}"
            if not isinstance(data, dict):
                fault = DataError(f"{where}: expected an object with columns, found {type(data).__name__}.")
                if bad is None:
                    raise fault
                bad(fault)
                continue
            yield Record(data, number, where, file if offset is not None else None, offset or 0)
            number += 1
