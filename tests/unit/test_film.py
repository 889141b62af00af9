"""Videos: what is filmed is what was judged, and it can be played."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from compression_gap.film import film, write_video
from compression_gap.measures.replay import ReplayDriver
from compression_gap.rollout import Rollouts, roll_out
from compression_gap.suites.tabletop.suite import Tabletop

SPEC = Tabletop(image_size=16, batch=2)


def quiet(fraction: float, text: str) -> None: ...


def played(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_video_shows_its_frames(tmp_path: Path) -> None:
    frames = np.zeros((6, 32, 64, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        frame[:16, : 8 + 8 * number] = [220, 40, 60]
    for name in ("one.mp4", "two.mp4"):
        write_video(tmp_path / name, frames, 12.5)
    seen = played(tmp_path / "one.mp4")
    assert seen.shape == frames.shape
    assert np.abs(seen.astype(int) - frames).mean() < 8
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_the_first_episodes_of_every_task_are_filmed_from_beginning_to_end(tmp_path: Path) -> None:
    suite, rollouts = SPEC.build(), Rollouts("test", episodes=3, execute=8)
    rows = roll_out(ReplayDriver(suite, 8, None), suite, rollouts, (0, 2), SPEC.batch, quiet)
    film(ReplayDriver(suite, 8, None), suite, SPEC, rollouts, (0, 2), 1, tmp_path, quiet)
    told = {(row["task"], row["index"]): row for row in rows.iter_rows(named=True)}
    names = {f"task-{t}-episode-0-{'success' if told[t, 0]['success'] else 'failure'}.mp4" for t in (0, 2)}
    assert {path.name for path in tmp_path.iterdir()} == names
    for task in (0, 2):
        (path,) = tmp_path.glob(f"task-{task}-*")
        frames = played(path)
        assert frames.shape == (told[task, 0]["steps"] + 1, 256, 512, 3)
        assert np.abs(frames[0].astype(int) - frames[-1]).max() > 100


def test_without_pyav_the_extra_is_named_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"compression-gap\[video\]"):
        film(None, None, SPEC, Rollouts("test", 1), (0,), 1, tmp_path, quiet)  # type: ignore[arg-type]
