"""LIBERO's HDF5 files, from a raw simulator to a policy that learns from them, and from our demonstrations back.

The raw file is written with h5py alone from LIBERO's own environment, whose fingers are painted, so that one can see in
the imported pictures whether they are upright, not mirrored, and of the moment that the numbers beside them speak of.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest

from compression_gap import config
from compression_gap.cli import main
from compression_gap.commands import encoders, recorded
from compression_gap.data.demos import Demos
from compression_gap.measures.encoder_probe import Probing
from compression_gap.pipeline.job import with_needs
from compression_gap.pipeline.jobs import RecordedDemonstrations, Recording
from compression_gap.pipeline.jobs.data import read_demos
from compression_gap.pipeline.plan import trained_agent
from compression_gap.pipeline.worker import run_here
from compression_gap.store import Store
from compression_gap.studies.libero_smoke import grid
from compression_gap.suites.libero.benchmark import load_tasks
from compression_gap.suites.libero.suite import Libero
from compression_gap.suites.libero.world import import_simulator

DEMOS, STEPS, SIZE = 10, 5, 128
CAMERAS = {"agentview": "agentview", "eye_in_hand": "robot0_eye_in_hand"}
MAGENTA = np.array([255, 0, 255])


def quiet(fraction: float, text: str) -> None: ...


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As LIBERO's script writes: states before and observations after the action of a row, pictures as they come."""
    import_simulator()  # first: robosuite chooses a GL of its own otherwise, for all tests that follow
    from libero.libero.envs import OffScreenRenderEnv

    task = load_tasks("libero_10")[2]
    path = tmp_path_factory.mktemp("raw") / f"{task.bddl_file.stem}_demo.hdf5"
    env = OffScreenRenderEnv(bddl_file_name=str(task.bddl_file), camera_heights=SIZE, camera_widths=SIZE)
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["bddl_file_name"] = f"somewhere/bddl_files/libero_10/{task.bddl_file.name}"
        for number in range(DEMOS):
            env.seed(number)
            env.reset()
            model = env.sim.model
            for geom in range(model.ngeom):
                if "finger" in (model.geom_id2name(geom) or "") or "finger" in model.body_id2name(
                    model.geom_bodyid[geom]
                ):
                    model.geom_matid[geom], model.geom_rgba[geom] = -1, (1, 0, 1, 1)
            env.set_init_state(task.initial_states()[number])
            actions = rng.uniform(-1, 1, (STEPS, 7))
            actions[:, :2] = np.sign(actions[0, :2])  # far, so that a step can be told from the next
            states, seen = [], []
            for action in actions:
                states.append(env.get_sim_state())
                seen.append(env.step(action)[0])
            demo = data.create_group(f"demo_{number}")
            demo["actions"], demo["states"] = actions, np.stack(states)
            parts = ("robot0_gripper_qpos", "robot0_eef_pos", "robot0_eef_quat")
            demo["robot_states"] = np.stack([np.concatenate([o[part] for part in parts]) for o in seen])
            demo["obs/agentview_rgb"] = np.stack([o["agentview_image"] for o in seen])
            demo["obs/eye_in_hand_rgb"] = np.stack([o["robot0_eye_in_hand_image"] for o in seen])
            demo.attrs["model_file"] = env.sim.model.get_xml()
    env.close()
    return path


@pytest.fixture(scope="module")
def imported(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("imported")
    assert main(["import", str(raw), "--store", str(root)]) == 0
    return Store(root)


def recording(store: Store) -> Path:
    (folder,) = (store.root / "recording").iterdir()
    return folder


def test_a_file_is_told_with_the_command_that_trains_on_it(
    raw: Path, imported: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(raw), "--store", str(imported.root), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["files"]
    assert told["task"] == "libero_10 task 2"
    assert told["demonstrations"] == DEMOS
    assert told["frames"] == DEMOS * (STEPS - 1)
    assert told["observed_after_acting"]
    assert f"--data.recordings \"('{recording_name(imported)}',)\"" in told["train"]
    assert told["train"].endswith(f" --store {imported.root}")


def recording_name(store: Store) -> str:
    return json.loads((recording(store) / "job.json").read_text())["content"]


def test_the_fingers_are_where_the_numbers_say_in_the_picture_of_the_same_moment(imported: Store) -> None:
    folder = recording(imported)
    demos, pictures = Demos.load(folder), np.load(folder / "agentview.npy")
    world = Libero().build().world(0)
    camera, checked = world._model.camera("agentview").id, 0
    for frame in range(len(pictures)):
        rows, columns = np.nonzero((np.abs(pictures[frame] - MAGENTA) < [110, 60, 110]).all(axis=2))
        if len(rows) < 5:
            continue  # hidden behind the hand
        world.load_scene(demos.scene[frame])
        place = demos.proprioception[frame, :3]
        seen = (place - world._data.cam_xpos[camera]) @ world._data.cam_xmat[camera].reshape(3, 3)
        focal = SIZE / 2 / np.tan(np.radians(world._model.cam_fovy[camera]) / 2)
        column, row = SIZE / 2 - focal * seen[0] / seen[2], SIZE / 2 + focal * seen[1] / seen[2]
        assert abs(np.median(rows) - row) < 5
        assert abs((columns.min() + columns.max()) / 2 - column) < 4  # between the two fingers
        assert abs(row - SIZE / 2) > 10  # so that a picture upside down would be noticed
        checked += 1
    assert checked > len(pictures) / 2


def test_every_frame_has_the_action_that_was_chosen_there(raw: Path, imported: Store) -> None:
    demos = Demos.load(recording(imported))
    with h5py.File(raw) as file:
        for number in range(DEMOS):
            demo = file[f"data/demo_{number}"]
            mine = demos.some(number, 1)
            np.testing.assert_array_equal(mine.label, demo["actions"][1:].astype(np.float32))
            np.testing.assert_array_equal(mine.executed, mine.label)
            np.testing.assert_allclose(mine.proprioception[:, :3], demo["robot_states"][:-1, 2:5], rtol=1e-6)
            nq = mine.scene.shape[1] - 7 * 3
            np.testing.assert_array_equal(mine.scene[:, :nq], demo["states"][1:, 1 : 1 + nq])
    assert (demos.proprioception[:, 3] >= 0).all()
    assert np.ptp(demos.scene[:, -21:-19], axis=0).min() > 1e-3  # every reset moves the stove


def test_the_state_is_the_simulators(imported: Store) -> None:
    demos = Demos.load(recording(imported))
    suite = Libero().build()
    suite.world(0).load_scene(demos.scene[7])
    pot = suite.world(0).privileged()["moka_pot_1.position"] * 1000.0
    thing = suite.things(0).index("moka_pot_1")
    np.testing.assert_allclose(demos.state[7, 10 * thing : 10 * thing + 3], pot, atol=1e-2)


def test_a_policy_learns_from_people(imported: Store) -> None:
    changes = {
        "data.recordings": f"('{recording_name(imported)}',)",
        "data.episodes": str(DEMOS),
        "data.stride": "1",
        "data.tokenizer_episodes": "0",
        "method.training.steps": "2",
        "method.training.batch": "4",
        "horizon": "4",
        "rollouts.execute": "4",
    }
    cell = config.override(grid().base, changes)
    for job in with_needs([trained_agent(cell)]):
        if not imported.has(job):
            run_here(job, imported, "cpu", quiet)
    agent = trained_agent(cell)
    assert imported.has(agent)
    assert read_demos(imported, agent.demonstrations).episodes.height == DEMOS
    drawn = np.load(imported.folder(agent.drawings[0]) / "agentview.npy")
    assert drawn.shape == (DEMOS * (STEPS - 1), 64, 64, 3)
    whole = np.load(recording(imported) / "agentview.npy")
    np.testing.assert_allclose(drawn.mean(axis=(1, 2)), whole.mean(axis=(1, 2)), atol=0.5)


def test_tokenizers_and_encoders_are_measured_on_what_people_did(
    raw: Path, imported: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    chunks = ("--horizon", "2", "--stride", "1", "--tokenizer", "binning")
    typed = ["tokenizers", str(raw), *chunks, "--store", str(imported.root), "--workers", "1"]
    assert main([*typed, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["name"], data["episodes"]) == ("libero_10-recordings", DEMOS)
    (row,) = data["tokenizers"]
    assert row["failed"] is None
    assert row["squared_error"] > 0
    assert f"cgap tokenizers {raw} --episodes {DEMOS} --horizon 2" in Path(data["report"]).read_text("utf-8")


def test_encoders_are_measured_on_what_people_did(raw: Path, imported: Store, tmp_path: Path) -> None:
    people = recorded([raw], 300, {"image_size": "32"}, imported.root)
    assert people.attempts == DEMOS
    probing = Probing(steps=4, batch=8, width=8, seeds=(0,), hastes=(0.0,))
    with pytest.raises(ValueError, match="bits need at least 8 demonstrations to test on, got 1 of 10"):
        encoders(people, ["random_conv"], imported.root, 1, "cpu", quiet=True, probing=probing)

    recording = repeated(people.recordings[0], 6, imported, Store(tmp_path))
    many = replace(people, recordings=(recording,), attempts=6 * DEMOS)
    found = encoders(many, ["random_conv"], tmp_path, 1, "cpu", quiet=True, probing=probing)
    assert not found.failed
    assert [row["name"] for row in found.data["encoders"]] == ["random_conv", "no pictures", "shuffled", "state"]
    with pytest.raises(ValueError, match="--encoder supervised: it is pretrained on further demonstrations, and files"):
        encoders(many, ["supervised"], tmp_path, 1, "cpu", quiet=True, probing=probing)


def repeated(recording: Recording, times: int, store: Store, into: Store) -> Recording:
    """A recording of the same demonstrations, several times, with grippers that open and close as people's do."""
    job, folder = recording.replace(content="several times"), store.folder(recording)
    demos = Demos.load(folder)
    frames = len(demos.label)
    shifted = [demos.episodes.with_columns(start=pl.col("start") + n * frames) for n in range(times)]
    arrays = ("proprioception", "state", "scene", "stamp", "label", "executed")
    rows = {name: np.concatenate([getattr(demos, name)] * times) for name in arrays}
    for name in ("label", "executed"):
        rows[name][:, -1] = np.sign(rows[name][:, -1])
    again = into.partial(job)
    Demos(episodes=pl.concat(shifted), **rows).save(again)
    for name in (*CAMERAS, "began"):
        np.save(again / f"{name}.npy", np.concatenate([np.load(folder / f"{name}.npy")] * times))
    into.finish(job, {})
    return job


def test_what_people_did_is_replayed_through_codes_from_where_they_began(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["libero_10", "--tasks", "2", "--episodes", "12", "--workers", "1", "--rendering", "fast", "--json"]
    small = ["--image_size", "16", "--render_size", "16"]
    assert main(["export", *made, *small, "--out", str(tmp_path), "--store", str(tmp_path / "own")]) == 0
    (told,) = json.loads(capsys.readouterr().out)["files"]
    code = ["--tokenizer", "binning:bins=101", "--horizon", "8", "--rollouts", "2"]
    where = ["--store", str(tmp_path / "store"), "--workers", "1", "--json"]
    assert main(["tolerance", told["file"], *code, *where]) == 0
    data = json.loads(capsys.readouterr().out)
    plain, coded = data["rows"]
    assert (plain["name"], data["curves"]) == ("as recorded", [])
    assert plain["closed_loop"] is coded["closed_loop"] is None
    assert plain["open_loop"]["value"] == 100.0
    assert coded["open_loop"]["value"] >= 50.0
    page = Path(data["report"]).read_text("utf-8")
    assert "What people did, chunk by chunk of 8 actions" in page
    assert "scripted expert" not in page


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["tabletop"], "expected the name of one suite, or LIBERO's .hdf5 files"),
        (["--tasks", "0"], "of files, give those that are meant"),
        (["again.hdf5"], "of the same task: leave one out"),
    ],
)
def test_files_that_do_not_go_together_are_refused(
    typed: list[str], message: str, raw: Path, imported: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if typed[0].endswith("hdf5"):
        again = tmp_path / raw.name
        again.write_bytes(raw.read_bytes())
        typed = [str(again)]
    assert main(["tokenizers", str(raw), *typed, "--store", str(imported.root)]) == 2
    assert message in capsys.readouterr().err


def test_asking_for_more_than_there_is_and_for_what_is_not_there_says_what_to_do(
    imported: Store, tmp_path: Path
) -> None:
    job = Recording("libero_10 task 2", recording_name(imported))
    too_many = RecordedDemonstrations(Libero(), 0, first=5, attempts=6, recording=job)
    with pytest.raises(ValueError, match="demonstrations 0 to 9, and 5 to 10 were asked for"):
        run_here(too_many, imported, "cpu", quiet)
    with pytest.raises(ValueError, match="cgap import FILE"):
        run_here(job, Store(tmp_path), "cpu", quiet)


def damaged(raw: Path, tmp_path: Path, place: str, change: np.ndarray) -> Path:
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        del file[place]
        file[place] = change
    return path


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("states", np.zeros((STEPS, 79)), "its states have 79 numbers, and this task's simulator 47"),
        ("robot_states", np.full((STEPS, 9), 0.5), "mm from where states puts it"),
    ],
)
def test_numbers_of_another_task_or_robot_are_noticed(
    key: str, change: np.ndarray, message: str, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged(raw, tmp_path, f"data/demo_1/{key}", change)
    assert main(["import", str(path), "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert f"{path}, data/demo_1: " in said
    assert message in said
    assert not (tmp_path / "store").exists()


def test_exported_demonstrations_are_imported_as_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file has LIBERO's conventions, checked with h5py; what is lost is the first frame of each demonstration."""
    words = [
        "libero_object",
        "--tasks",
        "0",
        "--episodes",
        "1",
        "--render_size",
        "64",
        "--store",
        str(tmp_path / "store"),
    ]
    assert main(["export", *words, "--out", str(tmp_path), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["files"]
    assert Path(told["file"]).name == "pick_up_the_alphabet_soup_and_place_it_in_the_basket_demo.hdf5"
    store = Store(tmp_path / "store")
    (folder,) = (store.root / "demonstrations").iterdir()
    ours = Demos.load(folder)
    with h5py.File(told["file"]) as file:
        demo = file["data/demo_0"]
        np.testing.assert_array_equal(demo["actions"][:].astype(np.float32), ours.executed)
        assert demo["rewards"][-1] == demo["dones"][-1] == 1
        assert demo["states"].shape[1] == len(demo.attrs["init_state"])
        assert file["data"].attrs["total"] == demo.attrs["num_samples"] == len(ours.label)
        top = demo["obs/agentview_rgb"][0][::-1]
    assert main(["import", told["file"], "--store", str(store.root)]) == 0
    again = Demos.load(recording(store))
    np.testing.assert_array_equal(again.label, ours.executed[1:])
    np.testing.assert_allclose(again.proprioception, ours.proprioception[1:], atol=1e-6)
    np.testing.assert_allclose(again.scene, ours.scene[1:], atol=1e-9)
    np.testing.assert_allclose(again.state, ours.state[1:], atol=1e-2)
    suite = Libero(suite="libero_object", tasks=(0,), image_size=64, render_size=64).build()
    np.testing.assert_array_equal(suite.draw(0, ours.scene[1:2], "agentview")[0], top)
    target, before = Path(told["file"]), Path(told["file"]).read_bytes()
    assert main(["export", *words, "--out", str(tmp_path)]) == 0  # as after a stop: what is there is what it makes
    assert target.read_bytes() == before
    target.write_bytes(b"another's")
    assert main(["export", *words, "--out", str(tmp_path)]) == 2
    assert "is there already, and is another" in capsys.readouterr().err
    assert target.read_bytes() == b"another's"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [target.name]
