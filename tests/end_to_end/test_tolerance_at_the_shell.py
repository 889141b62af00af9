"""`cgap tolerance` at the shell, in processes of its own: one JSON object, one page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compression_gap.cli import main

WORDS = ["tolerance", "tabletop", "--image_size", "16", "--tasks", "0", "--episodes", "10", "--rollouts", "8"]
WORDS += ["--horizon", "8", "--execute", "4", "--tokenizer", "binning:bins=32", "--workers", "1", "--json"]


def test_it_tells_what_the_suite_tolerates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--store", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["failed"] == 0
    white = next(curve for curve in said["curves"] if curve["name"] == "white noise")["tolerances"][0]
    assert 0 < white["mm"]["low"] <= white["mm"]["value"] <= white["mm"]["high"]
    rows = [row for row in said["rows"] if row["group"] == "white noise"]
    assert rows[0]["closed_loop"]["value"] == 100
    assert rows[-1]["closed_loop"]["value"] < 50
    assert len(said["initial_states"]) == 8
    page = Path(said["report"]).read_text("utf-8")
    assert "What distortion tabletop tolerates" in page
    assert "cgap tolerance tabletop --tasks 0 --episodes 10" in page
