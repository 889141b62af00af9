"""LIBERO's HDF5 files, written here with h5py alone: what is wrong with a file is named with its place and the cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from compression_gap.cli import main
from compression_gap.data.formats.libero_hdf5 import axis_angle, open_libero

STOVE = "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it"
XML = '<mujoco><worldbody><body name="stove" pos="1 2 3"><body name="knob" quat="0 1 0 0"/></body></worldbody></mujoco>'


def write(path: Path, *, task: str = STOVE, steps: int = 5) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["bddl_file_name"] = f"chiliocosm/bddl_files/libero_10/{task}.bddl"
        for number in (0, 10, 2):
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = rng.uniform(-1, 1, (steps, 7))
            demo["states"] = rng.normal(size=(steps, 47))
            demo["robot_states"] = rng.normal(size=(steps, 9))
            for camera in ("agentview_rgb", "eye_in_hand_rgb"):
                demo[f"obs/{camera}"] = rng.integers(0, 256, (steps, 8, 8, 3), dtype=np.uint8)
            demo.attrs["model_file"] = XML
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "stove_demo.hdf5")


def test_a_file_is_read_as_it_says(file: Path) -> None:
    with open_libero(file) as opened, h5py.File(file) as raw:
        assert opened.task == STOVE
        assert opened.demos == ["demo_0", "demo_2", "demo_10"]  # by number
        demo = opened.demo("demo_10")
        np.testing.assert_array_equal(demo.actions, raw["data/demo_10/actions"])
        np.testing.assert_array_equal(demo.robot_states, raw["data/demo_10/robot_states"])
        np.testing.assert_array_equal(demo.bodies["stove"], [1, 2, 3, 1, 0, 0, 0])
        np.testing.assert_array_equal(demo.bodies["knob"], [0, 0, 0, 0, 1, 0, 0])
        upright = opened.pictures("demo_2", "eye_in_hand")
        np.testing.assert_array_equal(upright[3, 0], raw["data/demo_2/obs/eye_in_hand_rgb"][3, 7])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text_file(path: Path) -> None:
    path.write_text("demonstrations")


def changed(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def put(place: str, index: tuple[int, int], value: float) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        file[place][index] = value

    return changed(change)


def remove(place: str) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        del file[place]

    return changed(change)


def cut(file: h5py.File) -> None:
    values = file["data/demo_2/states"][:3]
    del file["data/demo_2/states"]
    file["data/demo_2/states"] = values


def empty(file: h5py.File) -> None:
    del file["data/demo_0"]
    file.create_group("data/demo_0")


def floats(file: h5py.File) -> None:
    pictures = file["data/demo_0/obs/agentview_rgb"][:] / 255.0
    del file["data/demo_0/obs/agentview_rgb"]
    file["data/demo_0/obs/agentview_rgb"] = pictures


def smaller(file: h5py.File) -> None:
    pictures = file["data/demo_2/obs/agentview_rgb"][:, ::2, ::2]
    del file["data/demo_2/obs/agentview_rgb"]
    file["data/demo_2/obs/agentview_rgb"] = pictures


def without(attribute: str, place: str) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        del file[place].attrs[attribute]

    return changed(change)


def broken_xml(file: h5py.File) -> None:
    file["data/demo_0"].attrs["model_file"] = "<mujoco>"


def instead(place: str) -> Callable[[Path], None]:
    """Text where a group or numbers should be."""

    def change(file: h5py.File) -> None:
        del file[place]
        file[place] = np.array([b"text"] * 3)

    return changed(change)


def group(place: str) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        del file[place]
        file.create_group(place)

    return changed(change)


def dangling(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["data/demo_2"]
        file["data/demo_2"] = h5py.SoftLink("/nowhere")


BAD = [
    (truncate, "cannot be read", "truncated"),
    (text_file, "cannot be read", "no HDF5 file"),
    (remove("data"), "data: it is missing", "there is nothing"),
    (instead("data"), "data: expected a group, got an array", "Leave the file out"),
    (instead("data/demo_2"), "data/demo_2: expected a group, got an array", "Leave the file out"),
    (instead("data/demo_2/obs"), "data/demo_2/obs: expected a group, got an array", "Leave the file out"),
    (group("data/demo_2/states"), "data/demo_2/states: expected an array, got a group", "Leave the file out"),
    (
        group("data/demo_2/obs/agentview_rgb"),
        "data/demo_2/obs/agentview_rgb: expected an array, got a group",
        "Leave the file out",
    ),
    (instead("data/demo_0/actions"), "data/demo_0/actions: expected numbers [T, 7], got |S4 [3]", "Leave the file out"),
    (dangling, "data/demo_2: it is missing", "there is demo_0"),
    (remove("data/demo_2/obs/agentview_rgb"), "data/demo_2/obs/agentview_rgb: it is missing", "eye_in_hand_rgb"),
    (remove("data/demo_2/robot_states"), "data/demo_2/robot_states: it is missing", "there is actions"),
    (put("data/demo_10/states", (2, 9), 1e200), "data/demo_10/states[2, 9]: expected at most 3.4e38", "got 1e+200"),
    (
        put("data/demo_0/actions", (3, 1), 1.7),
        "data/demo_0/actions[3, 1]: expected values in [-1, 1], got 1.7",
        "absolute",
    ),
    (
        put("data/demo_10/states", (2, 9), np.nan),
        "data/demo_10/states[2, 9]: expected a number, got nan",
        "get it anew",
    ),
    (put("data/demo_10/actions", (0, 0), np.inf), "data/demo_10/actions[0, 0]: expected a number, got inf", "anew"),
    (changed(empty), "data/demo_0/actions: it is missing", "there is nothing"),
    (changed(cut), "data/demo_2: its parts differ in length", "states 3"),
    (changed(floats), "data/demo_0/obs/agentview_rgb: expected uint8 [T, size, size, 3]", "float64"),
    (
        changed(smaller),
        "data/demo_2/obs/agentview_rgb: expected pictures of [8, 8, 3], as in demo_0, got [4, 4, 3]",
        "Leave the file out",
    ),
    (changed(broken_xml), "data/demo_0: the XML", "cannot be read"),
    (without("model_file", "data/demo_2"), "data/demo_2: the attribute model_file", "fixtures"),
    (without("bddl_file_name", "data"), "data: the attribute bddl_file_name", "names the task"),
]


@pytest.mark.parametrize(("damage", "place", "cure"), BAD)
def test_what_is_wrong_is_named_with_file_place_and_cure(
    damage: Callable[[Path], None], place: str, cure: str, file: Path
) -> None:
    damage(file)

    def read() -> None:
        with open_libero(file) as opened:
            _ = opened.task
            for name in opened.demos:
                opened.demo(name)

    with pytest.raises(ValueError, match="hdf5") as caught:
        read()
    assert str(file) in str(caught.value)
    assert place in str(caught.value)
    assert cure in str(caught.value)


def test_a_file_without_demonstrations_says_so(file: Path) -> None:
    with h5py.File(file, "r+") as raw:
        for name in list(raw["data"]):
            del raw["data"][name]
    with pytest.raises(ValueError, match="there is no demo_0"), open_libero(file):
        pass


@pytest.mark.parametrize(("command", "place"), [("import", "data"), ("audit", "data/demo_2")])
def test_an_array_instead_of_a_group_is_one_line_at_the_shell(
    command: str, place: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instead(place)(file)
    assert main([command, str(file), "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert f"{file}, {place}: expected a group, got an array" in said
    assert said.count("\n") == 1
    assert not list((tmp_path / "store").glob("[!.]*"))


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("none.hdf5", None, "there is no such file"),
        (
            "other.hdf5",
            STOVE.replace("stove", "stoev"),
            f"LIBERO has no task {STOVE.replace('stove', 'stoev')!r}; did you",
        ),
    ],
)
def test_the_shell_says_it_in_one_line_and_makes_no_store(
    name: str, task: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if task:
        write(path, task=task)
    assert main(["import", str(path), "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert str(path) in said
    assert said.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_without_h5py_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r"compression-gap\[libero\]"), open_libero(file):
        pass


def test_axis_angles_are_rotations() -> None:
    quaternion = Rotation.random(20, random_state=0).as_quat()
    quaternion *= np.where(quaternion[:, 3:] < 0, -1.0, 1.0)
    np.testing.assert_allclose(axis_angle(quaternion), Rotation.from_quat(quaternion).as_rotvec(), atol=1e-7)
    np.testing.assert_array_equal(axis_angle(np.array([[0.0, 0.0, 0.0, 1.0]])), np.zeros((1, 3)))
