"""`cgap collect` at the shell: what it says, what it keeps, and what a kill costs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compression_gap.cli import main
from compression_gap.store import Store

CGAP = Path(sys.executable).with_name("cgap")
WORDS = ["collect", "tabletop", "--image_size", "16", "--episodes", "60", "--json", "--workers", "1"]


def contents(root: Path) -> dict[str, bytes]:
    """Every file of every result, except where times are written."""
    files = (path for folder in Store(root).folders() for path in sorted(folder.iterdir()))
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name != "provenance.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with what a collection that nobody disturbed has made."""
    root = tmp_path_factory.mktemp("whole")
    assert main([*WORDS, "--store", str(root)]) == 0
    return root


def test_it_tells_success_and_yield_by_task_and_what_it_took(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--store", str(whole)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in said["tasks"]] == ["red", "green", "blue"]
    for row in [*said["tasks"], said]:
        assert row["yield"] == row["kept"] / row["attempts"]
        assert row["frames"] > 20 * row["kept"]
    assert said["attempts"] == 180
    assert said["core_hours"] >= 0
    assert said["failed"] == 0


def test_killed_and_run_again_it_ends_with_the_same_files(whole: Path, tmp_path: Path) -> None:
    command = [CGAP, *WORDS, "--store", tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("demonstrations/*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main([*WORDS, "--store", str(tmp_path)]) == 0
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tabletpo"], "did you mean 'tabletop'"),
        (["libero_11"], "did you mean 'libero_10'"),
        (["tabletop", "--tasks", "0", "3"], "tasks are 0 to 2"),
        (["tabletop", "--initial-states", "tests"], "did you mean 'test'"),
        (["tabletop", "--image_siz", "3"], "did you mean 'image_size'"),
        (["libero_90", "--tasks", "5"], "no scripted expert for libero_90 task 5"),
        (["libero_10", "--tasks", "12"], "tasks 0 to 9"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_store(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", *words, "--store", str(tmp_path / "store")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
