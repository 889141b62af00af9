"""One expert episode, pinned: numbers that change without a raised `version` would mix with older results."""

import json
from pathlib import Path

import pytest

from compression_gap.suites.tabletop.suite import Tabletop

FILE = Path(__file__).with_name("tabletop.json")
CURE = """If the change is intended: raise `version` of Tabletop in suites/tabletop/suite.py, then write the new
numbers with: python -m pytest tests/golden --rewrite-golden"""


def numbers():
    """Every tenth scene of one noisy episode, its outcome, and the mean colour of the last pictures."""
    suite = Tabletop().build()
    simulators, expert = suite.simulators(1, 1), suite.expert(1)
    simulators.reset(suite.initial_states(1, "test", [7]), [7])
    expert.begin([7])
    scenes = []
    while not simulators.done()[0]:
        if simulators.observe(["stamp"])["stamp"][0, 1] % 10 == 0:
            scenes.append(simulators.scene()[0].round(6).tolist())
        simulators.step(expert.act(simulators)[1])
    pictures = simulators.observe(suite.legend.cameras)
    return {
        "version": Tabletop.version,
        "steps": int(simulators.observe(["stamp"])["stamp"][0, 1]),
        "grasp_error_mm": float(simulators.outcome()["grasp_error_mm"][0].round(6)),
        "place_error_mm": float(simulators.outcome()["place_error_mm"][0].round(6)),
        "scenes": scenes,
        "colours": {name: picture.mean(axis=(0, 1, 2)).round(3).tolist() for name, picture in pictures.items()},
    }


def test_an_episode_is_what_this_version_makes(request):
    made = numbers()
    if request.config.getoption("--rewrite-golden"):
        FILE.write_text(json.dumps(made).replace("[[", "[\n[").replace("], [", "],\n[") + "\n")
    pinned = json.loads(FILE.read_text())
    assert made["version"] == pinned["version"], CURE
    assert made["steps"] == pinned["steps"], CURE
    for name in ("grasp_error_mm", "place_error_mm"):
        assert made[name] == pytest.approx(pinned[name], abs=1e-5), CURE
    for scene, expected in zip(made["scenes"], pinned["scenes"], strict=True):
        assert scene == pytest.approx(expected, abs=1e-5), CURE
    for camera, expected in pinned["colours"].items():
        assert made["colours"][camera] == pytest.approx(expected, abs=0.01), CURE
