"""Open-loop replay in LIBERO: needs the extra `libero` and libosmesa6."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from compression_gap.cli import main
from compression_gap.data.demos import Demos
from compression_gap.measures.open_loop import OpenLoopDriver
from compression_gap.pipeline.jobs import EPISODES, Demonstrations, OpenLoop
from compression_gap.rollout import Beginnings, Rollouts, roll_out
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.suites.libero.suite import Libero
from compression_gap.tokenizers.binning import Binning
from recorded import run_here

SPEC = Libero(suite="libero_object", tasks=(0,))


def test_a_demonstration_succeeds_again_without_a_code_and_not_through_a_coarse_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = Demonstrations(SPEC, 0, first=5, attempts=1)
    plain = OpenLoop(made, None, None, horizon=16, execute=8)
    assert not run_here([plain], store).failed
    demos = Demos.load(store.folder(made))
    rows = pl.read_parquet(store.folder(plain) / EPISODES)
    assert rows["success"].to_list() == [True]
    assert rows["steps"].equals(demos.episodes["length"])
    assert rows["initial_state"].equals(demos.episodes["initial_state"])

    suite = SPEC.build()
    coarse = Binning(bins=2).build(ChunkShape(horizon=16, actions=7))
    coarse.fit(torch.from_numpy(np.array(demos.executed))[:, None].expand(-1, 16, -1))
    driver = OpenLoopDriver(demos, suite.legend, 16, coarse)
    once = Rollouts("demonstrations", 1, execute=16)
    began = Beginnings([5], suite.initial_states(0, "demonstrations", [5]))
    coded = roll_out(driver, suite, once, (0,), 1, lambda fraction, text: None, beginnings=began)
    assert coded["initial_state"].equals(rows["initial_state"])
    assert coded["success"].to_list() == [False]


def test_a_protocol_has_only_so_many_initial_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tolerance", "libero_object", "--tasks", "0", "--rollouts", "16", "--store", str(tmp_path)]
    assert main(words) == 2
    assert "protocol 'test' has 15 initial states a task, and not 16" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
