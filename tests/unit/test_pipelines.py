"""Pipelines whose upgrades can be made: what is known of them exactly, and what an upgrade leaves alone."""

from itertools import combinations

import numpy as np
import pytest
import torch

from compression_gap.measures.ridge import fit_ridge
from compression_gap.testing.pipelines import (
    CONFIRMATION,
    COUNT,
    DEVELOPMENT,
    EXPERT_NOISE,
    FEW,
    HELD_OUT,
    JOINT,
    SCARCE,
    UPGRADES,
    Pipeline,
    ResidualCode,
    World,
)
from compression_gap.testing.upgrades import Gain, codes_of, gain, gains, judge, rungs

SMALL = Pipeline("small", "sines", 2, 3, 2, 0.3, 2, 6, 30, 0.4)


def test_the_sets_share_no_value_of_a_factor_that_an_upgrade_changes():
    for one, other in combinations((DEVELOPMENT, HELD_OUT, CONFIRMATION, JOINT, SCARCE, FEW), 2):
        for factor in ("waves", "chunk", "noise", "code", "demonstrations", "tolerance"):
            assert not set(getattr(one, factor)) & set(getattr(other, factor)), factor


def test_a_draw_is_always_the_same_and_has_every_pipeline_once():
    drawn = DEVELOPMENT.draw("development", COUNT)
    assert drawn == DEVELOPMENT.draw("development", COUNT)
    assert len(set(drawn)) == COUNT == 30
    assert drawn[:5] == DEVELOPMENT.draw("development", 5)


@pytest.mark.parametrize("waves", ["sines", "steps", "triangles", "peaks", "bumps", "ridges"])
def test_actions_have_variance_one_and_the_expert_misses_by_its_noise(waves: str):
    world = World(Pipeline("scale", waves, 3, 4, 2, 0.1, 2, 8, 200, 0.3))
    cases = world.cases("demonstrations", 200)
    assert cases.wanted.var(dim=0).mean() == pytest.approx(1, abs=0.15)
    assert (cases.shown - cases.wanted).std() == pytest.approx(EXPERT_NOISE, rel=0.05)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_features_tell_of_the_state_what_the_noise_leaves(noise: float):
    world = World(SMALL)
    cases = world.cases("demonstrations", 300)
    seen = world.features(cases, noise)
    read = fit_ridge(seen, cases.state, cases.demonstration).unseen
    left = float((read - cases.state).square().mean())
    assert left == pytest.approx(noise**2 / (1 + noise**2), abs=0.03)  # of a normal state seen through noise


def test_success_is_even_where_the_error_is_the_tolerance():
    world = World(SMALL)
    at = torch.tensor([0.0, SMALL.tolerance**2, 100.0])
    torch.testing.assert_close(world.success(at), torch.tensor([1.0, 0.5, 0.0]), atol=1e-5, rtol=0)


def test_an_upgrade_changes_one_part_and_leaves_the_draws_alone():
    for what in UPGRADES:
        better = SMALL.upgraded(what)
        changed = [name for name in vars(SMALL) if getattr(SMALL, name) != getattr(better, name)]
        assert changed == {"encoder": ["noise"], "codebook": ["tokens"], "data": ["demonstrations"]}[what]
    few, many = (World(SMALL).cases("demonstrations", count) for count in (10, 20))
    torch.testing.assert_close(many.first(80).shown, few.shown)
    assert not torch.equal(World(SMALL).cases("judged", 10).state, few.state)


def test_a_larger_code_begins_like_the_smaller_one_and_comes_nearer():
    world = World(SMALL)
    codes = codes_of(world)
    shown = world.cases("demonstrations", SMALL.demonstrations).shown
    ids = codes["larger"].encode(shown)
    torch.testing.assert_close(ids[:, : SMALL.tokens], codes["own"].encode(shown))
    errors = [(codes["larger"].decode(ids[:, :count]) - shown).square().mean() for count in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)


def test_a_code_with_as_many_vectors_as_chunks_is_exact():
    chunks = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    code = ResidualCode.fit(chunks, tokens=1, values=8, seed=0)
    torch.testing.assert_close(code.decode(code.encode(chunks)), chunks)


def test_with_a_code_of_one_vector_the_best_policy_is_known_and_no_upgrade_gains():
    pipeline = Pipeline("one", "sines", 2, 3, 2, 0.3, 1, 1, 20, 1.0)
    world = World(pipeline)
    mean = world.cases("demonstrations", 20).shown.mean(dim=0)
    cases = world.cases("judged", 250)
    best = 100 * world.success((mean - cases.wanted).square().mean(dim=1)).mean()
    judged = judge(pipeline)
    np.testing.assert_allclose(judged[None].success, float(best), rtol=1e-4)
    for points, distortion in gains(judged).values():
        assert points.value == pytest.approx(0, abs=1e-3)
        assert distortion.value == pytest.approx(0, abs=1e-3)


def test_a_ladder_stands_on_the_same_initial_states_and_goes_down_from_the_expert():
    found = rungs(SMALL, states=200)
    assert {name: success.shape for name, success in found.items()} == {
        "expert": (1, 200),
        "replay": (1, 200),
        "state": (4, 200),
        "policy": (4, 200),
    }
    rates = [found[name].mean() for name in ("expert", "replay", "state", "policy")]
    assert rates[0] > 0.97
    assert rates == sorted(rates, reverse=True)


def test_a_gain_is_above_a_threshold_below_it_or_not_resolved():
    before, after = np.array([50.0, 51.0, 49.0, 50.0]), np.array([60.0, 61.0, 59.0, 60.0])
    found = gain(before, after)
    assert found.value == 10
    assert found.high - found.low == pytest.approx(2 * 2.447 * np.sqrt(2 * (2 / 3) / 4), rel=1e-3)  # t with 6 degrees
    assert (found.clears(5), found.clears(15), found.clears(10)) == (True, False, None)
    assert gain(before, before[::-1]).clears(5) is False
    assert Gain(0.0, 0.0, 0.0) == gain(np.ones(4), np.ones(4))
