"""What LIBERO ships about its tasks: names, files and fixed initial states. Light to import: no simulator."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

NUM_TASKS = {"libero_spatial": 10, "libero_object": 10, "libero_goal": 10, "libero_10": 10, "libero_90": 90}
SUITES = tuple(NUM_TASKS)
MAX_STEPS = {"libero_spatial": 280, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}


@dataclass(frozen=True)
class Task:
    """One task of a LIBERO suite."""

    suite: str
    index: int
    """Its number in LIBERO's order."""
    instruction: str
    bddl_file: Path
    objects_of_interest: tuple[str, ...]
    """The things that the goal speaks of, as its BDDL file names them."""

    def initial_states(self) -> Float[np.ndarray, "50 numbers"]:
        """LIBERO's fixed initial states: time, positions and velocities. They do not contain the poses of fixtures."""
        return np.asarray(_benchmark(self.suite).get_task_init_states(self.index), dtype=np.float64)


def load_tasks(suite: str) -> tuple[Task, ...]:
    """All tasks of a suite in LIBERO's order.

    Raises ImportError naming the extra to install if LIBERO is not there.
    """
    benchmark = _benchmark(suite)
    tasks = []
    for index in range(benchmark.n_tasks):
        bddl_file = Path(benchmark.get_task_bddl_file_path(index))
        found = re.search(r"\(:obj_of_interest([^)]*)\)", bddl_file.read_text())
        objects = tuple(found.group(1).split()) if found else ()
        tasks.append(Task(suite, index, benchmark.get_task(index).language, bddl_file, objects))
    return tuple(tasks)


@cache
def _benchmark(suite: str) -> Any:
    try:
        from libero.libero import benchmark
    except ModuleNotFoundError as error:
        raise ImportError(
            f"suites/libero needs {error.name!r}, which is not installed: pip install 'compression-gap[libero]'"
        ) from error
    with redirect_stdout(StringIO()):  # it prints the order of its tasks
        return benchmark.get_benchmark_dict()[suite]()
