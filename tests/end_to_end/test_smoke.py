"""The whole program at the shell: run, run again, stop in every way, break things, and look at the report."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from torch import Tensor

from browser import look
from compression_gap import Agent, plugins, studies
from compression_gap.cli import main
from compression_gap.pipeline.tables import Tables
from compression_gap.report.page import render
from compression_gap.store import Store, read_job, verify
from compression_gap.suites.tabletop.suite import Tabletop

CGAP = Path(sys.executable).with_name("cgap")
TABLE = Tabletop().build()

BROKEN_STUDY = '''"""A study with a policy of its own, which cannot be built."""

from dataclasses import dataclass, replace

from compression_gap import studies, Method, Training
from compression_gap.policies.base import PolicySpec


@dataclass(frozen=True)
class Broken(PolicySpec, kind="broken"):
    def build(self, shape, condition_width, condition_tokens, tokenizer):
        raise RuntimeError("this policy is broken")


def grid():
    smoke = studies.find("smoke")
    broken = Method("Broken", Broken(), Training(2))
    sights = tuple(sight for sight in smoke.sights if sight.name != "weak")
    return replace(smoke, name="mine", methods=(smoke.methods[0], broken), sights=sights, weak="strong", strong="state")
'''


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A store in which the smoke study has run without being disturbed, and what it printed."""
    store = tmp_path_factory.mktemp("finished") / "store"
    process = start(store)
    out, _ = process.communicate()
    assert process.returncode == 0
    return store, json.loads(out)


def start(store: Path) -> subprocess.Popen[str]:
    """The smoke study in a process group of its own, as a shell would start it."""
    command = [CGAP, "run", "smoke", "--json", "--workers", "2", "--store", store]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def say(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, Any]:
    """Exit code and JSON of a command in this process."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def results(store: Path) -> dict[str, bytes]:
    """Everything that a job wrote; what it was made with and how long it took may differ."""
    found = (path for folder in Store(store).folders() for path in folder.rglob("*") if path.name != "provenance.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in found}


def test_a_run_ends_with_one_object_that_has_the_answer(finished: tuple[Path, dict[str, Any]]):
    store, said = finished
    assert said["grid"] == "smoke"
    assert said["failed"] == 0
    assert said["seconds"] > 0
    assert Path(said["report"]) == store / "reports" / "smoke.html"
    assert said["verdict_words"]
    tolerances = [row["tolerance_mm"] for row in said["interaction"] if row["discrete"] == "OAT 4x81 (greedy)"]
    assert len(tolerances) == len(set(tolerances)) > 3
    for row in said["interaction"]:
        assert row["low"] <= row["estimate"] <= row["high"]
        assert row["unit"] == "points"
        assert row["primary"] == (row["tolerance_mm"] == 8.0)
    arms = {(cell["method"], cell["encoder"]) for cell in said["cells"]}
    methods = ("Diffusion", "OAT 4x81 (greedy)", "OAT 4x81 (sampled)")
    assert arms == {(method, sight) for method in methods for sight in ("weak", "strong", "state")}


def test_every_kind_of_job_has_run(finished: tuple[Path, dict[str, Any]]):
    elsewhere = {"recording", "recorded_demonstrations", "libero_hdf5", "videos"}  # run by tests of their own
    elsewhere |= {"action_denoisers", "encoder_quality"}  # of `cgap encoders`
    elsewhere |= {"diffusion_rate", "tokenizer_quality", "modelability"}  # of `cgap tokenizers`
    elsewhere |= {"chunk_noise", "noise_distortion", "code_distortion", "noisy_replay", "open_loop"}  # `cgap tolerance`
    elsewhere |= {"file_dataset", "suite_dataset", "action_ledger", "audit_tokenizer", "code_audit"}  # of audits
    elsewhere |= {"audit_denoisers", "arm_bits", "audit_head", "gripper_bits", "certified_bits"}
    ran = {folder.parent.name for folder in Store(finished[0]).folders()}
    assert ran == set(plugins.BUILT_IN["jobs"]) - elsewhere


def test_running_again_runs_nothing(finished: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    store, said = finished
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")}
    code, again = say(capsys, "run", "smoke", "--store", store)
    assert code == 0
    reused = said["jobs"]["done"] - inputs(said)
    assert again["jobs"] == {"done": 0, "reused": reused, "failed": 0, "blocked": 0, "again": 0}
    assert {key: said[key] for key in ("interaction", "cells")} == {key: again[key] for key in ("interaction", "cells")}
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")} == before
    _, forecast = say(capsys, "run", "smoke", "--store", store, "--dry-run")
    assert forecast["totals"]["finished"] == forecast["totals"]["jobs"]


def inputs(said: dict[str, Any]) -> int:
    """How many jobs were run only because others needed them."""
    from compression_gap.pipeline.plan import jobs_of

    return said["jobs"]["done"] - len(jobs_of(studies.find("smoke")))


def test_stopped_by_control_c_and_killed_and_resumed_it_ends_with_the_same_files_to_the_last_bit(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
):
    store = tmp_path / "store"
    process = start(store)
    wait_for(store, 12)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "the same command resumes" in err
    assert "Traceback" not in err

    kept = len(list(Store(store).folders()))
    process = start(store)
    wait_for(store, kept + 12)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert all(verify(folder) for folder in Store(store).folders())

    process = start(store)
    out, _ = process.communicate()
    assert process.returncode == 0
    said = json.loads(out)
    assert 0 < said["jobs"]["done"] < finished[1]["jobs"]["done"] - 20
    assert results(store) == results(finished[0])
    assert Store(store).unfinished() == []


INTERRUPTED = """
import os, signal, sys
from multiprocessing import forkserver
from compression_gap.cli import main

begin, begun = forkserver.connect_to_new_process, []

def begin_and_interrupt(files):
    pipes = begin(files)
    begun.append(pipes)
    if len(begun) == int(sys.argv[2]):
        os.killpg(0, signal.SIGINT)
    return pipes

forkserver.connect_to_new_process = begin_and_interrupt
sys.exit(main(["run", "smoke", "--store", sys.argv[1], "--json"]))
"""


@pytest.mark.parametrize("process", [1, 3])
def test_control_c_while_a_process_begins_is_told_in_one_line_and_leaves_no_process(process: int, tmp_path: Path):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), str(process)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    out, err = run.communicate(timeout=100)  # until the last process that holds its standard error has ended
    assert (run.returncode, out) == (130, "")
    assert err.strip() == "stopped: nothing that was finished is lost, and the same command resumes from here"


def wait_for(store: Path, count: int) -> None:
    """Until so many jobs are finished."""
    give_up = time.monotonic() + 200
    while len(list(Store(store).folders())) < count:
        assert time.monotonic() < give_up, "the run does not get on"
        time.sleep(0.02)


def test_the_report_opens_without_a_word_on_the_console(finished: tuple[Path, dict[str, Any]], tmp_path: Path):
    seen = look(Path(finished[1]["report"]).read_text("utf-8"), tmp_path)
    assert seen.console == []
    assert seen.bytes > 50_000


def test_the_report_can_be_written_elsewhere(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, said = say(capsys, "report", "smoke", "--store", finished[0], "--out", tmp_path / "new" / "page.html")
    assert code == 0
    assert said["cells"] == finished[1]["cells"]
    assert (tmp_path / "new" / "page.html").read_text("utf-8").startswith("<!doctype html>")


def test_one_seed_has_intervals_about_its_checkpoints_and_says_so(finished: tuple[Path, dict[str, Any]]):
    store, said = finished
    one = Tables(replace(studies.find("smoke"), seeds=(0,)), Store(store)).report
    for cell in one.cells:
        for at, (success,) in zip(cell.success, zip(*cell.per_seed, strict=True), strict=True):
            low, high = binomtest(round(success / 100 * cell.episodes), cell.episodes).proportion_ci(method="wilson")
            assert (at.value, at.low, at.high) == pytest.approx((success, 100 * low, 100 * high))
            assert at.over == "these checkpoints only"
    for row in one.ladders:
        assert row.policy_loss.over == "these checkpoints only"
        assert row.bottleneck.reason == "one seed: these checkpoints only"
        assert row.bottleneck.seeds_needed == 3
    page = render(one)
    assert "95 % for these checkpoints only (Wilson)" in page
    assert "Welch" not in page
    assert {number["over"] for cell in said["cells"] for number in cell["success"]} == {"new training seeds"}


def test_the_ladder_of_every_cell_adds_up(finished: tuple[Path, dict[str, Any]]):
    store, said = finished
    content = Tables(studies.find("smoke"), Store(store)).report
    assert [(row.arm, row.encoder) for row in content.ladders] == [
        (arm, sight) for arm in ("Diffusion", "OAT 4x81 (greedy)") for sight in ("weak", "strong", "state")
    ]
    for row in content.ladders:
        lost = row.codebook_loss.value + row.policy_loss.value + row.encoder_loss.value
        assert lost == pytest.approx(row.expert.value - row.policy.value)
        assert row.bottleneck.label == "undetermined", "two seeds are no evidence"
    assert [row["encoder_loss"]["estimate"] for row in said["ladder"]] == [
        row.encoder_loss.value for row in content.ladders
    ]


def test_a_damaged_result_stops_the_run_before_it_begins(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    shutil.copytree(finished[0], store)
    victim = next(store.glob("evaluation/*/episodes.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1])
    assert main(["run", "smoke", "--store", str(store)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("cgap: episodes.parquet had")
    assert f"move it away or delete it, then run again: {victim.parent}" in err
    _, said = say(capsys, "status", "--store", store)
    assert len(said["damaged"]) == 1
    shutil.rmtree(victim.parent)
    code, said = say(capsys, "run", "smoke", "--store", store)
    assert (code, said["jobs"]["done"]) == (0, 1)
    assert results(store) == results(finished[0])


def test_a_failure_is_kept_and_shown_and_the_others_go_on(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    shutil.copytree(finished[0], store)
    (tmp_path / "mine.py").write_text(BROKEN_STUDY)
    code, said = say(capsys, "run", tmp_path / "mine.py", "--store", store)
    assert code == 1
    assert said["jobs"]["failed"] == 4, "two seeds on two sights"
    assert said["jobs"]["blocked"] == 8
    assert {cell["method"] for cell in said["cells"]} == {"Diffusion"}
    assert "4 jobs failed" in " ".join(said["verdict_words"])
    assert "this policy is broken" in Path(said["report"]).read_text("utf-8")
    _, said = say(capsys, "status", "--store", store)
    assert len(said["failures"]) == 4
    assert 'raise RuntimeError("this policy is broken")' in said["failures"][0]["traceback"]
    assert main(["status", "--store", str(store)]) == 0
    assert "this policy is broken" in capsys.readouterr().out


def test_one_cell_can_be_tried_with_other_settings_and_its_agent_judged_again(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    shutil.copytree(finished[0], store)
    words = ("--method", "OAT 4x81", "--sight", "state", "--method.policy.width", "16", "--rollouts.episodes=2")
    code, said = say(capsys, "try", "smoke", "--store", store, "--seed", "5", *words)
    assert code == 0
    assert said["cell"]["method"]["policy"]["width"] == 16
    assert said["cell"]["seed"] == 5
    assert set(said["success"]) == {"greedy", "sampled"}
    row = said["success"]["greedy"][0]
    assert row["low"] <= row["estimate"] <= row["high"]
    assert row["episodes"] == 6

    code, judged = say(capsys, "evaluate", said["agent"], "--episodes", "1", "--decoding", "sampled")
    assert code == 0
    assert judged["success"][0]["episodes"] == 3
    assert set(judged["tasks"]) == {"red", "green", "blue"}
    assert judged["execute"] == 8
    code, filmed = say(capsys, "evaluate", said["agent"], "--episodes", "2", "--videos", "1")
    assert code == 0
    assert [Path(video).stem.rpartition("-")[0] for video in filmed["videos"]] == [
        f"task-{task}-episode-0" for task in range(3)
    ]
    code, shorter = say(capsys, "evaluate", said["agent"], "--episodes", "1", "--execute", "3")
    assert code == 0
    assert shorter["execute"] == 3
    code, other = say(capsys, "evaluate", said["agent"], "--episodes", "2", "--batch", "1")
    assert code == 0
    assert other["success"] == other["as_trained"]  # an episode's end does not depend on those beside it
    for row in other["difference"]:
        assert row["same_initial_states"] == row["episodes"] == 6
        assert row["differing"] == 0
        assert row["low"] < row["estimate"] == 0 < row["high"]
    assert judged["starts_of_demonstrations"] == 0
    code, seen = say(capsys, "evaluate", said["agent"], "--episodes", "1", "--protocol", "demonstrations")
    assert (code, seen["starts_of_demonstrations"]) == (0, 1)
    assert main(["evaluate", said["agent"], "--execute", "99"]) == 2
    assert "--execute: the agent's chunks have" in capsys.readouterr().err
    assert main(["evaluate", said["agent"], "--image_size", "32"]) == 2
    assert "--image_size 32: the agent was trained for other tasks, or other observations" in capsys.readouterr().err


class Robot:
    """What the README calls a robot, on the table."""

    def __init__(self, reads: tuple[str, ...]) -> None:
        self.simulators, self.reads, self.executed = TABLE.simulators(0, 1), reads, 0
        self.simulators.reset(TABLE.initial_states(0, "test", [0]), [0])

    @property
    def done(self) -> bool:
        return self.executed >= TABLE.legend.max_steps or bool(self.simulators.done()[0])

    def observation(self) -> dict[str, np.ndarray]:
        return self.simulators.observe(self.reads)

    def execute(self, actions: Tensor) -> None:
        for action in actions.numpy():
            self.simulators.step(action[None])
            self.executed += 1


@pytest.mark.parametrize("policy", ["diffusion", "autoregressive"])
def test_the_control_loop_of_the_readme_drives_a_robot(finished: tuple[Path, dict[str, Any]], policy: str):
    folders = [path.parent for path in sorted(finished[0].glob("trained_agent/*/agent.json"))]
    folder = next(f for f in folders if read_job(f).agent.policy.kind == policy and read_job(f).features)
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (loop,) = re.findall(r"^```python\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    robot = Robot(Agent.load(folder).reads)
    exec(loop.replace("store/trained_agent/<digest>", str(folder)), {"robot": robot})
    assert robot.done
    assert robot.executed > 0


def test_an_agent_says_what_is_wrong_with_what_it_is_shown(finished: tuple[Path, dict[str, Any]]):
    folders = [path.parent for path in sorted(finished[0].glob("trained_agent/*/agent.json"))]
    agent = Agent.load(next(f for f in folders if read_job(f).agent.encoder.kind == "state"))
    robot = Robot(agent.reads)
    seen = robot.observation()
    with pytest.raises(ValueError, match="has seen nothing: call begin, then observe"):
        agent.plan()
    with pytest.raises(ValueError, match="the agent knows tasks 0 to 2, got 7"):
        agent.begin([7], [0])
    with pytest.raises(ValueError, match="expected a seed for each of the 1 episodes, got 2"):
        agent.begin([0], [0, 1])
    agent.begin([0], [3])
    with pytest.raises(ValueError, match=r"observation 'proprioception': expected \[1, \d+\], got \[1, 1\]"):
        agent.observe({**seen, "proprioception": seen["proprioception"][:, :1]})
    with pytest.raises(ValueError, match=r"after begin with 1 episodes"):
        agent.observe({name: np.repeat(value, 2, axis=0) for name, value in seen.items()})
    agent.observe({**seen, "state": np.full_like(seen["state"], np.nan)})
    told = agent.plan()
    assert not told.valid.any()
    assert told.chunk.isnan().all()


def test_a_store_tells_what_is_in_it(finished: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]):
    store, said = finished
    code, status = say(capsys, "status", "--store", store)
    assert code == 0
    assert status["store"] == str(store)
    assert sum(kind["results"] for kind in status["finished"].values()) == said["jobs"]["done"]
    assert status["failures"] == status["unfinished"] == status["damaged"] == []
    assert status["free_disk_mb"] > 0


def test_a_dry_run_lists_every_job_and_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, said = say(capsys, "run", "smoke", "--dry-run", "--store", tmp_path / "new", "--workers", "4")
    assert code == 0
    assert len(said["jobs"]) == said["totals"]["jobs"] > 60
    assert not any(job["finished"] for job in said["jobs"])
    assert said["totals"]["seconds"] == sum(job["seconds"] for job in said["jobs"])
    assert said["totals"]["wall_seconds"] == said["totals"]["seconds"] / 4
    assert not (tmp_path / "new").exists()
    _, filmed = say(capsys, "run", "smoke", "--dry-run", "--store", tmp_path / "new", "--videos", "1")
    films = [job for job in filmed["jobs"] if job["job"].startswith("videos/")]
    assert len(filmed["jobs"]) == len(said["jobs"]) + len(films)
    assert films
    main(["run", "smoke", "--dry-run", "--store", str(tmp_path / "new")])
    assert f"{said['totals']['jobs']} jobs, 0 of them finished" in " ".join(capsys.readouterr().out.split())
