"""What jobs are estimated to take, as far as that depends on the code's length."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compression_gap import studies
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.encoders.state import State
from compression_gap.pipeline.cell import Sight
from compression_gap.pipeline.plan import PROBE, judged, token_bits, trained_agent
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.rollout import Rollouts
from compression_gap.shapes import ChunkShape
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.testing.common import smooth_chunks
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.fast import Fast
from compression_gap.tokenizers.oat import Oat
from compression_gap.tokenizers.quest import Quest
from compression_gap.tokenizers.rvq import Rvq

GRID = studies.find("smoke")


@pytest.mark.parametrize("spec", [Oat.small(), Oat(tokens=4), Quest.small(), Rvq.small(), Binning()])
@pytest.mark.parametrize("horizon", [8, 16])
def test_codes_of_one_length_are_as_long_as_expected(spec: TokenizerSpec, horizon: int):
    assert spec.expected_tokens(horizon) == spec.build(ChunkShape(horizon, 7)).max_tokens


def test_codes_of_different_lengths_are_about_as_long_as_expected():
    shape = ChunkShape(8, 7)
    tokenizer = Fast(vocabulary=512).build(shape)
    chunks = smooth_chunks(256, shape)
    tokenizer.fit(chunks)
    longest = int(tokenizer.encode(chunks).length.max())
    assert longest / 2 < Fast(vocabulary=512).expected_tokens(8) < 2 * longest


@pytest.mark.parametrize(
    ("policy", "tokens", "seconds"),
    [  # a row of a batch of 64, width 64 or 256, chunks of 8 x 7 actions: measured on a core that others used too
        (Autoregressive.sized("S"), 8, 5.1e-4),
        (Autoregressive.sized("S"), 16, 6.3e-4),
        (Autoregressive.sized("S").replace(head="index"), 23, 10.5e-4),
        (Autoregressive.sized("S").replace(head="index"), 56, 16.0e-4),
        (PROBE, 8, 3.5e-4),
        (PROBE, 16, 6.3e-4),
        (PROBE, 56, 14.2e-4),
    ],
)
def test_a_row_takes_what_was_measured_within_a_factor_of_two(policy: Autoregressive, tokens: int, seconds: float):
    assert seconds / 2 < policy.cost(tokens).row < 2 * seconds


def test_an_agent_may_be_silent_for_as_long_as_its_encoder_looks_at_a_batch():
    cell, many, pretrained = (
        GRID.base.replace(suite=Tabletop()),
        Rollouts("test", episodes=1000, execute=4),
        Pretrained(),
    )
    agents = [trained_agent(cell.replace(sight=Sight("one", spec))) for spec in (pretrained, State())]
    ((slow,), (state,)) = (judged(agent, many, "greedy") for agent in agents)
    pictures = cell.suite.batch * cell.history * len(cell.suite.cameras)
    assert slow.silence == pytest.approx(pictures * pretrained.cost.picture)
    assert slow.silence > 300.0
    assert state.silence == 0.0


def test_long_codes_take_longer_to_learn_and_to_measure():
    (method,) = [method for method in GRID.methods if method.tokenizer]
    long = replace(method, tokenizer=Binning(), tokenizer_training=None, policy=method.policy.replace(head="index"))
    short, longer = (GRID.base.replace(method=one) for one in (method, long))
    assert trained_agent(longer).cost().seconds > 4 * trained_agent(short).cost().seconds
    bits = [token_bits(GRID, cell) for cell in (short, longer)]
    assert bits[1].cost().seconds > 4 * bits[0].cost().seconds
