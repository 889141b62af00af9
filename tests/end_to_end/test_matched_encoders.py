"""Encoders that differ in nothing give equal results to the last bit, from the demonstrations to the last rollout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from compression_gap import studies
from compression_gap.encoders.blind import Blind
from compression_gap.encoders.paper import matched
from compression_gap.measures.encoder_probe import Probing
from compression_gap.pipeline.cell import Cell, Sight
from compression_gap.pipeline.job import Job, with_needs
from compression_gap.pipeline.jobs import SUMMARY, ActionDenoisers, EncoderQuality
from compression_gap.pipeline.plan import judged, trained_agent
from compression_gap.pipeline.worker import run_here
from compression_gap.store import Store
from compression_gap.suites.tabletop.suite import Tabletop


@pytest.mark.parametrize(("number", "training"), [(0, "frozen"), (1, "trained")])
def test_matched_encoders_of_equal_weights_give_equal_results_to_the_last_bit(
    number: int, training: Any, tmp_path: Path
):
    method, store = studies.find("smoke").methods[number], Store(tmp_path / "store")
    cells = [
        cell_of(Sight(name, spec, fusion="vector", width=24)).replace(method=method)
        for name, spec in twins(tmp_path, training).items()
    ]
    agents = [trained_agent(cell) for cell in cells]
    rollouts: list[Job] = [judged(agent, cells[0].rollouts, "greedy")[0] for agent in agents]
    assert agents[0].digest != agents[1].digest  # so nothing is shared but the demonstrations and their pictures
    for job in with_needs(rollouts):
        run_here(job, store, "cpu", lambda fraction, text: None)
    for jobs in (agents, rollouts, *([[agent.features[0] for agent in agents]] if training == "frozen" else [])):
        first, second = (contents(store.folder(job)) for job in jobs)
        assert first == second
        assert first


def test_matched_encoders_of_equal_weights_are_measured_alike(tmp_path: Path):
    store, suite = Store(tmp_path / "store"), Tabletop(image_size=16)
    cells = [cell_of(Sight(name, spec)) for name, spec in twins(tmp_path, "frozen").items()]
    cells = [cell.replace(suite=suite, data=cell.data.replace(episodes=21)) for cell in cells]
    agents = [trained_agent(cell) for cell in cells]
    probing = Probing(steps=8, batch=32, seeds=(0,), width=16)
    actions = ActionDenoisers(agents[0].demonstrations, horizon=4, stride=8, probing=probing)
    blind = EncoderQuality(Blind(), None, (), actions)
    jobs: list[Job] = [
        EncoderQuality(agent.agent.encoder, None, agent.features, actions, baseline=blind) for agent in agents
    ]
    for job in with_needs(jobs):
        run_here(job, store, "cpu", lambda fraction, text: None)
    told = [json.loads((store.folder(job) / SUMMARY).read_text()) for job in jobs]
    assert told[0] == told[1]
    assert contents(store.folder(jobs[0])) == contents(store.folder(jobs[1]))


def twins(folder: Path, training: Any) -> dict[str, Any]:
    """The paper's SigLIP and SigLIP 2 by the matched recipe, with one model's weights in two folders."""
    folders = {name: tiny_models.siglip(folder / name, image_size=28) for name in ("SigLIP", "SigLIP 2")}
    config = Path(folders["SigLIP 2"]) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "said": "nothing that changes the model"}))
    settings = {"training": training, "image_size": 28, "crop": None if training == "frozen" else 56}
    return {name: matched(name, **settings).replace(model=model) for name, model in folders.items()}


def cell_of(sight: Sight) -> Cell:
    grid = studies.find("smoke")
    return grid.base.replace(data=replace(grid.base.data, episodes=10), sight=sight)


def contents(folder: Path) -> dict[str, bytes]:
    """What a job wrote, by file; what it was asked and what it was made with may differ."""
    asked = {folder / name for name in ("job.json", "provenance.json", "agent.json")}
    files = {path for path in folder.rglob("*") if path.is_file()} - asked
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
