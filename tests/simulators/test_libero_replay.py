"""Replay in LIBERO, open and closed loop: needs the extra `libero` and libosmesa6."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from compression_gap.cli import main
from compression_gap.data.demos import Demos
from compression_gap.measures.open_loop import OpenLoopDriver
from compression_gap.measures.replay import ReplayDriver
from compression_gap.pipeline.jobs import EPISODES, Demonstrations, OpenLoop
from compression_gap.rollout import Beginnings, Rollouts, roll_out
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.suites.base import Suite
from compression_gap.suites.libero.suite import Libero
from compression_gap.tokenizers.base import Tokenizer
from compression_gap.tokenizers.binning import Binning
from recorded import run_here

SPEC = Libero(suite="libero_object", tasks=(0,))
ONCE = Rollouts("demonstrations", 1, execute=16)


def quiet(fraction: float, text: str) -> None:
    pass


def began(suite: Suite) -> Beginnings:
    """Where the demonstration began."""
    return Beginnings([5], suite.initial_states(0, "demonstrations", [5]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def made(store: Store) -> Demonstrations:
    job = Demonstrations(SPEC, 0, first=5, attempts=1)
    assert not run_here([job], store).failed
    return job


def binned(demos: Demos, bins: int) -> Tokenizer:
    tokenizer = Binning(bins=bins).build(ChunkShape(horizon=16, actions=7))
    tokenizer.fit(torch.from_numpy(np.array(demos.executed))[:, None].expand(-1, 16, -1))
    return tokenizer


def test_a_demonstration_succeeds_again_without_a_code_and_not_through_a_coarse_one(
    store: Store, made: Demonstrations
) -> None:
    plain = OpenLoop(made, None, None, horizon=16, execute=8)
    assert not run_here([plain], store).failed
    demos = Demos.load(store.folder(made))
    rows = pl.read_parquet(store.folder(plain) / EPISODES)
    assert rows["success"].to_list() == [True]
    assert rows["steps"].equals(demos.episodes["length"])
    assert rows["initial_state"].equals(demos.episodes["initial_state"])

    suite = SPEC.build()
    driver = OpenLoopDriver(demos, suite.legend, 16, binned(demos, 2))
    coded = roll_out(driver, suite, ONCE, (0,), 1, quiet, beginnings=began(suite))
    assert coded["initial_state"].equals(rows["initial_state"])
    assert coded["success"].to_list() == [False]


def test_the_expert_succeeds_through_a_fine_code_and_not_through_a_coarse_one(
    store: Store, made: Demonstrations
) -> None:
    suite, demos = SPEC.build(), Demos.load(store.folder(made))
    codes = {"none": None, "fine": binned(demos, 256), "coarse": binned(demos, 2)}
    rows = {
        name: roll_out(ReplayDriver(suite, 16, code), suite, ONCE, (0,), 1, quiet, beginnings=began(suite))
        for name, code in codes.items()
    }
    assert {name: table["success"].item() for name, table in rows.items()} == {
        "none": True,
        "fine": True,
        "coarse": False,
    }
    assert all(table["initial_state"].equals(demos.episodes["initial_state"]) for table in rows.values())


def test_a_protocol_has_only_so_many_initial_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tolerance", "libero_object", "--tasks", "0", "--rollouts", "16", "--store", str(tmp_path)]
    assert main(words) == 2
    assert "protocol 'test' has 15 initial states a task, and not 16" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
