"""Of a grid with the true state among its sights: where every cell loses its success, and what binds it."""

from __future__ import annotations

from compression_gap import statistics
from compression_gap.pipeline.cell import Cell, Grid, Sight
from compression_gap.pipeline.levels import level, told
from compression_gap.pipeline.plan import arms
from compression_gap.pipeline.results import Results, measured
from compression_gap.report.ladder import Bottleneck, Ladder
from compression_gap.report.measured import Measured
from compression_gap.statistics import Loss

NOT_THERE = {
    Loss.CODEBOOK: Measured(0.0, 0.0, 0.0, over="nothing: there is no code"),
    Loss.ENCODER: Measured(0.0, 0.0, 0.0, over="nothing: this is the state encoder"),
}


def ladders(grid: Grid, results: Results) -> list[Ladder]:
    """One of every arm whose four rungs are finished, in its primary decoding and at the primary tolerance."""
    state = next((sight for sight in grid.sights if sight.name == grid.state), None)
    found = [] if state is None else [_ladder(grid, results, arm, state) for arm in arms(grid)]
    return [row for row in found if row is not None]


def _ladder(grid: Grid, results: Results, arm: Cell, state: Sight) -> Ladder | None:
    method, tolerance, decoding = arm.method, grid.tolerance_mm, arm.method.decodings[0]
    expert = results.expert_rung(tolerance)
    replay = expert if method.tokenizer is None else results.replay_rung(method, tolerance)
    on_state = results.rung(method, state, decoding, tolerance)
    policy = results.rung(method, arm.sight, decoding, tolerance)
    if expert is None or replay is None or on_state is None or policy is None:
        return None
    climbed = statistics.ladder(
        expert=expert,
        replay=None if method.tokenizer is None else replay,
        state=on_state,
        policy=None if arm.sight == state else policy,
    )
    losses = NOT_THERE | {loss: measured(estimate) for loss, estimate in climbed.losses.items()}
    found = statistics.bottleneck(climbed)
    settling = found.settling or statistics.Settling(None, None)
    return Ladder(
        method=method.name,
        decoding=told(method, decoding),
        encoder=arm.sight.name,
        reference=state.name,
        expert=level(grid, expert.outcomes, "reference"),
        replay=level(grid, replay.outcomes, "reference"),
        state=level(grid, on_state.outcomes),
        policy=level(grid, policy.outcomes),
        codebook_loss=losses[Loss.CODEBOOK],
        policy_loss=losses[Loss.POLICY],
        encoder_loss=losses[Loss.ENCODER],
        bottleneck=Bottleneck(
            label=found.label.value,
            probability=found.probability,
            likeliest=found.likeliest.value,
            largest={loss.value: share for loss, share in found.largest.items()},
            delta=found.delta,
            seeds=climbed.seeds,
            states=climbed.states,
            reason=found.reason,
            seeds_needed=settling.seeds,
            states_needed=settling.states,
        ),
    )
