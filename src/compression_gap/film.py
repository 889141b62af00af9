"""Videos of episodes, because people look before they believe."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from compression_gap.rollout import Driver, Rollouts, roll_out
from compression_gap.suites.base import Simulators, Suite, SuiteSpec
from compression_gap.training import Report


def film(
    driver: Driver,
    suite: Suite,
    spec: SuiteSpec,
    rollouts: Rollouts,
    tasks: Sequence[int],
    count: int,
    folder: Path,
    report: Report,
) -> None:
    """Rolls out the first `count` episodes of each task and writes an mp4 of each, all cameras side by side.

    Episodes share batches as in an evaluation, so what is seen is what was judged. A file's name tells task, episode
    and success or failure. Raises ImportError naming the extra to install.
    """
    _av()  # before anything is simulated
    takes: dict[tuple[int, int], list[np.ndarray]] = {}

    def watch(task: int, indices: Sequence[int], simulators: Simulators) -> None:
        for index, scene in zip(indices, simulators.scene(), strict=True):
            if index < count:
                takes.setdefault((task, index), []).append(scene)

    whole_batches = -(-count // spec.batch) * spec.batch
    shorter = rollouts.replace(episodes=min(rollouts.episodes, whole_batches))
    rows = roll_out(driver, suite, shorter, tasks, spec.batch, lambda f, text: report(f / 2, text), watch=watch)
    large = spec.for_people.build()
    for number, row in enumerate(rows.filter(rows["index"] < count).iter_rows(named=True)):
        scenes = np.stack(takes[row["task"], row["index"]][: row["steps"] + 1])
        frames = np.concatenate([large.draw(row["task"], scenes, camera) for camera in suite.legend.cameras], axis=2)
        outcome = "success" if row["success"] else "failure"
        write_video(
            folder / f"task-{row['task']}-episode-{row['index']}-{outcome}.mp4", frames, suite.legend.control_hz
        )
        report(0.5 + (number + 1) / len(takes) / 2, "drawing")


def write_video(path: Path, frames: UInt8[np.ndarray, "N height width 3"], frames_a_second: float) -> None:
    """H.264 in an mp4 that browsers play; height and width are even. Equal frames make equal files."""
    av = _av()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(frames_a_second).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise ImportError("videos need PyAV: pip install 'compression-gap[video]'") from error
    return av
