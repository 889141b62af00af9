"""`cgap tolerance` on the built-in suite: what it replays and tells, and what is typed wrong."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
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
from compression_gap.commands import Answer, Selection, TypedChunking, tolerance
from compression_gap.pipeline.jobs import EPISODES, Replay, TrainedTokenizer
from compression_gap.report.sheet import render
from compression_gap.report.tolerance_sheet import limits, sheet
from compression_gap.rollout import Rollouts
from compression_gap.shapes import ChunkShape
from compression_gap.statistics import Outcomes, paired, wilson
from compression_gap.store import Store, read_job
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.binning import Binning, BinningTokenizer
from compression_gap.training import Training
from recorded import run_here

COMMAND = import_module("compression_gap.commands.tolerance")
ROWS = import_module("compression_gap.commands.tolerance_rows")
TOKENIZERS = import_module("compression_gap.commands.coded_data")
OAT = "oat:tokens=2,levels=(5,3),width=8,head_width=8,encoder_layers=1,decoder_layers=1"
SHARES = (0.02, 2.0)
JUDGED = ("test", 10, 4)


@dataclass(frozen=True)
class Unreadable(TokenizerSpec, kind="unreadable"):
    """Writes codes that nobody can read."""

    def build(self, shape: ChunkShape) -> Tokenizer:
        return UnreadableTokenizer(Binning(bins=3), shape)


class UnreadableTokenizer(BinningTokenizer):
    """Raises for every code."""

    def decode(self, tokens: Tokens) -> Decoded:
        raise ArithmeticError("what does it say?")


def strangers(family: str) -> dict[str, Any]:
    """What another package registers."""
    return {"unreadable": SimpleNamespace(load=lambda: Unreadable)} if family == "tokenizers" else {}


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_installed", strangers)
        patch.setattr(COMMAND, "finish", lambda jobs, store, *rest, **more: run_here(jobs, store))
        patch.setattr(COMMAND, "SHARES", SHARES)
        patch.setattr(ROWS, "SHARES", SHARES)
        patch.setattr(TOKENIZERS, "LEARNING", (1, Training(steps=60, batch=64, schedule="cosine")))
        yield


def answer(root: Path, names: tuple[str, ...], chunking: TypedChunking | None = None) -> Answer:
    chosen = Selection("tabletop", [1], 12, "fixed", {"image_size": "16"})
    return tolerance(chosen, names, chunking or TypedChunking(8, 4), JUDGED, root, 1, quiet=True)


@pytest.fixture(scope="module")
def measured(patched: None, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return answer(tmp_path_factory.mktemp("store"), (OAT, "binning:bins=64"))


def rows_of(measured: Answer, group: str) -> list[dict[str, Any]]:
    return [row for row in measured.data["rows"] if row["group"] == group]


def test_every_code_prefix_and_noise_has_its_line(measured: Answer):
    assert not measured.failed
    json.dumps(measured.data, allow_nan=False)
    assert [row["name"] for row in rows_of(measured, OAT)] == ["1 token", "2 tokens, whole"]
    assert [row["name"] for row in rows_of(measured, "binning:bins=64")] == ["56 tokens, whole"]
    assert [row["name"] for row in rows_of(measured, "white noise")] == ["2 % of variance", "200 % of variance"]
    one, whole = rows_of(measured, OAT)
    assert one["nominal_bits"] == pytest.approx(np.log2(15))
    assert whole["nominal_bits"] == pytest.approx(2 * np.log2(15))
    (fine,) = rows_of(measured, "binning:bins=64")
    assert fine["squared_error"] < whole["squared_error"]
    assert fine["closed_loop"]["value"] == 100
    (expert,) = rows_of(measured, "expert")
    assert (expert["closed_loop"]["value"], expert["open_loop"]["value"]) == (100, 100)
    for name in (OAT, "binning:bins=64"):
        assert all(row["gripper"] == 0 for row in rows_of(measured, f"errors of {name}"))
    assert all("open_loop" not in row for row in rows_of(measured, "white noise"))
    faint, loud = rows_of(measured, f"noise like {OAT}")
    assert 0.5 * SHARES[0] < faint["share"] <= 1.05 * SHARES[0], "what is clipped is not executed"
    assert faint["mm"] < loud["mm"]


def test_success_is_that_of_the_replays_and_paired_by_initial_state(measured: Answer):
    store = Store(Path(measured.data["report"]).parents[1])
    jobs = [read_job(folder) for folder in store.folders() if folder.parent.name == "replay"]
    rollouts = Rollouts(*JUDGED)
    expert = pl.read_parquet(store.folder(Replay(Tabletop(image_size=16), None, 8, rollouts, 1)) / EPISODES)
    (job,) = [job for job in jobs if job.prefix == 1 and not job.arm_only]
    assert job.tokenizer.tokenizer.tokens == 2
    coded = pl.read_parquet(store.folder(job) / EPISODES)
    row = rows_of(measured, OAT)[0]
    success = coded["success"].to_numpy()
    assert row["closed_loop"]["value"] == 100 * success.mean()
    assert row["closed_loop"]["low"] == wilson(Outcomes.from_episodes(success[None])).low
    assert row["closed_loop_change"]["low"] == paired(expert["success"].to_numpy(), success).low
    assert measured.data["initial_states"] == coded["initial_state"].to_list()
    assert len(set(measured.data["initial_states"])) == 10


def test_demonstrations_that_nothing_was_fitted_on_are_replayed_open_loop(measured: Answer):
    store = Store(Path(measured.data["report"]).parents[1])
    jobs = [read_job(folder) for folder in store.folders() if folder.parent.name == "open_loop"]
    assert {(job.demonstrations.first, job.demonstrations.attempts) for job in jobs} == {(12, 10)}
    row = rows_of(measured, OAT)[1]
    assert row["open_loop_episodes"] <= 10
    assert row["open_loop_change"]["value"] == pytest.approx(row["open_loop"]["value"] - 100)


def test_every_shape_has_a_curve_at_every_tolerance(measured: Answer):
    curves = {curve["name"]: curve for curve in measured.data["curves"]}
    noises = ["white noise", f"noise like {OAT}", "noise like binning:bins=64"]
    assert list(curves) == [f"errors of {OAT}", "errors of binning:bins=64", *noises]
    white = curves["white noise"]
    assert [row["tolerance_mm"] for row in white["tolerances"]] == [None, *Tabletop().tolerances_mm]
    found, loud = white["tolerances"][0], rows_of(measured, "white noise")[1]
    for axis in ("mm", "squared_error"):
        assert 0 < found[axis]["low"] <= found[axis]["value"] <= found[axis]["high"] <= loud[axis]
    assert found["mm"]["threshold"] == 95
    assert white["points"][0]["distortion"] == 0
    assert white["points"][0]["measured"] == 100
    bits = found["bits"]
    assert 0 < bits["low"] <= bits["value"] <= bits["high"]
    assert bits["kind"] == "upper bound"
    fine = curves["errors of binning:bins=64"]["tolerances"][0]["mm"]
    assert (fine["value"], fine["where"]) == (None, "beyond")
    assert curves["errors of binning:bins=64"]["tolerances"][0]["bits"] is None
    assert fine["note"] == "success has not lost 5 points at the largest distortion"


def test_the_table_and_the_page_say_what_was_measured(measured: Answer):
    console = Console(file=io.StringIO(), width=200, highlight=False)
    measured.show(console)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    for words in ("2 tokens, whole", "white noise: success has lost 5 points at ", "a reference and not a ceiling"):
        assert words in said
    assert "binning:bins=64: success has not lost 5 points at the largest distortion" in said
    page = Path(measured.data["report"]).read_text("utf-8")
    assert page.count("<svg") > 1
    assert "http" not in page.replace("http://www.w3.org", "")
    for words in (
        "prefers-color-scheme: dark",
        "Success is an error of at most 8 mm.",
        "succeed again without a code",
        "--protocol test --rollouts 10 --execute 4 --horizon 8 --stride 4",
        "tolerance, white noise",
        "Not determined",
    ):
        assert words in page.replace("&#39;", "'")
    numbers = pl.read_parquet(measured.data["parquet"])
    assert numbers.height == len(measured.data["rows"])
    assert numbers["closed_loop_value"].null_count() == 0


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_page_can_be_read_in_a_browser_and_on_a_phone(scheme: int, measured: Answer, tmp_path: Path):
    look_legible(Path(measured.data["report"]).read_text("utf-8"), tmp_path, scheme)


def test_again_it_does_nothing_and_writes_the_same_page(measured: Answer):
    page = Path(measured.data["report"])
    root, before = page.parents[1], page.read_bytes()
    done = {path: path.stat().st_mtime_ns for path in root.glob("*/*/provenance.json")}
    answer(root, (OAT, "binning:bins=64"))
    assert {path: path.stat().st_mtime_ns for path in root.glob("*/*/provenance.json")} == done
    assert page.read_bytes() == before


def trained(root: Path, kind: str) -> Path:
    jobs = [read_job(folder) for folder in (root / "trained_tokenizer").iterdir()]
    (job,) = [job for job in jobs if isinstance(job, TrainedTokenizer) and job.tokenizer.kind == kind]
    return Store(root).folder(job)


def test_a_tokenizer_that_is_trained_is_measured_as_it_is(measured: Answer):
    root = Path(measured.data["report"]).parents[1]
    folder = trained(root, "oat")
    again = answer(root, (str(folder),), TypedChunking(None, None))
    name = f"oat {folder.name[:6]}"
    assert (again.data["horizon"], again.data["stride"]) == (8, 4)
    mine = [{**row, "group": ""} for row in rows_of(again, name)]
    assert mine == [{**row, "group": ""} for row in rows_of(measured, OAT)]
    answer(root, (OAT, "binning:bins=64"))  # puts the page back


@pytest.mark.parametrize(
    ("name", "chunking", "message"),
    [
        ("oat", TypedChunking(16, None), "expected chunks of 16 actions at every 4 steps"),
        ("oat", TypedChunking(None, 2), "of the same demonstrations for all tokenizers; got 8 and 4"),
    ],
)
def test_tokenizers_share_their_chunks(measured: Answer, name: str, chunking: TypedChunking, message: str):
    root = Path(measured.data["report"]).parents[1]
    with pytest.raises(ValueError, match=message):
        answer(root, (str(trained(root, name)),), chunking)


def test_a_tokenizer_of_other_tasks_is_refused(measured: Answer):
    root = Path(measured.data["report"]).parents[1]
    chosen = Selection("tabletop", [0, 1], 12, "fixed", {"image_size": "16"})
    with pytest.raises(ValueError, match="was trained on other tasks than are replayed"):
        tolerance(chosen, (str(trained(root, "oat")),), TypedChunking(8, 4), JUDGED, root, 1, quiet=True)


def test_a_folder_of_another_store_or_of_something_else_is_refused(measured: Answer, tmp_path: Path):
    root = Path(measured.data["report"]).parents[1]
    with pytest.raises(ValueError, match=f"is not in the store {tmp_path}: give --store {root}"):
        answer(tmp_path, (str(trained(root, "oat")),))
    with pytest.raises(ValueError, match="holds a demonstrations; give a folder below trained_tokenizer"):
        answer(root, (str(next((root / "demonstrations").iterdir())),))


def test_a_code_that_fails_leaves_the_others_alone(patched: None, tmp_path: Path):
    found = answer(tmp_path, ("unreadable",))
    assert found.failed
    json.dumps(found.data, allow_nan=False)
    (row,) = rows_of(found, "unreadable")
    assert row["closed_loop"] is None
    assert all(row["closed_loop"] for row in rows_of(found, "white noise"))
    told = limits(found.data)
    assert "errors of unreadable: not everything that it needs could be replayed" in told
    assert any(words.startswith("white noise: success has lost 5 points at") for words in told)
    page = render(sheet(found.data, "cgap tolerance"))
    assert "Not everything could be measured" in page
    console = Console(file=io.StringIO(), width=120, highlight=False)
    found.show(console)
    assert "what does it say?" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_suite_without_a_curve_is_still_a_page(measured: Answer):
    lost = [
        {**curve, "points": [], "tolerances": [], "note": "the reference fails"} for curve in measured.data["curves"]
    ]
    page = render(sheet({**measured.data, "curves": lost}, "cgap tolerance"))
    assert '<section id="figure">' not in page
    assert "white noise: the reference fails" in page


def test_chunks_that_a_code_cannot_read_are_told(measured: Answer):
    row = {**rows_of(measured, OAT)[0], "group": "picky", "lost": 3}
    said = limits({**measured.data, "rows": [row]})
    assert any(words.startswith(f"picky, 1 token: 3 of {row['chunks']} chunks cannot be written") for words in said)
    assert not [words for words in limits(measured.data) if "cannot be written" in words]


def test_an_expert_that_always_fails_has_no_tolerance(measured: Answer):
    spec = replace(Tabletop(image_size=16), tolerance_mm=0.0)
    rows = pl.DataFrame({"success": [False] * 9, "error_mm": [1.0] * 9, "task": [0] * 9})
    found = ROWS._curve("white noise", rows, [rows], [{"mm": 1.0, "squared_error": 1.0}], spec, None)
    assert "the reference succeeds in 0.0 %, so it cannot lose 5 points" in found["note"]
    assert found["points"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["tabletop", "--episodes", "9"],
            "got 9 demonstrations of each task: every tenth is held out and measured on",
        ),
        (["tabletop", "--tokenizer", "oatt"], "tokenizers has no kind 'oatt'; did you mean 'oat'?"),
        (["tabletop", "--tokenizer", "./nowhere"], "nowhere holds no result of cgap"),
        (["tabletop", "--execute", "17"], "--execute 17: a chunk has only 16 actions"),
        (["tabletop", "--protocol", "tests"], "no protocol 'tests'; did you mean 'test'?"),
        (["tabletop", "--tasks", "7"], "tabletop's tasks are 0 to 2"),
        (["table", "--json"], "there is no suite 'table'; did you mean 'tabletop'?"),
        (["tabletop", "--sise", "3"], "Tabletop has no field 'sise'"),
        (["libero_goal", "--tasks", "0"], "there is no scripted expert for libero_goal task 0"),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["tolerance", *words, "--store", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
