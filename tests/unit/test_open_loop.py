"""Open-loop replay: a demonstration's own actions bring its end back; through a code, what the code makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from compression_gap.data.collect import collect
from compression_gap.data.demos import Demos
from compression_gap.measures.open_loop import OpenLoopDriver
from compression_gap.measures.replay import ReplayDriver, through_code
from compression_gap.pipeline.jobs import EPISODES, OpenLoop, Replay, TrainedTokenizer
from compression_gap.pipeline.plan import demonstrations
from compression_gap.rollout import Beginnings, Rollouts, roll_out
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.oat import Oat
from recorded import run_here

SPEC = Tabletop(image_size=16)
SUITE = SPEC.build()
ACTIONS, ATTEMPTS = len(SUITE.legend.action), 10


@pytest.fixture(scope="module")
def demos() -> Demos:
    found = collect(SUITE, 1, "demonstrations", 3, ATTEMPTS, 4, lambda fraction, text: None)
    assert found.episodes.height >= 8
    return found


def replay(
    demos: Demos, horizon: int, execute: int, tokenizer: Tokenizer | None = None, prefix: int | None = None
) -> pl.DataFrame:
    indices = demos.episodes["index"].to_list()
    driver = OpenLoopDriver(demos, SUITE.legend, horizon, tokenizer, prefix)
    rollouts = Rollouts("demonstrations", len(indices), execute)
    began = Beginnings(indices, SUITE.initial_states(1, "demonstrations", indices))
    return roll_out(driver, SUITE, rollouts, (1,), 4, lambda fraction, text: None, beginnings=began)


@pytest.mark.parametrize(("horizon", "execute"), [(8, 8), (16, 5)])
def test_without_a_code_every_demonstration_ends_where_it_ended(demos: Demos, horizon: int, execute: int):
    rows = replay(demos, horizon, execute)
    assert rows["success"].all()
    assert rows["steps"].equals(demos.episodes["length"])
    assert rows["initial_state"].equals(demos.episodes["initial_state"])
    assert rows["index"].equals(demos.episodes["index"])


def test_the_steps_after_the_end_are_padding_and_then_rest(demos: Demos):
    driver = OpenLoopDriver(demos, SUITE.legend, 6, None)
    episode, length = int(demos.stamp[0, 0]), int(demos.episodes["length"][0])
    chunk = driver.chunk(episode, length - 2)
    np.testing.assert_array_equal(chunk[:2], demos.executed[length - 2 : length])
    assert not chunk[2:, :6].any()
    assert (chunk[2:, 6] == demos.executed[length - 1, 6]).all()
    assert not driver.chunk(episode, length + 50)[:, :6].any()


def test_a_fine_code_succeeds_and_a_coarse_one_fails(demos: Demos):
    chunks = torch.from_numpy(np.array(demos.executed))[:, None]
    rates = []
    for bins in (4096, 3):
        tokenizer = Binning(bins=bins).build(ChunkShape(horizon=1, actions=ACTIONS))
        tokenizer.fit(chunks)
        rates.append(replay(demos, 1, 1, tokenizer)["success"].mean())
    assert rates[0] == 1.0
    assert rates[1] < 0.5


def test_an_episode_that_nobody_demonstrated_is_refused(demos: Demos):
    driver = OpenLoopDriver(demos, SUITE.legend, 8, None)
    with pytest.raises(ValueError, match="1 of 2 episodes are not among the demonstrations"):
        driver.begin(1, [int(demos.stamp[0, 0]), 12])


def test_the_arm_alone_goes_through_the_code():
    torch.manual_seed(0)
    shape = ChunkShape(horizon=4, actions=ACTIONS)
    tokenizer = Oat(tokens=2, levels=(5, 3), width=8, head_width=8, encoder_layers=1, decoder_layers=1).build(shape)
    tokenizer.fit(torch.rand(20, 4, ACTIONS) * 2 - 1)
    tokenizer.requires_grad_(False).eval()
    chunk = np.random.default_rng(0).uniform(-1, 1, (3, 4, ACTIONS))
    for prefix in (1, None):
        coded, _ = through_code(tokenizer, chunk, prefix)
        whole, _ = ReplayDriver(SUITE, 4, tokenizer, prefix).changed(chunk)
        arm, _ = ReplayDriver(SUITE, 4, tokenizer, prefix, arm_only=True).changed(chunk)
        np.testing.assert_array_equal(whole, coded)
        np.testing.assert_array_equal(arm[..., :6], coded[..., :6])
        np.testing.assert_array_equal(arm[..., 6], chunk[..., 6])


def test_replays_of_whole_codes_keep_the_names_that_they_had():
    assert Replay(Tabletop(), None, 8, Rollouts("test", episodes=100, execute=4)).digest == "60973824d71d80c76b60"


def test_the_job_replays_the_successes_among_the_attempts(tmp_path: Path):
    store = Store(tmp_path)
    (made,) = demonstrations(SPEC, [2], 5, ATTEMPTS)
    tokenizer = TrainedTokenizer(Binning(bins=4), (made,), 8, 4, None, seed=0)
    plain, coded = OpenLoop(made, None, None, 8, 4), OpenLoop(made, tokenizer, None, 8, 4)
    outcome = run_here([plain, coded], store)
    assert not outcome.failed
    there, coded_there = (pl.read_parquet(store.folder(job) / EPISODES) for job in (plain, coded))
    demos = Demos.load(store.folder(made))
    assert there["success"].all()
    assert there["index"].equals(demos.episodes["index"])
    assert coded_there["initial_state"].equals(there["initial_state"])
    assert coded_there["success"].sum() < there.height
