"""LIBERO's own HDF5 files (`<task>_demo.hdf5`), as its scripts/create_dataset.py writes them.

Conventions of the files: pictures upside down; actions OSC_POSE differences in [-1, 1], the gripper at -1 open and +1
closed; `states` [T, S] time, positions and velocities BEFORE the action of the same row; `robot_states` [T, 9] two
finger joints, end-effector position (m), hand quaternion x y z w, and all pictures, AFTER it; poses of fixtures only
in the XML of `model_file`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, UInt8

from compression_gap.data.checked import DRAWN_FROM, unusable
from compression_gap.data.trajectories import Trajectories, numbered
from compression_gap.suites.libero.recordings import Replayed

SUFFIXES = (".hdf5", ".h5")
PICTURES = {"agentview": "agentview_rgb", "eye_in_hand": "eye_in_hand_rgb"}
WIDTHS = {"actions": 7, "robot_states": 9}
EARLIER_STEPS = 5  # left away by LIBERO at the beginning of each demonstration
ACTIONS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
SCALE = (50.0,) * 3 + (float(np.degrees(0.5)),) * 3 + (1.0,)
"""Millimetres and degrees of an action of 1, by the settings of OSC_POSE."""
SAME = 1e-4  # metres by which a finger may be off from where the states have it


@dataclass(frozen=True)
class Demo:
    """One demonstration, checked, with the file's conventions."""

    actions: Float[np.ndarray, "T 7"]
    states: Float[np.ndarray, "T S"]
    robot_states: Float[np.ndarray, "T 9"]
    bodies: dict[str, Float[np.ndarray, " 7"]]
    """Position (m) and quaternion w x y z of each body within its parent, from the model's XML."""


class LiberoFile:
    """An open file. Raises ValueError naming the file, the place and the cure for whatever is not as LIBERO has it."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        names = (name for name in self._group("data") if re.fullmatch(r"demo_\d+", name))
        self.demos = sorted(names, key=lambda name: int(name[5:]))
        if not self.demos:
            raise self._error("data", "there is no demo_0, demo_1, ...; expected one group for each demonstration")

    @property
    def task(self) -> str:
        """Name of the task: that of its BDDL file."""
        found = self._group("data").attrs.get("bddl_file_name")
        if found is None:
            raise self._error("data", "the attribute bddl_file_name, which names the task, is missing")
        return Path(_text(found)).stem

    def demo(self, name: str) -> Demo:
        """A demonstration without its pictures."""
        arrays = {key: self._numbers(name, key) for key in ("actions", "states", "robot_states")}
        lengths = {key: len(array) for key, array in arrays.items()}
        lengths |= {f"obs/{key}": len(self._pictures(name, camera)[0]) for camera, key in PICTURES.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise self._error(f"data/{name}", f"its parts differ in length: {told}")
        if lengths["actions"] < 2:
            raise self._error(f"data/{name}", f"a demonstration has at least 2 steps, this one {lengths['actions']}")
        for camera, key in PICTURES.items():
            if (shape := self._pictures(name, camera)[0].shape[1:]) != self.picture_shape(camera):
                expected = f"{list(self.picture_shape(camera))}, as in {self.demos[0]}"
                raise self._error(f"data/{name}/obs/{key}", f"expected pictures of {expected}, got {list(shape)}")
        far = np.argwhere(np.abs(arrays["actions"]) > 1.0 + 1e-6)
        if len(far):
            step, value = far[0]
            raise self._error(
                f"data/{name}/actions[{step}, {value}]",
                f"expected values in [-1, 1], got {arrays['actions'][step, value]:.3g}; are these absolute actions?",
            )
        return Demo(**arrays, bodies=self._bodies(name))

    def steps(self, name: str) -> dict[str, np.ndarray]:
        """`actions`, `states` and `robot_states` of a demonstration, whatever pictures there are."""
        arrays = {key: self._numbers(name, key) for key in ("actions", "states", "robot_states")}
        if len({len(array) for array in arrays.values()}) > 1:
            told = ", ".join(f"{key} {len(array)}" for key, array in arrays.items())
            raise self._error(f"data/{name}", f"its parts differ in length: {told}")
        if len(arrays["actions"]) < 2:
            raise self._error(
                f"data/{name}", f"a demonstration has at least 2 steps, this one {len(arrays['actions'])}"
            )
        return arrays

    def picture_shape(self, camera: str) -> tuple[int, ...]:
        """Height, width and 3, as in the first demonstration; `demo` checks that the others are like it."""
        return self._pictures(self.demos[0], camera)[0].shape[1:]

    def pictures(self, name: str, camera: str) -> UInt8[np.ndarray, "T height width 3"]:
        """What a camera saw, upright."""
        return self._read(*self._pictures(name, camera))[:, ::-1]  # h5py itself cannot read backwards

    def _pictures(self, name: str, camera: str) -> tuple[Any, str]:
        found, place = self._array("data", name, "obs", PICTURES[camera])
        if found.ndim != 4 or found.shape[3] != 3 or found.shape[1] != found.shape[2] or found.dtype != np.uint8:
            raise self._error(place, f"expected uint8 [T, size, size, 3], got {found.dtype} {list(found.shape)}")
        return found, place

    def _numbers(self, name: str, key: str) -> np.ndarray:
        found, place = self._array("data", name, key)
        if found.ndim != 2 or found.shape[1] != WIDTHS.get(key, found.shape[1]) or found.dtype.kind not in DRAWN_FROM:
            wanted = f"numbers [T, {WIDTHS.get(key, 'S')}]"
            raise self._error(place, f"expected {wanted}, got {found.dtype} {list(found.shape)}")
        array = self._read(found, place).astype(np.float64)
        if (bad := unusable(array)) is not None:
            (step, value), what, _ = bad
            raise self._error(f"{place}[{step}, {value}]", what)
        return array

    def _group(self, *names: str) -> Any:
        """The group at a place of the file."""
        here = self._file
        for depth, name in enumerate(names, 1):
            place = "/".join(names[:depth])
            if (found := here.get(name)) is None:
                raise self._error(place, f"it is missing; there is {', '.join(here) or 'nothing'}")
            if not hasattr(found, "keys"):
                raise self._error(place, "expected a group, got an array")
            here = found
        return here

    def _array(self, *names: str) -> tuple[Any, str]:
        """The array at a place of the file, which is not read yet, and the place."""
        here, place = self._group(*names[:-1]), "/".join(names)
        if (found := here.get(names[-1])) is None:
            raise self._error(place, f"it is missing; there is {', '.join(here) or 'nothing'}")
        if not getattr(found, "shape", None):
            raise self._error(place, "expected an array, got a group or a single value")
        return found, place

    def _read(self, array: Any, place: str) -> np.ndarray:
        try:
            return array[:]
        except OSError as error:
            raise self._error(place, f"it cannot be read ({error})") from error

    def _bodies(self, name: str) -> dict[str, np.ndarray]:
        text = self._group("data", name).attrs.get("model_file")
        if text is None:
            raise self._error(f"data/{name}", "the attribute model_file, which places the fixtures, is missing")
        try:
            found = ElementTree.fromstring(_text(text)).iter("body")
            return {body.get("name", ""): _pose(body) for body in found}
        except (ElementTree.ParseError, ValueError) as error:
            raise self._error(
                f"data/{name}", f"the XML in its attribute model_file cannot be read ({error})"
            ) from error

    def _error(self, place: str, what: str) -> ValueError:
        return ValueError(f"{self.path}, {place}: {what}. Leave the file out, or get it anew; nothing of it is kept")


@contextmanager
def open_libero(path: Path) -> Iterator[LiberoFile]:
    """Opens a file for reading.

    Raises ImportError naming the extra to install, FileNotFoundError, or ValueError if it is no such file.
    """
    h5py = _h5py()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        cure = "it is truncated, or no HDF5 file; get it anew"
        raise ValueError(f"{path} cannot be read ({error}): {cure}") from error
    with file:
        yield LiberoFile(path, file)


def read_libero(paths: Sequence[Path]) -> Trajectories:
    """Actions, the robot's own state and the simulator's of all demonstrations of some files; no simulator is needed.

    What was observed after an action stands with the next one, and the first action of a demonstration is left away.
    States are without the time with which robosuite begins them: a clock tells how far a demonstration has come, and no
    encoder sees one. Those of tasks that have fewer numbers are filled with 0.
    """
    found: list[tuple[str, dict[str, np.ndarray]]] = []
    for path in paths:
        with open_libero(path) as file:
            found += [(file.task, file.steps(name)) for name in file.demos]
    lag, note = _lag([steps for _, steps in found])
    for _, steps in found:
        rows = len(steps["actions"]) - lag
        steps["actions"], steps["states"] = steps["actions"][lag:], steps["states"][lag:, 1:]
        steps["robot_states"] = steps["robot_states"][:rows]
    task, tasks = numbered([name for name, _ in found])
    width = max(steps["states"].shape[1] for _, steps in found)
    states = [np.pad(steps["states"], ((0, 0), (0, width - steps["states"].shape[1]))) for _, steps in found]
    return Trajectories(
        source="LIBERO HDF5",
        action=np.concatenate([steps["actions"] for _, steps in found]).astype(np.float32),
        ends=np.cumsum([len(steps["actions"]) for _, steps in found]),
        names=ACTIONS,
        scale=SCALE,
        gripper=(6,),
        task=task,
        tasks=tasks,
        proprioception=np.concatenate([steps["robot_states"] for _, steps in found]).astype(np.float32),
        state=np.concatenate(states).astype(np.float32),
        notes=(note,),
    )


def _lag(demos: Sequence[dict[str, np.ndarray]]) -> tuple[int, str]:
    """1 if the robot was observed after the action of the same row, and how that is known: its left finger is one of
    the numbers of `states`, which are of the moment before."""
    off = []
    for lag in (0, 1):
        pairs = [(demo["states"][lag:], demo["robot_states"]) for demo in demos]
        apart = [np.abs(states - robot[: len(states), :1]).max(axis=0).min() for states, robot in pairs]
        off.append(max(apart))
    if off[0] <= SAME < off[1]:
        return 0, "the robot was observed before the action of the same row"
    if off[1] <= SAME < off[0]:
        return 1, "the robot was observed after the action of the same row: the first action of each is left away"
    return 1, "the robot is taken to be observed after the action of the same row, as LIBERO's script does it"


def write_libero(path: Path, bddl_file: Path, instruction: str, demos: Iterator[Replayed]) -> int:
    """Writes a file as LIBERO's script does and returns how many demonstrations it holds; a file that is cut off
    carries the ending .new."""
    h5py = _h5py()
    beside, total, count = path.with_suffix(path.suffix + ".new"), 0, 0
    with h5py.File(beside, "w") as file:
        data = file.create_group("data")
        data.attrs["bddl_file_name"] = str(Path("bddl_files") / bddl_file.parent.name / bddl_file.name)
        data.attrs["bddl_file_content"] = bddl_file.read_text()
        data.attrs["problem_info"] = json.dumps({"language_instruction": instruction})
        data.attrs["env_args"] = json.dumps({"type": 1, "env_kwargs": {"control_freq": 20, "controller": "OSC_POSE"}})
        data.attrs["macros_image_convention"] = "opengl"
        for number, demo in enumerate(demos):
            _write_demo(data.create_group(f"demo_{number}"), demo)
            total, count = total + len(demo.actions), number + 1
        data.attrs["num_demos"], data.attrs["total"] = count, total
    beside.replace(path)
    return count


def join_libero(parts: Sequence[Path], path: Path) -> int:
    """One file with the demonstrations of several that `write_libero` wrote of the same task; returns how many."""
    h5py = _h5py()
    beside, total, count = path.with_suffix(path.suffix + ".new"), 0, 0
    with h5py.File(beside, "w") as out:
        data = out.create_group("data")
        for part in parts:
            with h5py.File(part, "r") as file:
                for name, value in file["data"].attrs.items():
                    data.attrs[name] = value
                for number in range(file["data"].attrs["num_demos"]):
                    file.copy(f"data/demo_{number}", data, f"demo_{count + number}")
                count, total = count + file["data"].attrs["num_demos"], total + file["data"].attrs["total"]
        data.attrs["num_demos"], data.attrs["total"] = count, total
    beside.replace(path)
    return int(count)


def _write_demo(group: Any, demo: Replayed) -> None:
    end = np.zeros(len(demo.actions), dtype=np.uint8)
    end[-1] = 1
    fingers, position, quaternion = np.split(demo.robot_states, [2, 5], axis=1)
    turn = axis_angle(quaternion)
    for name, array in {
        "actions": demo.actions,
        "states": demo.states,
        "robot_states": demo.robot_states,
        "rewards": end,
        "dones": end,
        "obs/gripper_states": fingers,
        "obs/joint_states": demo.joint_states,
        "obs/ee_states": np.concatenate([position, turn], axis=1),
        "obs/ee_pos": position,
        "obs/ee_ori": turn,
        **{f"obs/{key}": demo.pictures[camera][:, ::-1] for camera, key in PICTURES.items()},
    }.items():
        group.create_dataset(name, data=array)
    group.attrs["num_samples"] = len(demo.actions)
    group.attrs["model_file"] = demo.model_file
    group.attrs["init_state"] = demo.states[0]


def axis_angle(quaternion: Float[np.ndarray, "T 4"]) -> Float[np.ndarray, "T 3"]:
    """Rotations as robosuite's quat2axisangle has them: angle 2 arccos(w) in [0, 2 pi], from x y z w."""
    angle = 2.0 * np.arccos(np.clip(quaternion[:, 3:], -1.0, 1.0))
    length = np.linalg.norm(quaternion[:, :3], axis=1, keepdims=True)
    return np.where(length > 0, quaternion[:, :3] * angle / np.maximum(length, 1e-12), 0.0)


def _pose(body: ElementTree.Element) -> np.ndarray:
    numbers = [*body.get("pos", "0 0 0").split(), *body.get("quat", "1 0 0 0").split()]
    pose = np.array([float(number) for number in numbers])
    if len(pose) != 7:
        raise ValueError(f"body {body.get('name')!r} has no position of 3 and quaternion of 4 numbers")
    return pose


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ImportError("HDF5 files need h5py: pip install 'compression-gap[libero]'") from error
    return h5py
