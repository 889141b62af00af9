"""Stored features: killed, resumed or written by two at once, they are the same files, from which training reads."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from compression_gap.agent import AgentSpec
from compression_gap.data.features import to_tensor
from compression_gap.data.windows import Windows, window_frames
from compression_gap.encoders.base import Encoder, EncoderSpec
from compression_gap.encoders.convnet import ConvNet
from compression_gap.pipeline.jobs import Demonstrations, Drawings, Features, TrainedAgent
from compression_gap.pipeline.jobs.data import ENCODING_BATCH, PIECES, read_demos, read_frames
from compression_gap.pipeline.jobs.dataset import SuiteDataset
from compression_gap.pipeline.run import divide
from compression_gap.pipeline.worker import run_here
from compression_gap.policies.diffusion import Diffusion
from compression_gap.store import Store, StoreError
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.training import Training

SMALL = Tabletop(image_size=16, batch=10)
LENS = 8  # pixels


@dataclass(frozen=True)
class Lens(EncoderSpec, kind="test_lens"):
    """The mean colour of some of the picture: in the middle, or anywhere. Every look is noted in a file."""

    crops: int = 1
    stored: Literal["float32", "bfloat16"] = "float32"
    notes: str = "/dev/null"

    def build(self, legend):
        return LensEncoder(legend.cameras, self.notes)


class LensEncoder(Encoder):
    """See `Lens`."""

    width, trained = 3, False

    def __init__(self, cameras: tuple[str, ...], notes: str) -> None:
        super().__init__()
        self.reads, self.vectors, self.notes = cameras, len(cameras), notes

    def encode(self, frames):
        return self.look(frames, 0)

    def look(self, frames, crop):
        with Path(self.notes).open("a") as notes:
            notes.write(f"crop {crop} of {len(frames[self.reads[0]])} frames\n")
        return torch.stack([self.colours(frames[camera], crop) for camera in self.reads], dim=1)

    def colours(self, pictures: Tensor, crop: int) -> Tensor:
        spare = pictures.shape[1] - LENS
        corners = torch.randint(spare + 1, (len(pictures), 2)) if crop else torch.full((len(pictures), 2), spare // 2)
        crops = [one[y : y + LENS, x : x + LENS] for one, (y, x) in zip(pictures, corners.tolist(), strict=True)]
        return torch.stack(crops).float().mean((1, 2))


def quiet(fraction: float, text: str) -> None: ...


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Drawings, ...]]:
    """A store with the pictures of ten demonstrations of two tasks each."""
    store = Store(tmp_path_factory.mktemp("drawn") / "store")
    demonstrations = [Demonstrations(SMALL.alone(task)[0], SMALL.alone(task)[1], 0, 10) for task in range(2)]
    drawings = tuple(Drawings(job, SMALL.cameras, history=2, stride=1) for job in demonstrations)
    for job in (*demonstrations, *drawings):
        run_here(job, store, "cpu", quiet)
    return store.root, drawings


@pytest.fixture
def store(drawn: tuple[Path, tuple[Drawings, ...]], tmp_path: Path) -> Store:
    """One of one's own, with those pictures."""
    shutil.copytree(drawn[0], tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def drawings(drawn: tuple[Path, tuple[Drawings, ...]]) -> tuple[Drawings, ...]:
    return drawn[1]


def test_demonstrations_of_some_tasks_keep_the_suites_own_numbers(store: Store, drawings: tuple[Drawings, ...]):
    second = [drawings[1].demonstrations]
    assert set(read_demos(store, second).episodes["task"]) == {1}
    run_here(job := SuiteDataset(tuple(second)), store, "cpu", quiet)
    found = job.load(store)
    assert (found.tasks, set(found.task)) == (SMALL.build().tasks[1:2], {0})


def made(job: Features, store: Store) -> np.ndarray:
    run_here(job, store, "cpu", quiet)
    return job.load(store)


def whole_file(store: Store, job: Features) -> bytes:
    return (store.folder(job) / "features.npy").read_bytes()


def pictures(store: Store, drawings: Drawings) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.load(store.folder(drawings) / f"{name}.npy")) for name in drawings.cameras}


def test_features_of_one_crop_are_the_array_that_they_were_before_there_were_more(store: Store, drawings):
    job = Features(Lens(), None, drawings[0])
    made(job, store)
    stored = np.load(store.folder(job) / "features.npy")
    expected = Lens().build(SMALL.build().legend).encode(pictures(store, drawings[0]))
    assert (stored.dtype, stored.shape) == (np.float32, (len(expected), 2, 3))
    torch.testing.assert_close(torch.from_numpy(stored), expected)
    assert {path.name for path in store.folder(job).iterdir()} == {"features.npy", "job.json", "provenance.json"}


def test_crops_are_drawn_anew_for_every_crop_and_picture_and_alike_every_time(store: Store, drawings, tmp_path: Path):
    job = Features(Lens(crops=3), None, drawings[0])
    stored = made(job, store)
    one = made(Features(Lens(), None, drawings[0]), store)
    np.testing.assert_array_equal(stored[0], one[0])
    everywhere = [one.unfold(0, LENS, 1).unfold(1, LENS, 1).float().mean((3, 4)) for one in one_camera(store, drawings)]
    places = [[place_of(crop[row], everywhere[row]) for row in range(len(everywhere))] for crop in stored[1:, :, 0]]
    assert all(len(set(of_crop)) > 20 for of_crop in places)  # of 81
    assert sum(a == b for a, b in zip(*places, strict=True)) < len(places[0]) / 4
    first, second = places[0][:ENCODING_BATCH], places[0][ENCODING_BATCH:]
    assert first[: len(second)] != second
    torch.manual_seed(7)
    again = Store(tmp_path / "again")
    shutil.copytree(store.root, again.root, ignore=shutil.ignore_patterns("features"))
    made(job, again)
    assert whole_file(again, job) == whole_file(store, job)


def one_camera(store: Store, drawings: tuple[Drawings, ...]) -> Tensor:
    return pictures(store, drawings[0])[SMALL.cameras[0]]


def place_of(colour: np.ndarray, everywhere: Tensor) -> int:
    """Where a crop may lie that has this mean colour; pictures with large even areas leave a choice."""
    distance = (everywhere - torch.from_numpy(np.array(colour))).abs().amax(2).flatten()
    assert distance.min() < 1e-3
    return int(distance.argmin())


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.mark.parametrize("looks", [0, 1, 2, 4, 5])
def test_features_go_on_with_the_batch_in_which_they_were_killed(looks: int, store: Store, drawings, tmp_path: Path):
    spec = Lens(crops=3, notes=str(tmp_path / "notes"))
    job = Features(spec, None, drawings[0])
    undisturbed = made(Features(replace(spec, notes="/dev/null"), None, drawings[0]), store)
    look, count = LensEncoder.look, 0

    def counting(self, frames, crop):
        nonlocal count
        if count == looks:
            raise Killed
        count += 1
        return look(self, frames, crop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LensEncoder, "look", counting)
        with pytest.raises(Killed):
            run_here(job, store, "cpu", quiet)
    assert not store.has(job)
    assert len([name for name in store.pieces(job) if name.startswith(PIECES + "/")]) == looks
    np.testing.assert_array_equal(made(job, store), undisturbed)
    every_batch_once = [f"crop {crop} of {rows} frames" for crop in range(3) for rows in batches(undisturbed.shape[1])]
    assert (tmp_path / "notes").read_text().splitlines() == every_batch_once


def batches(frames: int) -> list[int]:
    assert ENCODING_BATCH < frames < 2 * ENCODING_BATCH, "the tests are about two batches"
    return [ENCODING_BATCH, frames - ENCODING_BATCH]


def test_of_two_writers_of_features_one_works_and_the_other_waits_for_it(store: Store, drawings, tmp_path: Path):
    job = Features(Lens(crops=2, notes=str(tmp_path / "notes")), None, drawings[0])
    together = threading.Barrier(2)

    def write() -> None:
        together.wait()
        run_here(job, store, "cpu", quiet)

    with ThreadPoolExecutor() as pool:
        for writer in [pool.submit(write) for _ in range(2)]:
            writer.result()
    assert len((tmp_path / "notes").read_text().splitlines()) == 4  # two crops of two batches
    alone = Features(Lens(crops=2), None, drawings[0])
    made(alone, store)
    assert whole_file(store, job) == whole_file(store, alone)


def test_a_half_written_file_of_features_is_named_with_the_cure(store: Store, drawings):
    job = Features(Lens(), None, drawings[0])
    made(job, store)
    path = store.folder(job) / "features.npy"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises(StoreError) as caught:
        divide([job], store)
    assert f"features.npy had {size} bytes when it was finished and has {size // 2} now" in str(caught.value)
    assert f"move it away or delete it, then run again: {store.folder(job)}" in str(caught.value)


def test_bfloat16_takes_half_the_space_and_is_the_nearest_to_float32(store: Store, drawings):
    jobs = [Features(Lens(crops=2, stored=how), None, drawings[0]) for how in ("float32", "bfloat16")]
    wide, narrow = (made(job, store) for job in jobs)
    assert (narrow.dtype, narrow.shape, 2 * narrow.nbytes) == (np.uint16, wide.shape, wide.nbytes)
    assert torch.equal(to_tensor(np.array(narrow)), torch.from_numpy(np.array(wide)).bfloat16())
    assert jobs[1].cost().disk_mb == jobs[0].cost().disk_mb / 2


def test_features_tell_how_far_they_are(store: Store, drawings):
    told: list[tuple[float, str]] = []
    job = Features(Lens(crops=2), None, drawings[0])
    run_here(job, store, "cpu", lambda fraction, text: told.append((fraction, text)))
    frames = job.load(store).shape[1]
    done = [0, ENCODING_BATCH, frames, frames + ENCODING_BATCH]
    assert told[1:] == [(n / (2 * frames), f"{n} of {2 * frames} looks") for n in done]


class Seen(Exception):
    """What would have been trained on."""


def given_to_training(job: TrainedAgent, store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    """The agent, the function that makes batches, and the held-out batches."""

    def train(agent, batch_at, held_out, training, **_):
        raise Seen(agent, batch_at, held_out)

    monkeypatch.setattr("compression_gap.pipeline.jobs.agent.train", train)
    for need in job.needs:
        run_here(need, store, "cpu", quiet)
    with pytest.raises(Seen) as caught:
        run_here(job, store, "cpu", quiet)
    return caught.value.args  # type: ignore[return-value]


def agent_job(encoder: EncoderSpec, drawings: tuple[Drawings, ...], seed: int = 0) -> TrainedAgent:
    features = () if encoder.trained else tuple(Features(encoder, None, job) for job in drawings)
    return TrainedAgent(
        agent=AgentSpec(encoder, Diffusion(width=16, layers=1, heads=2), None, horizon=8),
        demonstrations=tuple(job.demonstrations for job in drawings),
        drawings=drawings if encoder.trained else (),
        features=features,
        encoder=None,
        tokenizer=None,
        training=Training(4, batch=32),
        stride=1,
        seed=seed,
    )


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_training_sees_stored_crops_and_what_is_held_out_the_central_one(
    stored: Literal["float32", "bfloat16"], store: Store, drawings, monkeypatch: pytest.MonkeyPatch
):
    job = agent_job(Lens(crops=3, stored=stored), drawings)
    agent, batch_at, held_out = given_to_training(job, store, monkeypatch)
    whole = np.concatenate([to_tensor(np.array(part.load(store))).float() for part in job.features], axis=1)
    demos = read_demos(store, job.demonstrations)
    frames = {tuple(stamp): row for row, stamp in enumerate(demos.stamp.tolist())}  # every frame is drawn

    def crop_of(batch) -> list[int]:
        rows = np.array([[frames[tuple(s[:2])] for s in window] for window in batch.observation["stamp"].tolist()])
        shown = batch.observation["features"].float().numpy()
        same = (whole[:, rows] == shown).all(axis=(2, 3, 4))  # [crops, B]
        assert same.any(axis=0).all()
        return same.argmax(axis=0).tolist()

    assert set(crop_of(batch_at(0))) == {0, 1, 2}
    assert all(set(crop_of(batch)) == {0} for batch in held_out)
    assert batch_at(0).observation["features"].dtype == (torch.bfloat16 if stored == "bfloat16" else torch.float32)
    central = whole[0, window_frames(demos, demos.rows(held_out=False), 2, 1)].reshape(-1, 3)
    np.testing.assert_allclose(agent.standardise_features.mean, central.mean(0), rtol=1e-4)


@pytest.mark.parametrize("encoder", [Lens(crops=2), ConvNet()])
def test_training_maps_what_is_stored_and_loads_only_the_rows_of_a_batch(
    encoder: EncoderSpec, store: Store, drawings, monkeypatch: pytest.MonkeyPatch
):
    windows: list[Windows] = []

    def noted(*args, **kwargs) -> Windows:
        windows.append(Windows(*args, **kwargs))
        return windows[-1]

    monkeypatch.setattr("compression_gap.pipeline.jobs.agent.Windows", noted)
    job = agent_job(encoder, drawings)
    _, batch_at, _ = given_to_training(job, store, monkeypatch)
    rows = list(windows[0].frames.values())
    parts = [part for array in rows for part in array.parts]
    assert len(parts) == (2 * 2 if job.features else len(SMALL.cameras) * 2)
    assert all(isinstance(part, np.memmap) and part.flags["OWNDATA"] is False for part in parts)
    assert all(part.mode == "r" for part in parts)
    assert not any(isinstance(array, np.ndarray) for array in rows)
    if job.drawings:
        camera, chosen = SMALL.cameras[0], np.arange(0, len(windows[0]), 7)
        whole = np.concatenate([np.load(store.folder(part) / f"{camera}.npy") for part in drawings])
        shown = windows[0].at(chosen).observation[camera].numpy()
        np.testing.assert_array_equal(shown, whole[windows[0].seen[chosen]])  # every frame is drawn
        assert batch_at(0).observation[camera].shape == (32, 2, 16, 16, 3)


def test_an_encoder_that_is_pretrained_maps_its_pictures_too(store: Store, drawings):
    frames = read_frames(store, drawings, held_out=False)
    demos = read_demos(store, [job.demonstrations for job in drawings])
    of_episode = np.repeat(np.arange(demos.episodes.height), demos.episodes["length"].to_numpy())
    number = np.flatnonzero(np.isin(of_episode, demos.rows(held_out=False)))
    for camera in SMALL.cameras:
        assert all(isinstance(part, np.memmap) for part in frames[camera].parts)
        whole = np.concatenate([np.load(store.folder(job) / f"{camera}.npy") for job in drawings])
        np.testing.assert_array_equal(frames[camera][np.arange(len(number))], whole[number])
    np.testing.assert_array_equal(frames["state"], demos.state[number])


def test_memory_does_not_grow_with_what_is_mapped(drawings):
    for encoder in (Lens(), ConvNet()):
        more = tuple(job.replace(demonstrations__attempts=1000) for job in drawings)
        few, many = (agent_job(encoder, jobs).cost().memory_mb for jobs in (drawings, more))
        assert few == many
