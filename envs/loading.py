"""Load the user's own Python by name: `my_module` or `path/to/file.py`, or an object in it: `my_module:graph`.

Loading runs the code, as `python` would.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import Any

from dataenvgym.envs.errors import ConfigError, UnknownNameError

OWN = "_of_the_user_"
"""Prefix of the names of modules loaded from a file; no other process finds them by name."""


def load_object(spec: str) -> Any:
    """Load the object `module:attribute` or `file.py:attribute`; modules of the current folder are found.

    Raises:
        ConfigError: no such module or file, or its import fails.
        UnknownNameError: the module has no such attribute.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise ConfigError(f"{spec!r}: expected module:attribute or file.py:attribute, e.g. my_teacher:graph")
    module = _file(Path(where)) if is_file(where) else _module(where)
    if not hasattr(module, name):
        raise UnknownNameError(f"attribute of {where}", name, [n for n in vars(module) if not n.startswith("_")])
    return getattr(module, name)


def import_once(where: str) -> None:
    """Run a module or a file once per process, so that it can register its parts.

    Raises:
        ConfigError: as for `load_object`.
    """
    _imported(str(Path(where).resolve()) if is_file(where) else where)


def is_file(where: str) -> bool:
    """Tell whether the text names a file, not a module."""
    return where.endswith(".py")


@cache
def _imported(where: str) -> Any:
    return _file(Path(where)) if is_file(where) else _module(where)


def _module(name: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.split(".")[0] == error.name.split(".")[0]:
            raise ConfigError(f"there is no module {name!r} here ({Path.cwd()}) or installed") from error
        raise ConfigError(f"{name} cannot be imported: {error}") from error
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _file(path: Path) -> Any:
    """Run a file, once for each content that it has in this process. It may import what lies beside it."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    path = path.resolve()
    return _run(path, hashlib.sha256(path.read_bytes()).hexdigest())


@cache
def _run(path: Path, content: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{OWN}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import does; dataclasses and type hints look it up
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that it hides no installed package
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # as above
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}," if lines else ""
        raise ConfigError(f"{path}{where} cannot be imported: {type(error).__name__}: {error}") from error
    return module
