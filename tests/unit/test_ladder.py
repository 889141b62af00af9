"""The ladder and its verdict against cases whose answer is known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from compression_gap.statistics import Bound, Ladder, Loss, Outcomes, Rung, bottleneck, gain, ladder


def rung(*successes: int, states: int = 300, trained: bool = True, shift: int = 0) -> Rung:
    """So many of the first states succeed, seed by seed; `shift` rolls them to others."""
    rows = [np.roll(np.arange(states) < count, shift) for count in successes]
    return Rung(np.stack(rows), trained=trained)


def expert(successes: int = 300, states: int = 300) -> Rung:
    return rung(successes, states=states, trained=False)


def climb(replay: tuple[int, ...], state: tuple[int, ...], policy: tuple[int, ...], states: int = 300) -> Ladder:
    """A ladder of rungs whose episodes fail independently of each other."""
    random = np.random.default_rng(3)

    def some(counts: tuple[int, ...]) -> Rung:
        return Rung(np.stack([random.permutation(states) < count for count in counts]))

    return ladder(expert=expert(states, states), replay=some(replay), state=some(state), policy=some(policy))


def values(found: Ladder) -> list[float]:
    return [estimate.value for estimate in found.losses.values()]


def width(found: Ladder, loss: Loss) -> float:
    estimate = found.losses[loss]
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_the_losses_add_up_and_may_be_negative() -> None:
    found = climb((240, 246, 252), (270, 264, 276), (90, 99, 84))
    assert values(found) == pytest.approx([18.0, -8.0, 59.6666667])
    assert sum(values(found)) == pytest.approx(found.total.value)
    assert {estimate.scope for estimate in found.losses.values()} == {"new training seeds and initial states"}
    draws = found.draws()
    assert draws.mean(axis=0) == pytest.approx(values(found), abs=0.3)
    assert (found.draws() == draws).all()


def test_a_rung_between_two_losses_couples_them_against_each_other() -> None:
    found = climb((290, 291, 292), (120, 180, 240), (60, 61, 62))
    correlation = np.corrcoef(found.draws().T)
    assert correlation[1, 2] < -0.9, "the uncertain state rung is in both"
    assert abs(correlation[0, 2]) < 0.1


def test_each_loss_has_the_quantiles_of_its_own_interval() -> None:
    found = climb((285, 291, 297), (200, 210, 230), (60, 90, 75))
    ends = np.quantile(found.draws(200_000), [0.025, 0.975], axis=0).T
    told = [(estimate.low, estimate.high) for estimate in found.losses.values()]
    assert ends == pytest.approx(np.array(told), abs=0.6)


def test_between_seeds_it_is_welchs_when_initial_states_do_not_matter() -> None:
    """Failures spread evenly over the states: all their differences are noise, which seeds' means contain already."""
    random = np.random.default_rng(4)
    rungs = [Rung(random.random((4, 20_000)) < np.array(rates)[:, None]) for rates in RATES]
    found = ladder(expert=rung(20_000, states=20_000, trained=False), replay=None, state=rungs[0], policy=rungs[1])
    welch = gain(rungs[1].outcomes, rungs[0].outcomes)
    assert welch.low is not None
    assert welch.high is not None
    assert width(found, Loss.ENCODER) == pytest.approx(welch.high - welch.low, rel=0.03)


RATES = ([0.55, 0.62, 0.66, 0.71], [0.20, 0.24, 0.33, 0.35])


def test_initial_states_count_only_where_two_rungs_differ() -> None:
    """Two rungs that fail in the same states differ by little whatever the states; failing in others, by much."""
    same = ladder(expert=expert(), replay=rung(150, 150, 150), state=rung(147, 147, 147), policy=None)
    other = ladder(expert=expert(), replay=rung(150, 150, 150), state=rung(147, 147, 147, shift=150), policy=None)
    assert values(same) == pytest.approx(values(other))
    assert width(other, Loss.POLICY) > 1.5 * width(same, Loss.POLICY)


def test_tasks_are_fixed_and_not_drawn() -> None:
    """One task always succeeds and the other never: no initial state differs from the others of its task."""
    tasks = np.repeat(["a", "b"], 100)
    success = np.stack([tasks == "a"] * 3)
    with_tasks, without = (
        ladder(
            expert=Rung(np.ones((1, 200), bool), strata, trained=False),
            replay=None,
            state=Rung(success, strata),
            policy=None,
        )
        for strata in (tasks, None)
    )
    assert width(with_tasks, Loss.POLICY) < 2.1
    assert width(without, Loss.POLICY) > 10


def test_a_loss_that_a_cell_cannot_have_is_not_among_its_losses() -> None:
    state = rung(200, 206, 212)
    assert list(ladder(expert=expert(), replay=None, state=state, policy=rung(60, 66, 72)).losses) == [
        Loss.POLICY,
        Loss.ENCODER,
    ]
    only = ladder(expert=expert(), replay=None, state=state, policy=None)
    assert list(only.losses) == [Loss.POLICY]
    found = bottleneck(only)
    assert (found.label, found.probability) == (Bound.POLICY, 1.0)


def test_where_everything_succeeds_an_interval_keeps_a_width() -> None:
    found = ladder(expert=expert(), replay=expert(), state=rung(300, 300, 300), policy=rung(300, 300, 300))
    for loss in found.losses:
        assert 0.3 < width(found, loss) < 4
    assert bottleneck(found).label is Bound.NONE


def test_few_initial_states_and_two_seeds_that_disagree_have_a_width() -> None:
    """Seeds and states explain nothing here, so that all variances would come out as zero."""
    state, policy = (Rung(np.array(rows, dtype=bool)) for rows in ([[0, 1, 1, 0], [1, 0, 0, 1]],) * 2)
    found = ladder(expert=expert(4, 4), replay=expert(4, 4), state=state, policy=policy)
    assert all(width(found, loss) > 0 for loss in found.losses)
    assert np.isfinite(found.draws()).all()
    assert bottleneck(found).label is Bound.UNDETERMINED


def test_what_was_not_trained_is_known_to_its_pairs() -> None:
    """Expert and an untrained code with the same episodes: no pair differs, and about one in a hundred still may."""
    failing = rung(270, trained=False)
    found = ladder(expert=failing, replay=failing, state=rung(200, 206, 212), policy=None)
    codebook = found.losses[Loss.CODEBOOK]
    assert codebook.value == 0
    assert codebook.high == pytest.approx(1.96 * 100 * 2**0.5 / 300, rel=0.02)


@pytest.mark.parametrize(
    ("replay", "state", "policy", "label"),
    [
        ((300, 299, 300, 300, 298), (290, 292, 288, 291, 290), (90, 99, 84, 93, 96), Bound.ENCODER),
        ((90, 99, 84, 93, 96), (90, 92, 88, 91, 94), (84, 86, 88, 85, 86), Bound.CODEBOOK),
        ((300, 299, 300, 300, 298), (120, 129, 114, 126, 123), (105, 108, 99, 111, 102), Bound.POLICY),
        ((300, 299, 300, 300, 298), (205, 195, 200, 190, 210), (100, 110, 90, 105, 95), Bound.SEVERAL),
        ((300, 299, 300, 300, 298), (298, 299, 297, 298, 299), (296, 297, 299, 296, 298), Bound.NONE),
        ((300, 299, 300, 300, 298), (282, 300, 276, 288, 294), (270, 252, 282, 264, 258), Bound.UNDETERMINED),
    ],
)
def test_verdicts(replay, state, policy, label: Bound) -> None:
    found = bottleneck(climb(replay, state, policy))
    assert found.label is label
    assert sum(found.largest.values()) == pytest.approx(1.0)
    assert (found.probability > 0.9) == (label is not Bound.UNDETERMINED)
    assert bool(found.reason) == (found.settling is not None) == (label is Bound.UNDETERMINED)


def test_the_threshold_is_a_setting() -> None:
    found = climb((300, 299, 300, 300, 298), (290, 292, 288, 291, 290), (210, 219, 204, 213, 216))
    assert bottleneck(found).label is Bound.ENCODER
    assert bottleneck(found, delta=40.0).label is Bound.NONE
    assert bottleneck(found, delta=25.0).label is Bound.UNDETERMINED


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_one_initial_state_a_task_is_drawn_among_tasks(seeds: int) -> None:
    """Ten tasks of one state each are no better known than one task of ten states, and have a verdict."""
    random, alone = np.random.default_rng(seeds), np.arange(10)
    for _ in range(20):
        rungs = {
            name: random.random((seeds, 10)) < rate for name, rate in (("replay", 0.9), ("state", 0.7), ("policy", 0.4))
        }
        climbed = [
            ladder(
                expert=Rung(np.ones((1, 10), dtype=bool), strata, trained=False),
                **{name: Rung(success, strata) for name, success in rungs.items()},
            )
            for strata in (alone, np.zeros(10))
        ]
        assert 0 < bottleneck(climbed[0]).probability <= 1
        for loss in climbed[0].losses:
            assert 0.9 * width(climbed[1], loss) < width(climbed[0], loss) <= 200


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_no_verdict_on_new_ones(seeds: int) -> None:
    found = climb((300,) * seeds, (290, 288)[:seeds], (90, 93)[:seeds])
    verdict = bottleneck(found)
    assert verdict.label is Bound.UNDETERMINED
    assert verdict.settling is not None
    assert (verdict.settling.seeds, verdict.settling.states) == (3, None)
    if seeds == 1:
        assert verdict.reason == "one seed: these checkpoints only"
        assert found.total.scope == "these checkpoints only"
        assert verdict.likeliest is Loss.ENCODER
        z = stats.norm.ppf(0.975)
        error = 100 * (290 / 300 * 10 / 300 / 300 + 0.3 * 0.7 / 300) ** 0.5
        assert width(found, Loss.ENCODER) == pytest.approx(2 * z * error, rel=0.1)


def test_what_is_said_to_settle_a_case_settles_it() -> None:
    """A loss of 10 points with three noisy seeds; so many more seeds like them decide it in most repetitions."""
    random = np.random.default_rng(5)

    def repeat(seeds: int, states: int = 300) -> Ladder:
        def some(rate: float) -> Rung:
            return Rung(random.random((seeds, states)) < rate + random.normal(0, 0.04, (seeds, 1)))

        return ladder(expert=expert(), replay=None, state=some(0.9), policy=some(0.75))

    undetermined = climb((300, 300, 300), (258, 282, 270), (216, 240, 219))
    settling = bottleneck(undetermined).settling
    assert settling is not None
    assert settling.seeds is not None
    assert 4 <= settling.seeds <= 15
    labels = [bottleneck(repeat(settling.seeds)).label for _ in range(40)]
    assert sum(label is not Bound.UNDETERMINED for label in labels) >= 24


def test_a_tie_at_the_threshold_cannot_be_settled() -> None:
    found = bottleneck(climb((300, 300, 300), (279, 285, 291), (279, 285, 291)))
    assert found.label is Bound.UNDETERMINED
    assert found.settling is not None
    assert (found.settling.seeds, found.settling.states) == (None, None)


def test_rungs_must_be_judged_alike() -> None:
    with pytest.raises(ValueError, match=r"\[100, 300\] episodes a seed; judge all on the same"):
        ladder(expert=expert(), replay=None, state=rung(50, 60, states=100), policy=None)
    with pytest.raises(ValueError, match="expected `state` and `policy` to be trained"):
        ladder(expert=expert(), replay=None, state=expert(), policy=None)


def test_a_rung_counts_like_outcomes() -> None:
    found = rung(30, 50, 20)
    assert found.outcomes.successes.tolist() == [[30], [50], [20]]
    assert replace(found, trained=False).outcomes.trained is False
    assert isinstance(found.outcomes, Outcomes)
