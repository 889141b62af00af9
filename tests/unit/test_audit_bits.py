"""What an audit finds out about grippers, and what it is certain of, where the answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression_gap.data.trajectories import Chunking
from compression_gap.measures.contrastive import Contrast
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import SUMMARY, CertifiedBits, GripperBits
from compression_gap.pipeline.jobs.dataset import Dataset, Files, dataset_of_files, import_dataset
from compression_gap.store import Store
from recorded import run_here

DEMONSTRATIONS, STEPS = 140, 24
CHUNKING = Chunking(horizon=4, stride=4, most=10_000)
PROBING = TokenProbing(steps=150, batch=64, width=16, seeds=(0,), fractions=(0.5, 1.0))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def dataset(store: Store) -> Dataset:
    """Each chunk keeps its gripper as a coin says, and moves by a tenth of a normal number; the first feature tells the
    coin, the second one the number."""
    rng = np.random.default_rng(0)
    rows = (DEMONSTRATIONS, STEPS // 4, 1)
    coin, number = (np.repeat(some, 4, axis=1) for some in (rng.choice([-1.0, 1.0], rows), rng.normal(size=rows)))
    action = np.concatenate([0.1 * number, 0.1 * number + 0.02 * rng.normal(size=number.shape), coin], axis=2)
    path = store.root / "own.npz"
    ends = STEPS * np.arange(1, DEMONSTRATIONS + 1)
    features = np.concatenate([coin, number], axis=2).reshape(-1, 2).astype(np.float32)
    np.savez(path, action=action.reshape(-1, 3).astype(np.float32), episode_ends=ends, features=features)
    files = Files([path], ())
    job, read = dataset_of_files(files, "", lambda fraction, text: None)
    import_dataset(job, read, files, store, lambda fraction, text: None)
    return job


def told(job: Job, store: Store) -> dict[str, Any]:
    run_here([job], store)
    return json.loads((store.folder(job) / SUMMARY).read_text())


def test_a_gripper_that_a_coin_moves_holds_one_bit_which_only_who_sees_the_coin_is_told(dataset: Dataset, store: Store):
    found = told(GripperBits(dataset, CHUNKING, ("features", "shuffled"), PROBING), store)
    assert found["held"]["kind"] == "upper bound"
    assert found["held"]["value"] == pytest.approx(1.0, abs=0.1)
    assert found["arms"]["features"]["value"] == pytest.approx(1.0, abs=0.15)
    assert found["arms"]["shuffled"]["value"] == pytest.approx(0.0, abs=0.1)


def test_what_is_certain_is_less_than_what_is_there_and_nothing_of_other_chunks_features(
    dataset: Dataset, store: Store
):
    own, others = (
        told(CertifiedBits(dataset, CHUNKING, arm, 0.025, Contrast(steps=100)), store)
        for arm in ("features", "shuffled")
    )
    assert own["kind"] == others["kind"] == "lower bound"
    assert 0.5 < own["value"] < 6
    assert others["value"] == 0


def test_a_gripper_that_is_moved_continuously_is_measured_like_the_arm(store: Store, tmp_path: Path):
    path, rng = tmp_path / "own.npz", np.random.default_rng(1)
    action = rng.normal(size=(80 * 8, 2)).astype(np.float32)
    np.savez(path, action=action, episode_ends=8 * np.arange(1, 81), gripper=np.array([1]), features=action)
    files = Files([path], ())
    job, read = dataset_of_files(files, "", lambda fraction, text: None)
    import_dataset(job, read, files, store, lambda fraction, text: None)
    assert job.load(store).arm == (0, 1)
    assert job.load(store).notes[-1].endswith("is moved continuously, so it is measured like the other actions")


def test_what_somebody_else_has_read_in_the_meantime_is_not_read_again(store: Store, tmp_path: Path):
    path, action = tmp_path / "own.npz", np.random.default_rng(2).normal(size=(80 * 8, 2)).astype(np.float32)
    np.savez(path, action=action, episode_ends=8 * np.arange(1, 81))
    job, read = dataset_of_files(Files([path], ()), "", lambda fraction, text: None)
    import_dataset(job, read, Files([path], ()), store, lambda fraction, text: None)
    import_dataset(job, pytest.fail, Files([path], ()), store, lambda fraction, text: None)
    np.testing.assert_array_equal(job.load(store).action, action)
