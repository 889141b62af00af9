"""How success falls with distortion on a suite that can be simulated: the expert's own chunks, replayed with noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from compression_gap.commands.tolerance_rows import SHARES
from compression_gap.data.trajectories import Chunking
from compression_gap.pipeline.jobs import EPISODES, ChunkNoise, NoisyReplay
from compression_gap.pipeline.jobs.data import suite_of
from compression_gap.pipeline.jobs.dataset import Dataset, SuiteDataset
from compression_gap.rollout import Rollouts
from compression_gap.store import Store
from compression_gap.verdict.success_curve import FEWEST, SuccessCurve

PROTOCOL = "development"
"""Initial states that no study is judged on."""


def noisy_replays(dataset: Dataset, chunking: Chunking, episodes: int) -> tuple[NoisyReplay, ...]:
    """Replays with more and more white noise, of so many episodes a task; none for files, which cannot be simulated,
    and for suites without initial states for development."""
    if not isinstance(dataset, SuiteDataset) or not episodes:
        return ()
    spec = suite_of(dataset.demonstrations)
    if PROTOCOL not in spec.build().legend.protocols:
        return ()
    noise = ChunkNoise(dataset.demonstrations, chunking.horizon, chunking.stride, None)
    rollouts = Rollouts(PROTOCOL, episodes, min(Rollouts.execute, chunking.horizon))
    return tuple(NoisyReplay(spec, noise, share, rollouts) for share in SHARES)


def curve_of(jobs: Sequence[NoisyReplay], variance: float, store: Store) -> SuccessCurve | None:
    """Success against the mean squared error of a scaled action value, whose variance is given; None without replays
    enough."""
    distortion, success = [], []
    for job in jobs:
        if store.has(job):
            found = pl.read_parquet(store.folder(job) / EPISODES)["success"].to_numpy().astype(float)
            distortion.append(np.full(len(found), job.share * variance))
            success.append(found)
    if sum(map(len, success)) < FEWEST:
        return None
    return SuccessCurve.fit(np.concatenate(distortion), np.concatenate(success))
