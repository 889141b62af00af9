"""Codes that are searched for are written once, and the agents that share them learn what they would have written."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.recorded import run_here

from compression_gap.pipeline.jobs import TrainedAgent, WrittenCodes
from compression_gap.pipeline.plan import trained_agent
from compression_gap.store import Store
from compression_gap.studies import smoke
from compression_gap.training import WEIGHTS


def agent_of(*, search: int) -> TrainedAgent:
    tokenizer = smoke.OAT.tokenizer
    assert tokenizer is not None
    base = smoke.grid().base
    method = smoke.OAT.replace(tokenizer=tokenizer.replace(search=search))
    return trained_agent(base.replace(method=method, data=base.data.replace(episodes=20)))


def test_an_agent_over_written_codes_is_the_one_that_writes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job, weights = agent_of(search=1), []
    assert [need.kind for need in job.opens] == ["written_codes"]
    for name, shared in (("shared", True), ("alone", False)):
        if not shared:
            monkeypatch.setattr(TrainedAgent, "codes", None)
        store = Store(tmp_path / name)
        assert not run_here([job], store).failed
        weights.append(load_file(store.folder(job) / WEIGHTS))
        assert (store.root / "written_codes").exists() == shared
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_encoders_share_what_was_written():
    job = agent_of(search=1)
    other = replace(job, seed=job.seed + 1)
    assert job.codes == other.codes == WrittenCodes(job.tokenizer, job.demonstrations, job.stride)
    assert agent_of(search=0).codes is None
