"""Encoders measured by jobs on the built-in suite: what seeing adds is found, by equal means, again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression_gap.config import from_json, to_json
from compression_gap.encoders.base import EncoderSpec
from compression_gap.encoders.blind import Blind
from compression_gap.encoders.channel import Channel
from compression_gap.encoders.convnet import ConvNet
from compression_gap.encoders.state import State
from compression_gap.encoders.supervised import Supervised
from compression_gap.measures.encoder_probe import Probing
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.job import with_needs
from compression_gap.pipeline.jobs import (
    SUMMARY,
    ActionDenoisers,
    Demonstrations,
    Drawings,
    EncoderQuality,
    Features,
    TrainedEncoder,
)
from compression_gap.pipeline.jobs.data import read_demos
from compression_gap.pipeline.worker import run_here
from compression_gap.store import Store
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.training import Training

PROBING = Probing(steps=30, batch=64, seeds=(0, 1), width=32)
DEMOS = tuple(Demonstrations(Tabletop(image_size=16), task, 0, 21) for task in range(3))
ACTIONS = ActionDenoisers(DEMOS, horizon=4, stride=8, probing=PROBING)
BLIND = EncoderQuality(Blind(), None, (), ACTIONS)


def quality(encoder: EncoderSpec, **settings: Any) -> EncoderQuality:
    return EncoderQuality(encoder, None, (), ACTIONS, **{"baseline": BLIND, **settings})


def finish(store: Store, job: EncoderQuality) -> dict[str, Any]:
    """The summary of a job, after everything that it needs."""
    for one in with_needs([job]):
        if not store.has(one):
            run_here(one, store, "cpu", lambda fraction, text: None)
    return json.loads((store.folder(job) / SUMMARY).read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_the_state_tells_more_than_a_noisy_look_and_that_more_than_nothing(store: Store):
    told = {name: finish(store, quality(Channel(sigma=s))) for name, s in (("good", 1.0), ("poor", 40.0))}
    state, shuffled = finish(store, quality(State())), finish(store, quality(State(), shuffled=True))
    assert finish(store, BLIND)["beyond"] is None
    for one in (state, told["good"]):
        assert one["linear_bits"] > told["poor"]["linear_bits"] > shuffled["linear_bits"]
    for name in ("mm", "degrees"):
        errors = [one["pose"]["task"][name]["value"] for one in (state, told["good"], told["poor"], shuffled)]
        assert errors == sorted(errors)
    assert state["pose"]["task"]["mm"]["value"] < 0.1
    assert abs(shuffled["beyond"]["value"]) < 0.3
    assert state["beyond"]["value"] >= shuffled["beyond"]["value"]
    assert state["sigma"] == PROBING.sigma
    assert state["left_out"] == ["roll (unused)", "pitch (unused)", "gripper (-1 opens, +1 closes)"]
    assert state["test_demonstrations"] == 9


def test_grippers_are_measured_and_the_rest_given_them(store: Store):
    probing = TokenProbing(steps=60, batch=64, learning_rate=1e-2, warmup=10, width=16, seeds=PROBING.seeds)
    actions = ActionDenoisers(DEMOS, horizon=4, stride=8, probing=PROBING, gripper=probing)
    blind = EncoderQuality(Blind(), None, (), actions)
    state = EncoderQuality(State(), None, (), actions, baseline=blind)
    assert from_json(to_json(state)) == state
    told = finish(store, state)
    assert told["left_out"] == ["roll (unused)", "pitch (unused)"]
    gripper, rest = (told["gripper"][name]["value"] for name in ("bits", "bits_of_the_rest"))
    assert told["bits"]["value"] == pytest.approx(gripper + rest)
    assert 0.5 < gripper < 4.0
    assert state.bits(store).whole.mean() == pytest.approx(told["bits"]["value"])
    finish(store, BLIND)
    with pytest.raises(ValueError, match="both with the grippers or without"):
        state.bits(store).beyond(BLIND.bits(store))
    with pytest.raises(ValueError, match=r"ActionDenoisers\.gripper: expected the seeds of the denoisers, \(0, 1\)"):
        actions.replace(gripper__seeds=(0,))


def test_equal_jobs_make_equal_files_also_after_a_kill(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("compression_gap.training.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    job, other = quality(Channel(sigma=1.0)), Store(tmp_path)
    finish(store, job)
    for need in with_needs([job])[:-1]:
        run_here(need, other, "cpu", lambda fraction, text: None)

    def killed(fraction: float, text: str) -> None:
        if fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(job, other, "cpu", killed)
    assert other.pieces(job)
    finish(other, job)
    names = sorted(path.name for path in store.folder(job).iterdir() if path.name != "provenance.json")
    assert names == ["bits.safetensors", "job.json", "summary.json"]
    for name in names:
        assert (other.folder(job) / name).read_bytes() == (store.folder(job) / name).read_bytes()


def test_what_reads_pictures_is_measured_by_its_stored_features(store: Store):
    encoder = Supervised(channels=(4, 8), keypoints=4, width=8, steps=3)
    drawings = tuple(Drawings(d, d.suite.cameras, history=2, stride=8) for d in DEMOS)
    more = tuple(Drawings(Demonstrations(d.suite, d.task, 21, 21), d.suite.cameras, 1, 8) for d in DEMOS)
    trained = TrainedEncoder(encoder, more, Training(3, batch=8))
    features = tuple(Features(encoder, trained, d) for d in drawings)
    blind = EncoderQuality(Blind(), None, (), ACTIONS, history=2)
    job = EncoderQuality(encoder, trained, features, ACTIONS, history=2, baseline=blind)
    assert from_json(to_json(job)) == job
    told = finish(store, job)
    assert told["width"] == 8
    assert np.isfinite(told["beyond"]["value"])
    assert 20 < told["pose"]["task"]["mm"]["value"] < 150


def test_what_cannot_be_measured_is_refused_in_one_sentence(store: Store):
    with pytest.raises(
        ValueError, match="encoder 'convnet' is trained along with a policy, so there is nothing to measure"
    ):
        quality(ConvNet())
    with pytest.raises(ValueError, match="encoder 'supervised' needs its features"):
        quality(Supervised())
    few = ActionDenoisers(DEMOS[:1], horizon=4, stride=8, probing=PROBING)
    with pytest.raises(ValueError, match="bits need at least 8 demonstrations to test on, got 3 of 21"):
        finish(store, EncoderQuality(State(), None, (), few))


def test_actions_that_never_change_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch):
    finish(store, BLIND)
    demos = read_demos(store, DEMOS)
    same = np.ones((len(ACTIONS.windows(demos, 1)), 4, 7), np.float32)
    monkeypatch.setattr("compression_gap.pipeline.jobs.action_denoisers.chunks_from", lambda *_: same)
    with pytest.raises(ValueError, match="no action value but grippers changes in the demonstrations"):
        ACTIONS.measured(demos, Tabletop(image_size=16).build(), history=1, device="cpu")
