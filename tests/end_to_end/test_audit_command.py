"""`cgap audit` at the shell, on small datasets of every format: the answer, the page, and what is typed wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from browser import DARK, look
from compression_gap import plugins
from compression_gap.cli import main
from compression_gap.commands import Answer, Asked, Selection, Source, audit
from compression_gap.commands.audit_plan import BUDGETS
from compression_gap.data.split import TEST, TRAIN
from compression_gap.measures import room
from compression_gap.measures.contrastive import Contrast
from compression_gap.measures.encoder_probe import Probing
from compression_gap.measures.quantity import IGNORED
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.job import Context
from compression_gap.pipeline.jobs import AuditHead, GripperBits
from compression_gap.pipeline.jobs.audited import Audited
from compression_gap.store import Store, read_job
from compression_gap.verdict.head_learning import HeadTraining
from crashing_tokenizers import Broken, Moody
from datasets import NAMES, STEPS, arrays, motion, write_arrays, write_lerobot, write_libero
from recorded import run_here

PLAN = import_module("compression_gap.commands.audit_plan")
COMMAND = import_module("compression_gap.commands.audit")
HEADS = import_module("compression_gap.pipeline.jobs.audit_heads")
TINY = HeadTraining(steps=8, batch=16, width=8, seeds=(0,), fractions=(0.5, 1.0), judged=100)
SMALL = {name: replace(budget, heads=TINY, regression=TINY, training_steps=4) for name, budget in BUDGETS.items()}
PROBING = Probing(steps=8, batch=16, width=16, seeds=(0,), hastes=(0.0,))
GRIPPER = TokenProbing(steps=8, batch=16, width=8, seeds=(0,), fractions=(0.5, 1.0))
CONTRAST = Contrast(steps=8, batch=16, width=8)
CODES = ("binning:bins=5", "fast")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets of seconds, in this process."""
    probes = {"probing": PROBING, "gripper": GRIPPER, "contrast": CONTRAST}
    probing = {
        name: replace(one, **{field: getattr(one, field) and probe for field, probe in probes.items()})
        for name, one in SMALL.items()
    }
    monkeypatch.setattr(COMMAND, "BUDGETS", probing)
    for module in (COMMAND, import_module("compression_gap.commands.audit_data")):
        monkeypatch.setattr(module, "finish", lambda jobs, store, workers, device, quiet: run_here(jobs, store))


def answer(root: Path, *typed: str | Path, budget: str = "2m", names: tuple[str, ...] = CODES, **source: Any) -> Answer:
    which = (source.pop("tasks", None), source.pop("episodes", 60), "fixed", source.pop("leaves", {}))
    chosen = Selection(str(typed[0]), *which)
    given = {"features": (), "encoders": (), "units": None} | source
    asked = Asked(Source([str(word) for word in typed], chosen, **given), names, budget, 8, 4)
    return audit(asked, root, 1, "cpu", quiet=True)


def told(found: Answer) -> list[str]:
    """The lines at the shell."""
    console = Console(file=io.StringIO(), width=200, highlight=False)
    found.show(console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


FORMATS: dict[str, Callable[[Path], Path]] = {
    "arrays": lambda folder: write_arrays(folder / "own.npz", arrays(60)),
    "lerobot v3.0": lambda folder: write_lerobot(folder / "set", "v3.0"),
    "lerobot v2.1": lambda folder: write_lerobot(folder / "set", "v2.1"),
    "libero": lambda folder: write_libero(folder / "stove_demo.hdf5"),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_audited(form: str, tmp_path: Path):
    found = answer(tmp_path / "store", FORMATS[form](tmp_path))
    data = found.data
    assert not found.failed
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["demonstrations"], data["test_demonstrations"]) == (60, 8)
    assert data["held"]["kind"] == "upper bound"
    assert data["held"]["low"] < data["held"]["value"] < data["held"]["high"]
    assert [row["name"] for row in data["codes"]] == list(CODES)
    has_features = form == "arrays"
    assert [row["arm"] for row in data["arms"]] == [*(["features"] if has_features else []), "known"] + (
        ["state"] if form in ("arrays", "libero") else []
    )
    in_mm = form in ("arrays", "libero")
    assert bool(data["codes"][0]["mm"]) == in_mm
    for head in (*data["continuous"], *data["codes"][0]["heads"]):
        assert set(head["aims"]) == ({"closes"} if in_mm else set())
    assert data["verdicts"][0]["code"] == CODES[0]
    lines = told(found)
    assert len(lines) <= 40
    assert max(map(len, lines[:-1])) <= 120
    assert lines[-1] == f"report: {data['report']}"
    page = Path(data["report"]).read_text("utf-8")
    assert "http" not in page.replace("http://www.w3.org", "")
    for words in ("upper bound", "estimate", "Left out by the budget of 2m", f"noise of {data['sigma']}"):
        assert words in page


def quantities(told: Any) -> list[dict[str, Any]]:
    """Every number of the answer that has a unit."""
    if isinstance(told, dict):
        own = [told] if {"value", "kind", "unit"} <= set(told) else []
        return own + [one for value in told.values() for one in quantities(value)]
    return [one for value in told for one in quantities(value)] if isinstance(told, list) else []


def test_every_number_says_what_it_is_and_larger_budgets_add_to_it(tmp_path: Path):
    path = write_arrays(tmp_path / "own.npz", arrays(60))
    short, long = (answer(tmp_path / "store", path, budget=budget).data for budget in ("2m", "10m"))
    found = quantities(long)
    assert len(found) > 40
    assert {one["kind"] for one in found} == {"upper bound", "lower bound", "estimate"}
    assert all(one["value"] is not None or one["note"] for one in found)
    assert {row["arm"] for row in long["arms"]} - {row["arm"] for row in short["arms"]} == {"shuffled"}
    assert [row["denoised"] for row in short["arms"]] == [None, None, None]
    assert all(row["denoised"]["kind"] == "estimate" for row in long["arms"])
    assert (short["gripper"], {row["gripper"] is row["certified"] is None for row in short["arms"]}) == (None, {True})
    assert (long["gripper"]["kind"], long["gripper"]["value"] > 0) == ("upper bound", True)
    assert all(row["gripper"]["kind"] == "estimate" for row in long["arms"])
    certified = {row["arm"]: row["certified"] for row in long["arms"]}
    assert certified.pop("shuffled") is None
    assert {one["kind"] for one in certified.values()} == {"lower bound"}
    assert (len(short["denoised_curve"]), len(long["denoised_curve"])) == (0, 80)
    assert long["codes"][0]["needed"]["value"] <= short["codes"][0]["needed"]["value"]
    assert len(short["left_out"]) > len(long["left_out"]) > 0
    assert short["horizon"] == 8


def test_features_tell_the_goal_and_shuffled_ones_nothing(tmp_path: Path):
    data = answer(
        tmp_path / "store", write_arrays(tmp_path / "own.npz", arrays(60)), budget="10m", names=CODES[:1]
    ).data
    beyond = {row["arm"]: row["beyond"] for row in data["arms"]}
    assert beyond["features"]["low"] > 3
    assert beyond["state"]["value"] > beyond["features"]["value"]
    assert beyond["shuffled"]["note"] == IGNORED or abs(beyond["shuffled"]["value"]) < 0.5
    denoised = {row["arm"]: row["denoised_beyond"] for row in data["arms"]}
    assert denoised["shuffled"]["value"] is None
    assert denoised["shuffled"]["note"].startswith("ignored")
    assert denoised["state"]["value"] > 0


def test_what_was_measured_is_not_measured_again(tmp_path: Path):
    path, root = write_arrays(tmp_path / "alpha.npz", arrays(60)), tmp_path / "store"
    first = answer(root, path).data
    page = Path(first["report"]).read_bytes()
    results = {one: one.stat().st_mtime_ns for one in root.glob("*/*/provenance.json")}
    moved = path.rename(tmp_path / "omega.npz")
    again = answer(root, moved).data
    assert {one: one.stat().st_mtime_ns for one in root.glob("*/*/provenance.json")} == results
    assert again["codes"] == first["codes"]
    assert Path(again["report"]).read_bytes() == page.replace(b"alpha", b"omega")


def test_a_changed_file_is_another_dataset(tmp_path: Path):
    fields, root = arrays(60), tmp_path / "store"
    path = write_arrays(tmp_path / "own.npz", fields)
    first = answer(root, path, names=CODES[:1]).data
    fields["action"][:, 0] *= 2.0
    again = answer(root, write_arrays(path, fields), names=CODES[:1]).data
    assert again["codes"][0]["mm"]["value"] > 1.2 * first["codes"][0]["mm"]["value"]


def test_datasets_of_one_name_have_pages_of_their_own(tmp_path: Path):
    pages = set()
    for seed, folder in enumerate(("one", "other")):
        (tmp_path / folder).mkdir()
        fields = {**arrays(60), "action": motion(60, seed=seed)[0]}
        path = write_arrays(tmp_path / folder / "own.npz", fields)
        pages |= {answer(tmp_path / "store", path, names=CODES[:1]).data["report"] for _ in range(2)}
    assert len(pages) == 2
    assert all(Path(page).name.startswith("audit-own-") for page in pages)


def test_a_task_that_one_demonstration_has_alone_is_not_told(tmp_path: Path):
    plain, named = write_arrays(tmp_path / "plain.npz", arrays()), {**arrays(), "task": np.arange(60)}
    found = [answer(tmp_path / "store", file).data for file in (plain, write_arrays(tmp_path / "named.npz", named))]
    tells = [next(row for row in data["arms"] if row["arm"] == "features")["beyond"]["value"] for data in found]
    assert tells[1] > 0.8 * tells[0]


def test_features_apart_and_a_candidate_are_compared(tmp_path: Path):
    fields = arrays(60)
    state, seen = fields.pop("state"), fields.pop("features")
    for name, array in {"own": seen, "better": state}.items():
        np.save(tmp_path / f"{name}.npy", array)
    path = write_arrays(tmp_path / "own.npz", fields)
    files = (tmp_path / "own.npy", tmp_path / "better.npy")
    data = answer(tmp_path / "store", path, features=files, names=CODES[:1]).data
    assert [row["arm"] for row in data["arms"]] == ["features", "candidate", "known"]
    upgrade = data["verdicts"][0]["upgrades"][0]
    assert upgrade["name"] == "a better encoder (the candidate's features)"
    assert upgrade["gain"]["value"] is not None
    with pytest.raises(ValueError, match="expected at most two"):
        answer(tmp_path / "store", path, features=(*files, files[0]))


def test_features_beside_a_file_that_has_some_are_a_candidate(tmp_path: Path):
    np.save(tmp_path / "bigger.npy", arrays(60)["state"])
    path = write_arrays(tmp_path / "own.npz", arrays(60))
    data = answer(tmp_path / "store", path, features=(tmp_path / "bigger.npy",), names=CODES[:1]).data
    tells = {row["arm"]: row["told"]["value"] for row in data["arms"]}
    assert list(tells) == ["features", "candidate", "known", "state"]
    assert tells["candidate"] == tells["state"] > tells["features"]
    (code,) = data["codes"]
    own, better, state = code["heads"]
    assert (own["more"], better["more"]) == (None, state["more"])
    assert better["more"]["value"] == pytest.approx(own["left"]["value"] - better["left"]["value"])
    with pytest.raises(ValueError, match=r"expected at most two sets of features, .* got 3; leave away --features"):
        answer(tmp_path / "store", path, features=(tmp_path / "bigger.npy",) * 2)


def test_a_candidate_that_is_the_own_encoder_says_nothing_about_others(tmp_path: Path):
    fields = {name: value for name, value in arrays(60).items() if name != "state"}
    path = write_arrays(tmp_path / "own.npz", {**fields, "candidate": fields["features"].astype(np.float64)})
    for row in answer(tmp_path / "store", path, names=CODES[:1]).data["verdicts"]:
        assert row["label"] == "undetermined"
        assert "those of the policy's own encoder" in row["sentence"]
        assert row["sentence"].endswith("which says nothing about other encoders")
        assert row["upgrades"][0]["gain"]["value"] is None
    with_state = write_arrays(tmp_path / "state.npz", {**arrays(60), "candidate": fields["features"]})
    row = answer(tmp_path / "store", with_state, names=CODES[:1]).data["verdicts"][0]
    assert row["upgrades"][0]["name"] == "a better encoder (the true state)"
    assert "which says nothing about other encoders" in row["sentence"]


def test_a_candidate_that_is_no_better_says_nothing_about_others(tmp_path: Path):
    fields = arrays(60)
    worse = np.random.default_rng(3).normal(size=fields["features"].shape)
    path = write_arrays(tmp_path / "own.npz", {**fields, "candidate": worse})
    row = answer(tmp_path / "store", path, names=CODES[:1]).data["verdicts"][-1]
    assert row["upgrades"][0]["chance"] < 0.25
    assert [one["name"] for one in row["upgrades"]] == [
        "a better encoder (the candidate's features)",
        "a better encoder (the true state)",
        "twice the demonstrations",
    ]
    assert row["sentence"].endswith("not better than the policy's own, so a better one is judged by the true state")
    unseen = {name: value for name, value in fields.items() if name != "state"}
    path = write_arrays(tmp_path / "unseen.npz", {**unseen, "candidate": worse})
    row = answer(tmp_path / "store", path, names=CODES[:1]).data["verdicts"][-1]
    assert row["sentence"].endswith("not better than the policy's own, which says nothing about other encoders")


def test_features_that_tell_nothing_leave_the_verdict_open(tmp_path: Path):
    rng = np.random.default_rng(4)
    fields = {"action": motion(60)[0], "episode": np.repeat(np.arange(60), STEPS)}
    way = np.repeat(np.where(np.arange(60) % 2, 1.0, -1.0)[:, None], STEPS, axis=0)  # which of two, nobody sees
    fields["action"][:, :6] = way + 0.05 * rng.normal(size=(60 * STEPS, 6))
    path = write_arrays(tmp_path / "own.npz", {**fields, "features": rng.normal(size=(60 * STEPS, 3))})
    for row in answer(tmp_path / "store", path, names=CODES[:1]).data["verdicts"]:
        assert row["label"] == "undetermined"
        assert "one who knows nothing and executes the mean action" in row["sentence"]
        assert "features that tell more, the true state" in row["settle"]


def test_a_suite_lends_its_units(tmp_path: Path):
    path = write_lerobot(tmp_path / "set", "v3.0")
    data = answer(tmp_path / "store", path, names=CODES[:1], units="tabletop").data
    assert data["codes"][0]["mm"]["unit"] == "mm"
    assert data["notes"][-1] == "actions are taken to be tabletop's: its units and grippers"
    with pytest.raises(ValueError, match="suites has no kind 'tabeltop'; did you mean 'tabletop'"):
        answer(tmp_path / "store", path, units="tabeltop")


SEEING = "supervised:steps=4,channels=(4,8),keypoints=4,width=8"


@pytest.mark.parametrize("encoders", [(), ("channel:sigma=5",), (SEEING,), ("channel:sigma=5", SEEING)])
def test_a_suite_is_audited_with_none_one_and_two_encoders(encoders: tuple[str, ...], tmp_path: Path):
    chosen = {"leaves": {"image_size": "16"}, "tasks": [0], "episodes": 56}
    found = answer(tmp_path, "tabletop", names=CODES[:1], encoders=encoders, **chosen)
    assert not found.failed
    arms = [row["arm"] for row in found.data["arms"]]
    assert arms == [*("features", "candidate")[: len(encoders)], "known", "state"]
    for encoder in encoders:
        assert f"--encoder '{encoder}'" in found.data["command"] or f"--encoder {encoder}" in found.data["command"]
    assert found.data["codes"][0]["mm"]["unit"] == "mm"
    assert found.data["command"].startswith("cgap audit tabletop --tasks 0 --episodes 56 --initial-states fixed")
    assert "gripper (-1 opens, +1 closes)" in found.data["actions_left_out"]


def test_a_better_encoder_is_the_candidate_that_is_typed(tmp_path: Path):
    encoders = ("channel:sigma=40", "channel:sigma=1")
    data = answer(tmp_path, "tabletop", names=CODES[:1], encoders=encoders, tasks=[0], episodes=112).data
    own, candidate, *_ = data["arms"]
    assert candidate["beyond"]["low"] > own["beyond"]["high"]
    assert data["verdicts"][-1]["upgrades"][0]["name"] == "a better encoder (the candidate's features)"


@pytest.mark.parametrize(
    ("encoders", "complaint"),
    [
        (["channel:sigma=5"] * 2, "is the same as channel:sigma=5, so nothing is compared"),
        (["channel:sigma=5", "channel:sigma=4", "state"], "--encoder state: expected at most two"),
        (["channel:sigma=5", "convnet"], "is trained along with a policy"),
    ],
)
def test_encoders_that_cannot_be_compared_are_refused(encoders: list[str], complaint: str, tmp_path: Path):
    with pytest.raises(ValueError, match=complaint):
        answer(tmp_path, "tabletop", names=CODES[:1], encoders=encoders, tasks=[0], episodes=56)


def test_encoders_are_shown_the_pictures_of_a_file(tmp_path: Path):
    path = write_libero(tmp_path / "stove_demo.hdf5", pictures=32)
    store, own = tmp_path / "store", "random_conv:channels=(4, 8),keypoints=4,width=8"
    data = answer(store, path, names=CODES[:1], encoders=[own, own.replace("width=8", "width=6")]).data
    assert [row["arm"] for row in data["arms"]] == ["features", "candidate", "known", "state"]
    (kept,), (other,) = (store.glob(f"file_dataset/*/{name}.npy") for name in ("features", "candidate"))
    assert np.load(other).shape[1] != np.load(kept).shape[1]
    features = np.load(kept).reshape(60, STEPS - 1, -1)  # the first action of each is left away
    looked = np.arange(STEPS - 1) % 4 == 0
    assert np.isnan(features[:, ~looked]).all()
    first = features[:, 0]
    np.testing.assert_allclose(features[:, looked], np.repeat(first[:, None], looked.sum(), axis=1), atol=1e-5)
    assert len(np.unique(first.round(4), axis=0)) > 30  # a bright square stands where the goal of a demonstration is
    with pytest.raises(ValueError, match="expected one that reads pictures as it is"):
        answer(tmp_path / "store", path, encoders=["state"])


def test_few_demonstrations_get_no_interval_and_no_verdict(tmp_path: Path):
    found = answer(tmp_path / "store", write_arrays(tmp_path / "own.npz", arrays(20)), names=CODES[:1])
    assert found.data["held"]["low"] is None
    assert [row["label"] for row in found.data["verdicts"]] == ["undetermined", "undetermined"]
    assert (
        "too little data: 2 demonstrations to test on, at least 8 are needed" in found.data["verdicts"][0]["sentence"]
    )
    assert any("no interval" in line for line in told(found))


def test_few_demonstrations_are_tested_on_in_turn_by_heads_and_codes_that_were_not_fitted_on_them(tmp_path: Path):
    store = Store(tmp_path / "store")
    found = answer(store.root, write_arrays(tmp_path / "own.npz", arrays(45)), names=CODES[:1])
    assert found.data["divisions"] == 5
    assert any(
        "6 demonstrations that nothing was fitted on; policies on 30, in 5 divisions" in line for line in told(found)
    )
    assert not any("too little data" in row["sentence"] for row in found.data["verdicts"])
    assert "intervals: 95 %, for other demonstrations; of bits no interval: 6 demonstrations" in " ".join(
        " ".join(told(found)).split()
    )
    heads = [job for folder in store.folders() if isinstance(job := read_job(folder), AuditHead) and job.tokenizers]
    assert heads
    for head in heads:
        assert [one.turn for one in head.chunkings] == [0, 1, 2, 3, 4]
        assert [one.chunking for one in head.tokenizers] == list(head.chunkings)
        divided = [Audited.of(head.dataset, chunking, store) for chunking in head.chunkings]
        executed = head.load(store)
        tested = [one.windows.rows(TEST) for one in divided]
        np.testing.assert_array_equal(executed.rows, np.concatenate(tested))
        np.testing.assert_array_equal(executed.demonstration, divided[0].windows.rank[executed.rows])
        assert len(np.unique(executed.demonstration)) == 30
        assert all(torch.equal(one.scaled, divided[0].scaled) for one in divided), "errors have one unit"
        np.testing.assert_array_equal(executed.division, np.repeat(range(5), [len(one) for one in tested]))
        for number, (one, rows) in enumerate(zip(divided, tested, strict=True)):
            own = executed.division == number
            trained = one.scaled[one.windows.rows(TRAIN)].double().mean(dim=0)
            nothing = (one.scaled[rows].double() - trained).square().mean(dim=1)
            np.testing.assert_allclose(head.nothing(store)[own], nothing)
            code = head.tokenizers[number].load(store)
            back = code.decode(code.encode(torch.from_numpy(one.chunk[rows]))).chunk
            read = (one.scale(back).flatten(1) - one.scaled[rows]).double().square().mean(dim=1)
            np.testing.assert_allclose(head.reconstruction(store)[own], read, atol=1e-6)


def test_an_audit_killed_in_its_second_division_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_arrays(tmp_path / "own.npz", arrays(45))
    whole = answer(tmp_path / "whole", path, names=CODES[:1]).data
    retrain, calls = HEADS.retrain_heads, []

    def killed(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return retrain(*args, **kwargs)

    monkeypatch.setattr(HEADS, "retrain_heads", killed)
    with pytest.raises(KeyboardInterrupt):
        answer(tmp_path / "store", path, names=CODES[:1])
    again = answer(tmp_path / "store", path, names=CODES[:1]).data
    assert [again[name] for name in ("verdicts", "codes", "continuous")] == [
        whole[name] for name in ("verdicts", "codes", "continuous")
    ]


@pytest.mark.parametrize(
    ("steps", "divisions", "each"), [(1600, 1, 1600), (1600, 2, 800), (1600, 7, 300), (400, 4, 300), (200, 4, 200)]
)
def test_divisions_share_a_budgets_steps(steps: int, divisions: int, each: int):
    assert PLAN.shared(steps, divisions) == each


def test_the_fewest_demonstrations_are_audited_at_any_budget(tmp_path: Path):
    found = answer(tmp_path / "store", write_arrays(tmp_path / "own.npz", arrays(7)), names=CODES[:1], budget="10m")
    assert not found.failed
    assert found.data["arms"][0]["denoised"]["note"].startswith("no interval: 1 demonstration")


def test_what_fails_beside_the_codes_is_told_on_page_and_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(job: GripperBits, context: Context) -> None:
        raise ValueError("the gripper <fell off>")

    monkeypatch.setattr(GripperBits, "run", fail)
    found = answer(tmp_path / "store", write_arrays(tmp_path / "own.npz", arrays(60)), names=CODES[:1], budget="10m")
    assert (found.failed, found.data["failed"]) == (True, 1)
    assert found.data["failures"] == ["bits of gripper commands: ValueError: the gripper <fell off>"]
    assert "bits of gripper commands: ValueError: the gripper <fell off>" in told(found)
    assert "the gripper &lt;fell off&gt;" in Path(found.data["report"]).read_text("utf-8")


def test_a_policy_whose_own_head_failed_gets_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = AuditHead.run

    def fail(job: AuditHead, context: Context) -> None:
        if job.arm == "features":
            raise ValueError("too wide")
        run(job, context)

    monkeypatch.setattr(AuditHead, "run", fail)
    found = answer(tmp_path / "store", write_arrays(tmp_path / "own.npz", arrays(60)), names=CODES[:1])
    assert found.failed
    assert found.data["verdicts"] == []


def test_a_tokenizer_that_crashes_is_told_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for part in (Moody, Broken):
        monkeypatch.setitem(plugins.BUILT_IN["tokenizers"], part.kind, "never imported")
    find = plugins.find
    own = {"moody": Moody, "broken": Broken}
    monkeypatch.setattr(plugins, "find", lambda family, kind: own[kind] if kind in own else find(family, kind))
    path = write_arrays(tmp_path / "own.npz", arrays(60))
    found = answer(tmp_path / "store", path, names=("broken", "moody", CODES[0]))
    broken, moody, well = found.data["codes"]
    assert found.failed
    assert broken["failed"] == "ZeroDivisionError: nothing fits"
    assert moody["lost"] > 0
    assert moody["error"]["value"] > well["error"]["value"]
    assert [row["code"] for row in found.data["verdicts"]] == ["moody", CODES[0], "no code"]
    assert "broken: ZeroDivisionError: nothing fits" in told(found)
    assert any("moody" in line and "could not be written or read" in line for line in told(found))


def test_a_vocabulary_that_memory_cannot_hold_is_told_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "memory", lambda: 1e8)
    path = write_arrays(tmp_path / "own.npz", arrays(60))
    found = answer(tmp_path / "store", path, names=("binning:bins=60000", CODES[0]))
    assert found.failed
    assert "the vocabulary of 60,000 ids is too large" in found.data["codes"][0]["failed"]
    assert found.data["codes"][0]["error"]["value"] < 1e-4
    assert [row["code"] for row in found.data["verdicts"]] == [CODES[0], "no code"]
    assert any("the vocabulary of 60,000 ids is too large" in line for line in told(found))


@pytest.mark.parametrize("scheme", [1, DARK])
def test_the_page_is_quiet_in_a_browser(scheme: int, tmp_path: Path):
    data = answer(tmp_path / "store", write_arrays(tmp_path / "own.npz", arrays(60))).data
    seen = look(Path(data["report"]).read_text("utf-8"), tmp_path, scheme=scheme)
    assert seen.console == []
    assert seen.bytes > 50_000
    assert (max(seen.first_pixel) < 60) == (scheme == DARK)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.npz"], "gone.npz: there is no such file or folder"),
        (
            ["tabeltop"],
            "no such file or folder: there is no suite 'tabeltop'; did you mean 'tabletop'?",
        ),
        (["own.npz", "--tokenizer", "binnig"], "tokenizers has no kind 'binnig'; did you mean 'binning'?"),
        (["own.npz", "--encoder", "state"], "own.npz has no pictures that are read here; compute its features"),
        (["own.npz", "--horizon", "31"], "the longest has 30; choose a --horizon of at most 30"),
        (["own.npz", "--horizon", "1000000"], "the longest has 30; choose a --horizon of at most 30"),
        (["flat.npz"], "flat.npz, scale: expected sizes above 0, got 0"),
        (["few.npz"], "expected at least 7 demonstrations (5 to fit on, 1 to stop by, 1 to test on), got 3"),
        (["still.npz"], "expected actions that change, got none"),
        (["gap.npz"], "action[7, 1]: expected a number, got nan"),
        (["own.npz", "--features", "short.npy"], "short.npy: expected [1800, F], got [5, 2]"),
        (["copies.npz"], "expected demonstrations that differ, got the same actions in number 1 and 9"),
        (["own.npz", "--feature", "short.npy"], "there is no option --feature for files"),
        (["own.npz", "--tasks", "0"], "--tasks chooses among a suite's demonstrations; of files, give those"),
        (["own.npz", "--episodes", "300"], "--episodes chooses among a suite's demonstrations; of files, give those"),
        (["own.npz", "--initial-states", "fixed"], "--initial-states chooses among a suite's demonstrations"),
        (["own.npz", "--features", "gone.npy"], "gone.npy: there is no such file; give an .npy with a row a step"),
        (["own.npz", "--features", "."], ".: expected a file of features, got a folder; give an .npy with a row"),
        (["own.npz", "--tokenizer", "oat:width=0"], "Oat.width: expected a multiple of head_width 32, got 0"),
        (
            ["own.npz", "--tokenizer", "fast", "--tokenizer", "fast:scale=10.0"],
            "--tokenizer fast:scale=10.0: it is the same as fast, so nothing is compared; leave one away",
        ),
        (["own.npz", "--tokenizer", "binning:bins=10000000"], "Binning.bins: expected 2 to 65536, got 10000000"),
        (["tabletop", "--features", "short.npy"], "it is for files, and tabletop is a suite"),
        (["own.npz", "few.npz"], "expected one .npz, LIBERO's .hdf5 files, or the folder of one LeRobot dataset"),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    write_arrays(tmp_path / "own.npz", arrays(60))
    write_arrays(tmp_path / "few.npz", arrays(3))
    write_arrays(tmp_path / "still.npz", {**arrays(10), "action": np.ones((300, len(NAMES)))})
    gap = arrays(10)
    gap["action"][7, 1] = np.nan
    write_arrays(tmp_path / "gap.npz", gap)
    write_arrays(tmp_path / "flat.npz", {**arrays(10), "scale": np.zeros(len(NAMES))})
    copies = arrays(10)
    copies["action"][9 * STEPS : 10 * STEPS] = copies["action"][STEPS : 2 * STEPS]
    write_arrays(tmp_path / "copies.npz", copies)
    np.save(tmp_path / "short.npy", np.ones((5, 2)))
    assert main(["audit", *words, "--store", "store"]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
