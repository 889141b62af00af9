"""`cgap encoders` at the shell: one table, one page, one JSON object, and what is typed wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from browser import DARK, LIGHT, look_legible
from compression_gap.cli import main
from compression_gap.commands import Answer, Selection, encoders
from compression_gap.commands.encoders import default_ladder, notes
from compression_gap.commands.typed import encoder_named
from compression_gap.encoders.channel import Channel
from compression_gap.encoders.supervised import Supervised
from compression_gap.measures.encoder_probe import Probing

TINY = Probing(steps=8, batch=32, seeds=(0,), width=16)
TYPED = ("supervised:steps=4,channels=(4,8),keypoints=4,width=8", "channel:sigma=5")


def answer(root: Path) -> Answer:
    chosen = Selection("tabletop", None, 21, "fixed", {"image_size": "16"})
    return encoders(chosen, TYPED, root, 1, "cpu", quiet=True, probing=TINY)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return answer(tmp_path_factory.mktemp("store"))


def test_every_encoder_and_control_arm_is_measured(measured: Answer):
    assert not measured.failed
    json.dumps(measured.data, allow_nan=False)
    rows = {row["name"]: row for row in measured.data["encoders"]}
    assert list(rows) == [*TYPED, "no pictures", "shuffled", "state"]
    assert [bool(row["control"]) for row in rows.values()] == [False, False, True, True, True]
    sees = rows[TYPED[0]]
    assert sees["parameters"] > 100
    assert sees["pictures_per_second"] > 0
    assert sees["width"] == 8
    assert rows["state"]["pictures_per_second"] is None
    assert rows["no pictures"]["beyond"] is None
    for row in rows.values():
        assert row["training_step_seconds"] > 0
        assert row["sigma"] == TINY.sigma
        assert row["error_mm"]["low"] <= row["error_mm"]["value"] <= row["error_mm"]["high"]
    assert rows["state"]["error_mm"]["value"] < rows["channel:sigma=5"]["error_mm"]["value"] < sees["error_mm"]["value"]


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_page_can_be_read_in_a_browser_and_on_a_phone(scheme: int, measured: Answer, tmp_path: Path):
    look_legible(Path(measured.data["report"]).read_text("utf-8"), tmp_path, scheme)


def test_the_table_and_the_page_say_what_was_measured(measured: Answer):
    console = Console(file=io.StringIO(), width=200, highlight=False)
    measured.show(console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (*TYPED, "control arms", "bits beyond", "noise of 0.025", "roll (unused)", "report: "):
        assert words in said
    page = Path(measured.data["report"]).read_text("utf-8")
    assert page.count("<svg") > 1
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "cgap encoders tabletop --episodes 21 --initial-states fixed --encoder" in page
    for words in (
        "channel:sigma=5",
        "proprioception and task alone",
        "prefers-color-scheme: dark",
    ):
        assert words in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"interface": "none"}, "ignored: the probe did better without"),
        ({"converged": False}, "! not converged"),
        ({"bits": {"value": -0.1, "low": -0.3, "high": 0.1}}, "Below 0"),
    ],
)
def test_what_needs_explaining_is_explained(changes: dict[str, Any], words: str | None, measured: Answer):
    plain = {"interface": "readout, haste 0", "converged": True, "bits": {"value": 1.0, "low": 0.5, "high": 1.5}}
    rows = [row | plain for row in measured.data["encoders"]]
    said = notes([*rows, rows[0] | changes])
    assert len(said) == 2 + bool(words)
    assert words is None or said[-1].startswith(words)


def test_it_runs_nothing_twice_and_writes_the_same_page(measured: Answer):
    page = Path(measured.data["report"])
    root, before = page.parents[1], page.read_bytes()
    results = {path: path.stat().st_mtime_ns for path in root.glob("*/*/provenance.json")}
    answer(root)
    assert {path: path.stat().st_mtime_ns for path in root.glob("*/*/provenance.json")} == results
    assert page.read_bytes() == before


def test_what_is_typed_is_what_is_meant():
    assert encoder_named("channel:sigma=2.5") == Channel(sigma=2.5)
    assert encoder_named("supervised:channels=(4, 8),steps=7") == Supervised(channels=(4, 8), steps=7)
    assert [name for name, _ in default_ladder()][-4:] == [
        "supervised:steps=240",
        "supervised:steps=700",
        "channel:sigma=5",
        "state",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--encoder", "supervisd"], "encoders has no kind 'supervisd'; did you mean 'supervised'?"),
        (["--encoder", "channel:sgima=3"], "Channel has no field 'sgima'; did you mean 'sigma'?"),
        (["--encoder", "channel:sigma=wide"], "sigma: expected float, got 'wide'"),
        (["--encoder", "channel:sigma"], "expected channel:field=value,field=value, got 'sigma'"),
        (["--encoder", "convnet"], "encoder 'convnet' is trained along with a policy"),
        (["--tasks", "7"], "tabletop's tasks are 0 to 2"),
        (["--imagesize", "32"], "Tabletop has no field 'imagesize'; did you mean 'image_size'?"),
        (["--episodes", "20"], "bits need at least 8 demonstrations to test on, got 6 of 60"),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["encoders", "tabletop", "--store", str(tmp_path), *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
