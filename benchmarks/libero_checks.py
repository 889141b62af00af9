"""What must hold before anything is learned on LIBERO, each minutes on one core:

    python benchmarks/libero_checks.py replay STORE    every demonstration of a store, replayed from its initial state
    python benchmarks/libero_checks.py overfit         a policy trained on one demonstration repeats it
    python benchmarks/libero_checks.py experts [SUITE] every scripted expert, from 20 random resets
    python benchmarks/libero_checks.py sheet PNG       both cameras of the ten tasks of libero_10, to be looked at

Expected: every demonstration succeeds again, so does the policy, and every expert succeeds in at least 17 of 20, those
of drawer and microwave in 16.
"""

import hashlib
import inspect
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from compression_gap.agent import Agent, AgentSpec
from compression_gap.data.collect import collect, replays
from compression_gap.data.demos import Demos
from compression_gap.data.windows import Windows
from compression_gap.encoders.state import State
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.shapes import Batch, ChunkShape
from compression_gap.store import Store, read_job
from compression_gap.suites.libero import experts as expert_module
from compression_gap.suites.libero import primitives, scripts
from compression_gap.suites.libero.suite import Libero
from compression_gap.training import Training, train

PROTOCOL = "demonstrations"
RESETS, ENOUGH = 20, 17
HARD = {("libero_10", 3): 16, ("libero_10", 9): 16}
HORIZON = 16
TRAINING = Training(steps=4000, batch=64, learning_rate=2e-3, schedule="cosine")
MILLIMETRES = 0.5  # of noise on what the policy sees; angles as a state's scale has them
FELT_MILLIMETRE = (1e-3,) * 3 + (math.radians(1.5) / 2,) * 4 + (1e-3,) * 2  # hand (m), its quaternion, fingers (m)


def replay(root: str) -> bool:
    """Whether every demonstration in the store succeeds again."""
    complete = True
    for folder in Store(Path(root)).folders():
        if folder.parent.name != PROTOCOL:
            continue
        job = read_job(folder)
        succeeded = replays(job.suite.build(), job.task, job.protocol, Demos.load(folder), tell)
        print(f"{folder.name}: {succeeded.sum()} of {len(succeeded)} succeed again")
        complete &= bool(succeeded.all())
    return complete


def experts(only: str = "") -> bool:
    """Whether every expert, of all suites or only of one, is good enough. An edit of a script is judged on resets that
    it has not been tuned on: their numbers follow from the scripts' source."""
    source = "".join(Path(inspect.getfile(part)).read_text() for part in (expert_module, primitives, scripts))
    first = int(hashlib.sha256(source.encode()).hexdigest(), 16) % 1_000_000
    enough = True
    for suite, task in scripts.SCRIPTS:
        if only not in ("", suite):
            continue
        built = Libero(suite=suite, tasks=(task,)).build()
        kept = collect(built, 0, "development", first, RESETS, 1, tell)
        succeeded = kept.episodes.height
        print(f"{suite} {task}: {succeeded} of {RESETS}, {built.tasks[0]}", flush=True)
        enough &= succeeded >= HARD.get((suite, task), ENOUGH)
    return enough


def overfit() -> bool:
    """Whether a policy on the true state, trained on one demonstration, succeeds from where that one began.

    The demonstration is executed without noise, as one alone does not show the way back. The policy sees it with half a
    millimetre of noise: without, it tells the moments apart by the last half degree of the hand's tilt, and a rollout
    that tilts otherwise is lost. Whole chunks are executed.
    """
    torch.set_num_threads(1)
    suite = Libero(noise=0.0).build()
    demos = collect(suite, 0, PROTOCOL, 0, 1, 1, tell)
    torch.manual_seed(0)
    spec = AgentSpec(State(), Diffusion.sized("S"), None, horizon=HORIZON, history=1)
    agent = spec.build(suite.legend, suite.tasks)
    windows = Windows(
        demos,
        ChunkShape(HORIZON, len(suite.legend.action)),
        history=1,
        stride=1,
        gripper=suite.legend.gripper,
        held_out=False,
        frames={"state": demos.state},
        row_of_frame=None,
    )
    fit(agent, windows, demos)
    noise = {"state": torch.tensor(suite.legend.state_scale), "proprioception": torch.tensor(FELT_MILLIMETRE)}

    def batch_at(step: int) -> Batch:
        batch = windows.training_batch(step, TRAINING.batch, seed=0)
        for name, millimetre in noise.items():  # train() has seeded torch's generator for this step
            seen = batch.observation[name]
            batch.observation[name] = seen + MILLIMETRES * millimetre * torch.randn(seen.shape)
        return batch

    with tempfile.TemporaryDirectory() as folder:
        train(
            agent,
            batch_at,
            [],
            TRAINING,
            seed=0,
            folder=Path(folder),
            report=tell,
        )
    rollouts = Rollouts(PROTOCOL, episodes=1, execute=HORIZON)
    rows = roll_out(AgentDriver(agent, "greedy"), suite, rollouts, (0,), 1, tell)
    print(rows)
    return bool(rows["success"].all())


def fit(agent: Agent, windows: Windows, demos: Demos) -> None:
    """Takes all scales from the demonstration."""
    agent.policy.fit(windows.chunks)
    agent.standardise_proprioception.fit(torch.from_numpy(demos.proprioception))
    agent.standardise_features.fit(torch.from_numpy(demos.state))


def sheet(path: str) -> bool:
    """Draws the settled first fixed state of every task as LIBERO does: a row of five tasks, agentview over hand."""
    spec = Libero(tasks=tuple(range(10)), rendering="reference").for_people
    suite, rows = spec.build(), []
    for task in range(spec.num_tasks):
        simulators = suite.simulators(task, 1)
        simulators.reset(suite.initial_states(task, "fixed", [0]), [0])
        seen = simulators.observe(spec.cameras)
        rows.append(np.concatenate([seen[camera][0] for camera in spec.cameras]))
        tell((task + 1) / spec.num_tasks, suite.tasks[task])
    halves = [np.concatenate(rows[first : first + 5], axis=1) for first in (0, 5)]
    Image.fromarray(np.concatenate(halves)).save(path, optimize=True)
    return True


def tell(fraction: float, text: str) -> None:
    print(f"\r{fraction:6.1%} {text}", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    checks = {"replay": lambda: replay(sys.argv[2]), "overfit": overfit, "experts": lambda: experts(*sys.argv[2:])}
    checks["sheet"] = lambda: sheet(sys.argv[2])
    sys.exit(0 if checks[sys.argv[1]]() else 1)
