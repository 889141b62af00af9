"""Studies by name: one module a claim, each with a function `grid()`, or a file of your own that has one."""

from __future__ import annotations

import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from compression_gap.config import closest
from compression_gap.pipeline.cell import Grid


def names() -> list[str]:
    """The studies that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Grid:
    """The grid of a study, by its name or by the path of a file that ends in ".py".

    Raises ValueError with the closest name for an unknown study, with the line of a file of your own that fails, or if
    the module has no `grid()` that returns a Grid.
    """
    module = module_of(name)
    if not hasattr(module, "grid"):
        there = [own for own, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise ValueError(f"study {name!r}: expected a function grid() that returns a Grid; {closest('grid', there)}")
    with _own(name):
        grid = module.grid()
    if not isinstance(grid, Grid):
        raise ValueError(f"study {name!r}: expected a function grid() that returns a Grid, got {grid!r}")
    return grid


def module_of(name: str) -> ModuleType:
    """The module of a study, whose docstring says what it costs and what to expect."""
    if name.endswith(".py"):
        return _load(Path(name).resolve())
    if name not in names():
        raise ValueError(f"there is no study {name!r} (a file of your own ends in .py); {closest(name, names())}")
    return import_module(f"{__name__}.{name}")


def _load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise ValueError(f"there is no study file {path}")
    module = module_from_spec(spec)
    sys.path.append(str(path.parent))  # the jobs' processes import parts defined in the file by the file's name
    sys.modules[path.stem] = module
    with _own(str(path)):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _own(name: str) -> Iterator[None]:
    """Tells in which line a file of somebody's own fails, whatever it raises."""
    try:
        yield
    except Exception as error:
        path = Path(name).resolve()
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
        named, what = "" if type(error) is ValueError else f"{type(error).__name__}: ", str(error)
        if isinstance(error, SyntaxError) and error.filename == str(path):  # not of a file that it imports
            lines, what = [error.lineno], error.msg
        if not lines:
            raise
        raise ValueError(f"study {name}, line {lines[-1]}: {named}{what}") from error
