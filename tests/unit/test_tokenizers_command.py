"""`cgap tokenizers` on demonstrations made of numbers: what the table says, and what never breaks it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from browser import DARK, LIGHT, look_legible
from compression_gap import plugins
from compression_gap.cli import main
from compression_gap.commands import Answer, Selection, Source, tokenizers, typed
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.report.sheet import render
from compression_gap.report.tokenizer_sheet import sheet
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training
from crashing_tokenizers import Broken, Moody
from datasets import arrays, write_arrays, write_lerobot
from recorded import LENGTH, STATE, record, run_here

COMMAND = import_module("compression_gap.commands.tokenizers")
DATA = import_module("compression_gap.commands.coded_data")
EPISODES = 100
OAT = "oat:tokens=2,levels=(5,3),width=8,head_width=8,encoder_layers=1,decoder_layers=1"
"""As the command is typed for it."""


@dataclass(frozen=True)
class Hopeless(TokenizerSpec, kind="hopeless"):
    """Fails at once."""

    def build(self, shape: ChunkShape) -> Tokenizer:
        raise NotImplementedError("still thinking")


@dataclass(frozen=True)
class Private(TokenizerSpec, kind="private"):
    """Needs a file."""

    file: str
    """Which only the user has."""


def strangers(family: str) -> dict[str, Any]:
    """What other packages register."""
    found = (Moody, Hopeless, Broken, Private) if family == "tokenizers" else ()
    return {cls.kind: SimpleNamespace(load=lambda cls=cls: cls) for cls in found}


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_installed", strangers)
        patch.setattr(COMMAND, "finish", lambda jobs, store, *rest, **more: run_here(jobs, store))
        patch.setattr(COMMAND, "PROBE", Autoregressive(width=8, layers=1, heads=2))
        for module, name in ((DATA, "LEARNING"), (COMMAND, "PROBING"), (DATA, "DENOISING")):
            patch.setattr(module, name, (1, Training(steps=60, batch=64, schedule="cosine")))
        yield


def moving(seed: int = 0) -> np.ndarray:
    """x and y wander, z follows x, the arm does not turn, and the gripper closes halfway."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((EPISODES * LENGTH, 7))
    actions[:, :2] = np.clip(np.repeat(rng.normal(size=(EPISODES * 3, 2)), 4, axis=0) * 0.5, -1, 1)
    actions[:, 2] = actions[:, 0]
    actions[:, 6] = np.tile(np.repeat([-1.0, 1.0], LENGTH // 2), EPISODES)
    return actions


def answer(root: Path, names: tuple[str, ...], horizon: int = 4) -> Answer:
    return tokenizers(Selection("tabletop", [0], EPISODES, "fixed", {}), names, horizon, 4, root, 1, quiet=True)


@pytest.fixture(scope="module")
def measured(patched: None, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    root = tmp_path_factory.mktemp("store")
    record(Store(root), EPISODES, moving(), np.zeros((EPISODES * LENGTH, STATE)))
    return answer(root, ("binning:bins=8", OAT, "moody"))


def test_one_row_for_each_and_a_crash_is_told_in_its_row(measured: Answer):
    assert not measured.failed
    json.dumps(measured.data, allow_nan=False)
    binning, oat, moody = measured.data["tokenizers"]
    assert binning["nominal_bits"] == 28 * 3
    assert (binning["chunks"], binning["demonstrations"], binning["unwritten"]) == (30, 10, 0)
    assert binning["undecodable"] == {"substituted": 0.0, "dropped": 1.0}
    assert binning["code_length_bits"]["kind"] == "upper bound"
    assert binning["speed"]["encode"] > 0
    assert len(binning["sensitivity_mm"]) == 28
    assert binning["mm_99"] <= binning["mm_worst"]
    assert [prefix["tokens"] for prefix in oat["prefixes"]] == [1, 2]
    assert oat["prefixes"][0]["bits"] < oat["prefixes"][1]["bits"] == pytest.approx(oat["code_length_bits"]["value"])
    assert oat["prefixes"][1]["squared_error"] == oat["squared_error"]
    assert 0 < moody["unwritten"] < 30
    assert 0 <= binning["unseen"] < 0.1 < binning["used"] < 1
    assert "raise an error" in moody["failure"]
    assert "too far right" in moody["failure"]
    assert "speed" not in moody
    assert moody["nominal_bits"] > 0


def test_the_bound_says_which_actions_are_in_it(measured: Answer):
    gaussian = measured.data["tokenizers"][0]["gaussian"]
    assert gaussian["actions"] == ["x", "y", "z"]
    assert gaussian["constant"] == ["roll", "pitch", "yaw"]
    assert gaussian["kind"] == "estimate"
    assert len(gaussian["variances"]) + gaussian["singular"] == 24
    assert len(gaussian["variances"]) <= 8, "z follows x"
    first = measured.data["gaussian_curve"][0]
    assert first[1] <= sum(gaussian["variances"])


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_page_can_be_read_in_a_browser_and_on_a_phone(scheme: int, measured: Answer, tmp_path: Path):
    look_legible(Path(measured.data["report"]).read_text("utf-8"), tmp_path, scheme)


def test_the_denoisers_bound_stands_beside_the_gaussians(measured: Answer):
    curve = np.array(measured.data["denoiser_curve"])
    assert measured.data["denoiser_failed"] is None
    assert (np.diff(curve[:, 0]) > 0).all()
    assert curve[0, 1] > 100 * curve[-1, 1]
    for row in measured.data["tokenizers"]:
        assert row["above_least"] >= row["excess"]["bits"], "the least bound is never above the Gaussian's"


def test_the_table_and_the_page_say_what_was_measured(measured: Answer):
    console = Console(file=io.StringIO(), width=220, highlight=False)
    measured.show(console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("binning:bins=8", "written, chunks/s", "30 chunks of 10 demonstrations", "moody: "):
        assert words in said
    page = Path(measured.data["report"]).read_text("utf-8")
    assert page.count("<svg") > 1
    assert "http" not in page.replace("http://www.w3.org", "")
    for words in ("first 1 tokens", "prefers-color-scheme: dark", "they never change: roll, pitch, yaw", "--horizon 4"):
        assert words in page
    assert "chunks/s" not in page, "timings are nobody's result"


def test_the_numbers_are_written_as_parquet(measured: Answer):
    rows = pl.read_parquet(measured.data["parquet"])
    assert rows["name"].to_list() == ["binning:bins=8", OAT, "moody"]
    assert rows["code_length_bits_value"][0] == measured.data["tokenizers"][0]["code_length_bits"]["value"]
    assert not [name for name in rows.columns if "speed" in name]


def test_measuring_again_gives_the_same_numbers_and_the_same_page(measured: Answer, tmp_path: Path):
    record(Store(tmp_path), EPISODES, moving(), np.zeros((EPISODES * LENGTH, STATE)))
    again = answer(tmp_path, (OAT,)).data["tokenizers"][0]
    assert again | {"speed": None} == measured.data["tokenizers"][1] | {"speed": None}
    page = Path(measured.data["report"])
    drawn = page.read_bytes()
    answer(page.parents[1], ("binning:bins=8", OAT, "moody"))
    assert page.read_bytes() == drawn


def test_every_kind_that_needs_no_file_is_there_and_a_hopeless_one_breaks_nothing(patched: None):
    found = COMMAND._of_every_kind(ChunkShape(8, 7))
    assert set(plugins.kinds("tokenizers")) - set(found) == {"hub", "private"}
    assert found["moody"] == Moody()
    assert found["oat"] == Oat.small()
    assert found["hopeless"] == "NotImplementedError: still thinking"


def test_a_row_that_fails_leaves_the_others_alone(patched: None, tmp_path: Path):
    record(Store(tmp_path), EPISODES, moving(), np.zeros((EPISODES * LENGTH, STATE)))
    found = answer(tmp_path, ("broken", "binning:bins=2"), horizon=1)
    broken, binning = found.data["tokenizers"]
    assert found.failed
    assert broken["failed"] == "ZeroDivisionError: nothing fits"
    assert binning["failed"] is None
    assert binning["mm"]["value"] > 0
    console = Console(file=io.StringIO(), width=120, highlight=False)
    found.show(console)
    assert "broken: ZeroDivisionError: nothing fits" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_table_of_failures_is_still_a_page():
    rows = [{"name": "lost", "spec": None, "failed": "ValueError: <why>"}]
    facts = {
        "name": "tabletop",
        "horizon": 4,
        "episodes": 10,
        "recorded": False,
        "source": None,
        "notes": [],
        "given": None,
        "stride": 1,
        "tasks": ["push"],
        "gaussian_curve": [],
    }
    facts |= {"denoiser_curve": [], "denoiser_failed": "ValueError: too few"}
    page = render(sheet(facts | {"tokenizers": rows}, "cgap tokenizers tabletop"))
    assert "ValueError: &lt;why&gt;" in page
    assert "the denoiser&#39;s bound" in page
    assert '<section id="figure">' not in page
    assert "of the expert at 1 task, one at every" in page


def test_constant_actions_have_no_bound_and_still_a_row(patched: None, tmp_path: Path):
    record(Store(tmp_path), EPISODES, np.ones((EPISODES * LENGTH, 7)), np.zeros((EPISODES * LENGTH, STATE)))
    measured = answer(tmp_path, ("binning:bins=4",), horizon=1)
    assert not measured.failed
    (row,) = measured.data["tokenizers"]
    assert row["excess"] is None
    assert row["gaussian"]["note"] == "no arm action varies"
    assert row["marginal_bits"]["value"] == pytest.approx(0, abs=0.01)
    measured.show(Console(file=io.StringIO(), width=120))


def test_what_depends_on_the_state_is_easier_to_predict_from_it(
    patched: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Three coins a demonstration, which the state shows: 2 bits remain unknown without it, none with it."""
    coins = np.random.default_rng(1).choice([-1.0, 1.0], size=(EPISODES, 3))
    actions = np.zeros((EPISODES * LENGTH, 7))
    actions[:, :3] = np.repeat(coins, LENGTH, axis=0)
    state = np.pad(np.repeat(coins, LENGTH, axis=0), ((0, 0), (0, STATE - 3)))
    record(Store(tmp_path), EPISODES, actions, state)
    probing = (100, Training(steps=200, batch=64, learning_rate=1e-2, schedule="cosine"))
    monkeypatch.setattr(COMMAND, "PROBING", probing)
    (row,) = answer(tmp_path, ("binning:bins=2",), horizon=1).data["tokenizers"]
    assert 2.0 < row["marginal_bits"]["value"] < 3.2
    assert 2.5 < row["code_length_bits"]["value"] < 3.6
    assert row["given_bits"]["value"] < 1.0


def of_files(root: Path, typed: Path, *names: str, features: tuple[Path, ...] = (), units: str | None = None) -> Answer:
    source = Source([str(typed)], Selection(str(typed), None, 300, "fixed", {}), features, (), units)
    return tokenizers(source, names, 8, 4, root, 1, quiet=True)


def test_somebodys_files_are_measured_like_a_suite(patched: None, tmp_path: Path):
    measured = of_files(tmp_path / "store", write_arrays(tmp_path / "mine.npz", arrays(60)), "binning:bins=8", OAT)
    assert not measured.failed
    json.dumps(measured.data, allow_nan=False)
    assert (measured.data["given"], measured.data["episodes"], measured.data["stride"]) == ("features", 60, 4)
    for row in measured.data["tokenizers"]:
        assert (row["demonstrations"], row["failed"]) == (8, None)
        assert row["mm"]["low"] <= row["mm"]["value"] <= row["mm"]["high"]
        assert row["gripper"] == 0 or row["spec"]["kind"] == "tokenizers/oat"
        assert row["given_bits"]["value"] > 0
        assert row["above_least"] is not None
    page = Path(measured.data["report"]).read_text("utf-8")
    assert Path(measured.data["report"]).name.startswith("tokenizers-mine-")
    for words in ("plain arrays: 60 demonstrations of 2 tasks", "given features, bits", "cgap tokenizers"):
        assert words in page
    again = of_files(tmp_path / "store", tmp_path / "mine.npz", "binning:bins=8", OAT)
    assert Path(again.data["report"]).read_text("utf-8") == page
    other = of_files(tmp_path / "store", tmp_path / "mine.npz", "binning:bins=8")
    for kind in ("report", "parquet"):
        assert other.data[kind] != again.data[kind], "a report of other options takes no place of another"
        assert Path(again.data[kind]).exists()


def test_a_lerobot_folder_has_no_units_unless_they_are_said(patched: None, tmp_path: Path):
    folder = write_lerobot(tmp_path / "theirs")
    (row,) = of_files(tmp_path / "store", folder, "binning:bins=8").data["tokenizers"]
    assert (row["mm"], row["sensitivity_mm"], row["failed"]) == (None, None, None)
    assert row["squared_error"] > 0
    (row,) = of_files(tmp_path / "store", folder, "binning:bins=8", units="libero_10").data["tokenizers"]
    assert row["mm"]["value"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.npz", "--episodes", "5"], "--episodes chooses among a suite's demonstrations; of files, give those"),
        (["mine.npz", "--stryde", "5"], "there is no option --stryde for files; see cgap tokenizers --help"),
        (["gone.npz"], "gone.npz: there is no such file or folder"),
        (["."], "is no folder of a LeRobot dataset"),
        (["tabletop", "--features", "f.npy"], "--features f.npy: it is for an .npz or a LeRobot folder"),
        (["tabletop", "--suite", "libero_10"], "--suite libero_10: it is for an .npz or a LeRobot folder"),
    ],
)
def test_wrong_files_and_options_are_one_clear_line(
    words: list[str],
    message: str,
    patched: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    write_arrays(tmp_path / "mine.npz", arrays(60))
    monkeypatch.chdir(tmp_path)
    assert main(["tokenizers", *words, "--store", str(tmp_path / "store")]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokenizer", "oatt"], "tokenizers has no kind 'oatt'; did you mean 'oat'?"),
        (["--tokenizer", "oat:tokkens=4"], "Oat has no field 'tokkens'; did you mean 'tokens'?"),
        (["--tokenizer", "oat:tokens"], "oat:tokens: expected oat:field=value,field=value, got 'tokens'"),
        (["--tokenizer", "oat:tokens=many"], "tokens: expected int, got 'many'"),
        (
            ["--episodes", "9"],
            "got 9 demonstrations of each task: every tenth is held out and measured on",
        ),
        (["--sise", "3"], "Tabletop has no field 'sise'"),
    ],
)
def test_what_is_typed_wrong_is_refused_before_anything_runs(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["tokenizers", "tabletop", "--store", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_settings_keep_their_commas():
    assert typed.part("tokenizers", "oat:levels=(5,5,3),tokens=4") == Oat.small().replace(levels=(5, 5, 3), tokens=4)


def test_a_part_that_needs_a_file_is_typed_with_it(patched: None):
    assert typed.part("tokenizers", "private:file=here.json") == Private("here.json")
    with pytest.raises(ValueError, match="Private needs file"):
        typed.part("tokenizers", "private")
