"""Rollouts: who shares a batch changes nothing, every cell meets the same states, a broken code keeps the last plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import torch

from compression_gap.agent import Agent, AgentSpec
from compression_gap.encoders.channel import Channel
from compression_gap.encoders.convnet import ConvNet
from compression_gap.encoders.state import State
from compression_gap.measures.replay import ReplayDriver
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.base import Decoding
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import AgentDriver, Driver, Rollouts, roll_out
from compression_gap.suites.base import Simulators
from compression_gap.suites.tabletop.dynamics import TableSimulators
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.oat import Oat

SUITE = Tabletop(image_size=16).build()
SUITE_TASKS = len(SUITE.tasks)
POLICY = Diffusion(width=16, layers=1, heads=2, inference_steps=2)
CODE = Oat(tokens=2, levels=(5, 3), width=16, head_width=8, encoder_layers=1, decoder_layers=1)
ACTIONS = len(SUITE.legend.action)


def agent(spec: AgentSpec) -> Agent:
    torch.manual_seed(1)
    built = spec.build(SUITE.legend, SUITE.tasks).eval()
    built.policy.fit(torch.rand(20, spec.horizon, ACTIONS) * 2 - 1)
    if spec.tokenizer:
        built.policy.get_submodule("tokenizer").fit(torch.rand(20, spec.horizon, ACTIONS) * 2 - 1)  # type: ignore[operator]
    return built


def roll(driver: Driver, *, batch: int, episodes: int = 4, execute: int = 8, protocol: str = "test") -> pl.DataFrame:
    rollouts = Rollouts(protocol, episodes, execute)
    return roll_out(driver, SUITE, rollouts, range(SUITE_TASKS), batch, lambda fraction, text: None)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Every action that reaches the simulators."""
    actions: list[np.ndarray] = []
    step = TableSimulators.step

    def recording(self: TableSimulators, chosen: np.ndarray) -> None:
        actions.append(chosen.copy())
        step(self, chosen)

    monkeypatch.setattr(TableSimulators, "step", recording)
    return actions


@pytest.mark.parametrize(
    ("spec", "decoding"),
    [
        (AgentSpec(State(), POLICY, None, horizon=8), "greedy"),
        (AgentSpec(Channel(5.0), POLICY, None, horizon=8, history=2), "greedy"),
        (AgentSpec(State(), Autoregressive(width=16, layers=1, heads=2), CODE, horizon=8), "sampled"),
    ],
)
def test_an_episode_does_not_depend_on_who_shares_its_batch(spec: AgentSpec, decoding: Decoding):
    driver = AgentDriver(agent(spec), decoding)
    together = roll(driver, batch=4, execute=spec.horizon)
    for batch in (1, 3):
        apart = roll(driver, batch=batch, execute=spec.horizon)
        assert apart.drop("error_mm").equals(together.drop("error_mm"))
        errors = [table["error_mm"].to_numpy() for table in (apart, together)]
        np.testing.assert_allclose(*errors, rtol=1e-3, atol=1e-3)


def test_equal_rollouts_are_equal_to_the_last_bit(executed: list[np.ndarray]):
    driver = AgentDriver(agent(AgentSpec(State(), POLICY, None, horizon=8)), "greedy")
    tables = [roll(driver, batch=4) for _ in range(2)]
    assert tables[0].equals(tables[1])
    half = len(executed) // 2
    assert all(np.array_equal(a, b) for a, b in zip(executed[:half], executed[half:], strict=True))


def test_every_cell_meets_the_same_initial_states():
    tables = [
        roll(AgentDriver(agent(AgentSpec(State(), POLICY, None, horizon=8)), "greedy"), batch=4),
        roll(AgentDriver(agent(AgentSpec(Channel(9.0), POLICY, None, horizon=8)), "greedy"), batch=2),
        roll(ReplayDriver(SUITE, 8, None), batch=3),
    ]
    keys = ["task", "index", "protocol", "initial_state"]
    assert all(table.select(keys).equals(tables[0].select(keys)) for table in tables)
    assert tables[0]["initial_state"].n_unique() == tables[0].height == 12
    others = roll(ReplayDriver(SUITE, 8, None), batch=4, protocol="development")
    assert set(others["initial_state"]).isdisjoint(tables[0]["initial_state"])


def test_the_expert_replayed_without_a_code_succeeds():
    rows = roll(ReplayDriver(SUITE, 16, None), batch=4, execute=8)
    assert rows["success"].all()
    assert (rows["steps"] < SUITE.legend.max_steps).all()


class Counting(Driver):
    """Plans 1, 2, 3, ... for the arm and holds the gripper shut; every code from the second plan on is broken."""

    def __init__(self, broken: set[int]) -> None:
        self.broken, self.plans = broken, 0
        self.looks: list[int] = []

    def begin(self, task: int, episodes: Sequence[int]) -> None:
        self.plans = 0

    def plan(self, simulators: Simulators) -> tuple[np.ndarray, np.ndarray]:
        chunk = np.zeros((simulators.num, 8, ACTIONS))
        chunk[..., 0] = np.arange(1, 9) / 100 + self.plans
        chunk[..., 6] = 1.0
        valid = np.array([row == 0 or self.plans not in self.broken for row in range(simulators.num)])
        self.plans += 1
        return np.where(valid[:, None, None], chunk, np.nan), valid

    def stepped(self, simulators: Simulators, left: int) -> None:
        self.looks.append(left)


def test_a_code_that_cannot_be_decoded_keeps_the_rest_of_the_last_plan_then_rests(executed: list[np.ndarray]):
    rows = roll(Counting({1, 2, 3}), batch=2, episodes=2, execute=3)
    arm, gripper = (np.array([actions[1, d] for actions in executed[:15]]) for d in (0, 6))
    rest_of_the_first = [0.04, 0.05, 0.06, 0.07, 0.08, 0.0, 0.0, 0.0, 0.0]
    assert arm.tolist() == pytest.approx([0.01, 0.02, 0.03, *rest_of_the_first, 4.01, 4.02, 4.03])
    assert (gripper == 1.0).all()
    assert rows.filter(pl.col("index") == 1)["invalid"].to_list() == [3, 3, 3]
    assert rows.filter(pl.col("index") == 0)["invalid"].to_list() == [0, 0, 0]


def test_the_last_plan_of_an_episode_may_be_cut_short_and_still_goes_on_where_it_was(executed: list[np.ndarray]):
    limit, execute = SUITE.legend.max_steps, 7
    whole, left = divmod(limit, execute)
    assert left == 1, "the last plan is cut short to one step"
    roll(Counting({whole}), batch=2, episodes=2, execute=execute)
    assert executed[limit - 1][1, 0] == pytest.approx(whole - 1 + 0.08)


def test_without_any_plan_yet_the_arm_stands_still(executed: list[np.ndarray]):
    roll(Counting({0}), batch=2, episodes=2, execute=3)
    assert all((actions[1] == 0).all() for actions in executed[:3])


def test_an_agent_looks_only_at_the_frames_of_its_next_plan(monkeypatch: pytest.MonkeyPatch):
    looks: list[int] = []
    observe = TableSimulators.observe

    def counting(self: TableSimulators, names: Sequence[str]) -> dict[str, np.ndarray]:
        looks.append(int(observe(self, ("stamp",))["stamp"][0, 1]))
        return observe(self, names)

    monkeypatch.setattr(TableSimulators, "observe", counting)
    roll(AgentDriver(agent(AgentSpec(State(), POLICY, None, horizon=8, history=3)), "greedy"), batch=1, episodes=1)
    assert looks[:7] == [0, 6, 7, 8, 14, 15, 16]


def test_history_is_the_newest_frame_and_those_before_it():
    built = agent(AgentSpec(State(), POLICY, None, horizon=8, history=2))
    built.begin([0], [0])
    for step in range(3):
        frame = {
            "state": np.full((1, len(SUITE.legend.state)), step, np.float32),
            "proprioception": np.zeros((1, len(SUITE.legend.proprioception)), np.float32),
            "stamp": np.zeros((1, 2), np.int64),
        }
        built.observe(frame)
        seen = built._history["state"][0, :, 0].tolist()
        assert seen == [max(step - 1, 0), step]


def test_an_agent_says_which_observation_it_misses():
    built = agent(AgentSpec(ConvNet(width=8), POLICY, None, horizon=8))
    built.begin([0], [0])
    with pytest.raises(ValueError, match=r"the agent needs observations top, wrist, .*; missing: top, wrist"):
        built.observe({"proprioception": np.zeros((1, 6)), "stamp": np.zeros((1, 2))})


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"episodes": 5, "execute": 0}])
def test_rollouts_of_nothing_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="episodes and execute are at least 1"):
        Rollouts("test", **wrong)
