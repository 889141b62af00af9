"""LIBERO's demonstrations as the study makes them, from the job to the drawn pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compression_gap.data.collect import replays
from compression_gap.data.demos import Demos
from compression_gap.pipeline.jobs import Demonstrations, Drawings
from compression_gap.pipeline.worker import run_here
from compression_gap.store import Store
from compression_gap.studies.libero_smoke import grid


def quiet(fraction: float, text: str) -> None: ...


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Drawings]:
    """Two of the study's demonstrations, drawn."""
    store, cell = Store(tmp_path_factory.mktemp("store")), grid().base
    job = Demonstrations(cell.suite, 0, first=33, attempts=2)
    drawings = Drawings(job, cell.suite.cameras, cell.history, stride=60)
    for one in (job, drawings):
        run_here(one, store, "cpu", quiet)
    return store, drawings


def test_replaying_the_executed_actions_of_every_demonstration_succeeds(made: tuple[Store, Drawings]) -> None:
    store, drawings = made
    job = drawings.demonstrations
    demos, suite = Demos.load(store.folder(job)), job.suite.build()
    assert demos.episodes["index"].to_list() == [33, 34]
    assert replays(suite, 0, "demonstrations", demos, quiet).all()
    idle = replace(demos, executed=np.zeros_like(demos.executed))
    assert not replays(suite, 0, "demonstrations", idle, quiet).any()


def test_pictures_are_drawn_of_the_frames_that_windows_look_at(made: tuple[Store, Drawings]) -> None:
    store, drawings = made
    demos = Demos.load(store.folder(drawings.demonstrations))
    frames = np.load(store.folder(drawings) / "frames.npy")
    starts, lengths = demos.episodes["start"].to_list(), demos.episodes["length"].to_list()
    assert frames.tolist() == [f for s, n in zip(starts, lengths, strict=True) for f in range(s, s + n, 60)]
    for camera in drawings.cameras:
        pictures = np.load(store.folder(drawings) / f"{camera}.npy")
        assert pictures.shape == (len(frames), 64, 64, 3)
        assert (pictures.reshape(len(frames), -1).std(axis=1) > 20).all()  # none is black
        assert len(np.unique(pictures, axis=0)) == len(frames)
