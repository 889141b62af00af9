"""Studies by name: one module a claim, each with a function `grid()`, or a file of your own that has one."""

from __future__ import annotations

import pkgutil
import sys
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

    Raises ValueError with the closest name for an unknown study, or if the module has no `grid()` that returns a Grid.
    """
    module = module_of(name)
    grid = module.grid() if hasattr(module, "grid") else None
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
    spec.loader.exec_module(module)
    return module
