"""Two things that must hold before anything is learned on LIBERO, each minutes on one core:

    python benchmarks/libero_checks.py replay STORE    every demonstration of a store, replayed from its initial state
    python benchmarks/libero_checks.py overfit         a policy trained on one demonstration repeats it

Expected: every demonstration succeeds again, and so does the policy. The second does not hold yet.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from compression_gap.agent import Agent, AgentSpec
from compression_gap.data.collect import collect, replays
from compression_gap.data.demos import Demos
from compression_gap.data.windows import Windows
from compression_gap.encoders.state import State
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store, read_job
from compression_gap.suites.libero.suite import Libero
from compression_gap.training import Training, train

PROTOCOL = "demonstrations"
TRAINING = Training(steps=6000, batch=64, learning_rate=2e-3, schedule="cosine")


def replay(root: str) -> bool:
    """Whether every demonstration in the store succeeds again."""
    complete = True
    for folder in Store(Path(root)).folders():
        if folder.parent.name != PROTOCOL:
            continue
        job = read_job(folder)
        succeeded = replays(job.suite.build(), job.task, PROTOCOL, Demos.load(folder), tell)
        print(f"{folder.name}: {succeeded.sum()} of {len(succeeded)} succeed again")
        complete &= bool(succeeded.all())
    return complete


def overfit() -> bool:
    """Whether a policy on the true state, trained on one demonstration, succeeds from where that one began.

    It learns the executed actions: the clean ones lead away from where the noise took the expert, and one demonstration
    does not show the way back.
    """
    torch.set_num_threads(1)
    suite = Libero().build()
    demos, _ = collect(suite, 0, PROTOCOL, 0, 1, 1, tell)
    demos = replace(demos, label=demos.executed)
    torch.manual_seed(0)
    spec = AgentSpec(State(), Diffusion.sized("S"), None, horizon=16, history=1)
    agent = spec.build(suite.legend, suite.tasks)
    windows = Windows(
        demos,
        ChunkShape(16, len(suite.legend.action)),
        history=1,
        stride=1,
        gripper=suite.legend.gripper,
        held_out=False,
        frames={"state": demos.state},
        row_of_frame=None,
    )
    fit(agent, windows, demos)
    with tempfile.TemporaryDirectory() as folder:
        train(
            agent,
            lambda step: windows.training_batch(step, TRAINING.batch, seed=0),
            [],
            TRAINING,
            seed=0,
            folder=Path(folder),
            report=tell,
        )
    rows = roll_out(AgentDriver(agent, "greedy"), suite, Rollouts(PROTOCOL, episodes=1), 1, tell)
    print(rows)
    return bool(rows["success"].all())


def fit(agent: Agent, windows: Windows, demos: Demos) -> None:
    """Takes all scales from the demonstration."""
    agent.policy.fit(windows.chunks)
    agent.standardise_proprioception.fit(torch.from_numpy(demos.proprioception))
    agent.standardise_features.fit(torch.from_numpy(demos.state))


def tell(fraction: float, text: str) -> None:
    print(f"\r{fraction:6.1%} {text}", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(0 if (replay(sys.argv[2]) if sys.argv[1] == "replay" else overfit()) else 1)
