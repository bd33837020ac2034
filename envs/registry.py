"""What goes by a name: tasks, domains, students, policies and checks, ours and those of other packages.

A registry fills itself at its first use: with what stands in this package, then with the entry points of installed
packages (group `dataenvgym.tasks` and the like). An entry point names the thing itself, or a module that registers
it when it is imported. A file named in a config's `imports` registers in the same way.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

from dataenvgym.envs.errors import ConfigError, UnknownNameError

T = TypeVar("T")


class Registry(MutableMapping[str, T], Generic[T]):
    """Things of one kind by name, in the order they were registered.

    `kind`: what an error calls them. `group`: the entry points that bring more. `fill`: registers ours.
    """

    def __init__(self, kind: str, group: str, fill: Callable[[], None] | None = None) -> None:
        self.kind, self.group = kind, group
        self._fill, self._filled = fill, False
        self._things: dict[str, T] = {}
        self._sources: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that registers what it decorates."""

        def add(thing: T) -> T:
            self[name] = thing
            return thing

        return add

    def find(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UnknownNameError: there is none; the text names the nearest.
        """
        if name not in self:
            raise UnknownNameError(self.kind, name, self)
        return self[name]

    def __getitem__(self, name: str) -> T:  # noqa: D105 (these five are the mapping's)
        if name not in self._things:
            self._complete()
        return self._things[name]

    def __setitem__(self, name: str, thing: T) -> None:  # noqa: D105
        source, before = _source.get(), self._sources.get(name, "")
        if source and before and before != source:
            raise ConfigError(
                f"two packages register the {self.kind} {name!r}: {before} and {source}. Uninstall one of them."
            )
        if source:
            self._sources[name] = source
        self._things[name] = thing

    def __delitem__(self, name: str) -> None:  # noqa: D105
        del self._things[name]

    def __iter__(self) -> Iterator[str]:  # noqa: D105
        self._complete()
        return iter(self._things)

    def __len__(self) -> int:  # noqa: D105
        self._complete()
        return len(self._things)

    def _complete(self) -> None:
        if self._filled:
            return
        self._filled = True  # first, since loading may ask for names
        mine, self._things = self._things, {}  # what a user has registered already comes last and wins
        if self._fill:
            with _loading("dataenvgym"):
                self._fill()
        for point in importlib.metadata.entry_points(group=self.group):
            package = point.dist.name if point.dist else point.value
            try:
                with _loading(package):
                    thing = point.load()
                    if point.name not in self._things and _is_registrable(thing):
                        self[point.name] = thing
            except ConfigError:
                self._filled = False
                raise
            except Exception as error:  # another package's fault must not break ours
                warnings.warn(
                    f"the {self.kind} {point.name!r} of the package {package} cannot be loaded "
                    f"({type(error).__name__}: {error}); it is left out",
                    stacklevel=4,
                )
        self._things |= mine


_source: ContextVar[str] = ContextVar("source", default="")
"""The package whose things are being registered, in whatever registry."""


@contextmanager
def _loading(package: str) -> Iterator[None]:
    token = _source.set(package)
    try:
        yield
    finally:
        _source.reset(token)


def _is_registrable(thing: object) -> bool:
    """Whether an entry point is the thing itself: a spec (a dataclass of ours), not a module."""
    return hasattr(thing, "__dataclass_fields__")
