"""The domains, one folder each. Its `domain.py` and the modules of its `tasks/` are found, not listed."""

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def find_all() -> None:
    """Register what the folders here hold."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if module.ispkg:
            find_in(import_module(module.name))


def find_in(package: ModuleType) -> None:
    """Register the domain of a package and its tasks, by importing the modules that do so.

    A domain of another package is registered by a line `find_in(sys.modules[__name__])` in its `__init__.py`.
    """
    import_module(f"{package.__name__}.domain")
    if find_spec(f"{package.__name__}.tasks") is None:
        return
    tasks = import_module(f"{package.__name__}.tasks")
    for module in pkgutil.iter_modules(tasks.__path__, f"{tasks.__name__}."):
        import_module(module.name)
