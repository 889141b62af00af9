"""Demonstrations made of numbers, put into a store as if a simulator had made them; and jobs run in this process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from compression_gap.data.demos import Demos
from compression_gap.pipeline.job import Context, Job
from compression_gap.pipeline.jobs import Demonstrations
from compression_gap.pipeline.plan import demonstrations
from compression_gap.pipeline.run import Outcome, divide
from compression_gap.store import Store
from compression_gap.suites.tabletop.suite import Tabletop

STATE, FELT, LENGTH = 17, 5, 12


def record(store: Store, episodes: int, actions: np.ndarray, state: np.ndarray) -> tuple[Demonstrations, ...]:
    """Episodes of 12 steps with these actions [N, 7]; the rest of the frames is zero."""
    (job,) = demonstrations(Tabletop(), [0], 0, episodes)
    frames = episodes * LENGTH
    start = np.arange(episodes) * LENGTH
    rows = {"task": np.zeros(episodes, int), "index": np.arange(episodes), "start": start, "length": start * 0 + LENGTH}
    arrays = {
        "proprioception": np.zeros((frames, FELT)),
        "scene": np.zeros((frames, 2)),
        "stamp": np.zeros((frames, 2)),
    }
    arrays |= {"state": state, "label": actions, "executed": actions}
    typed = {name: array.astype(Demos.dtype(name)) for name, array in arrays.items()}
    demos = Demos(episodes=pl.DataFrame(rows).with_columns(initial_state=pl.lit("")), **typed)
    demos.save(store.partial(job))
    store.finish(job, {})
    return (job,)


def run_here(jobs: Sequence[Job], store: Store) -> Outcome:
    """Finishes the jobs one after the other, in this process; a failure blocks what needs it."""
    outcome = Outcome()
    outcome.reused, missing = divide(list(jobs), store)
    lost: set[str] = set()
    for job in missing:
        if any(need.digest in lost for need in job.needs):
            outcome.blocked.append(job)
            lost.add(job.digest)
            continue
        try:
            job.run(Context(store, store.partial(job), lambda fraction, text: None, "cpu"))
        except Exception as error:
            outcome.failed[job] = f"{type(error).__name__}: {error}"
            lost.add(job.digest)
            continue
        store.finish(job, {"seconds": 0.0})
        outcome.done.append(job)
    return outcome
