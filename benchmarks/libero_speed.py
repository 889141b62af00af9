"""What LIBERO costs here, as ratios within one run, on an otherwise idle machine:

    python benchmarks/libero_speed.py steps      an episode's environment time, against LIBERO's own loop
    python benchmarks/libero_speed.py episodes store/trained_agent/<digest>
                                                 a trained agent's episodes of its first task, against drawing both
                                                 cameras at every step
    python benchmarks/libero_speed.py resets     an episode's start, against the simulator's own hard reset
    python benchmarks/libero_speed.py workers    episodes a minute of two workers, against one
    python benchmarks/libero_speed.py memory     memory of one process over 200 episodes of several tasks

`steps` executes the same actions from the same initial states three times: as LIBERO's own environment does it, drawing
both cameras at every step; and as a policy does it here that looks at 2 frames in 16 steps, with "reference" and with
"fast" rendering, and takes the fastest of three rounds. Resets and the policy are left out. `episodes` has one agent
act from the same initial states in the same three ways, with our own environment in all of them, and tells whether the
episodes end in the same state.
"""

import gc
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from compression_gap import Agent
from compression_gap.commands.answer import finish
from compression_gap.pipeline.jobs import TrainedAgent
from compression_gap.pipeline.plan import demonstrations
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.store import Store, read_job
from compression_gap.suites.libero.benchmark import load_tasks
from compression_gap.suites.libero.suite import Libero, LiberoSimulators, LiberoSuite

SUITE, TASKS, RESETS = "libero_10", (2, 0, 4), 3
CAMERAS = Libero().cameras
LOOKS, OF_STEPS, EPISODES, ROUNDS = 2, 16, 5, 3
MEMORY_EPISODES, MEMORY_STEPS = 200, 60
ATTEMPTS = 240


def steps() -> None:
    """Environment time of an episode."""
    print(f"{'task':>4} {'steps':>6} {'LIBERO':>9} {'reference':>18} {'fast':>18}   seconds (times faster)")
    total = np.zeros(3)
    for task in TASKS:
        actions = episode(Libero(suite=SUITE, tasks=(task,)).build())
        rounds = []
        for _ in range(ROUNDS):
            times = [seconds_of_libero(task, actions)]
            for rendering in ("reference", "fast"):
                times.append(seconds_here(Libero(suite=SUITE, tasks=(task,), rendering=rendering).build(), actions))
            rounds.append(times)
        fastest = np.min(rounds, axis=0)
        total += fastest
        print(f"{task:4} {len(actions):6}{ratios(fastest)}", flush=True)
    print(f"{'all':>4} {'':6}{ratios(total)}")


def ratios(seconds: np.ndarray) -> str:
    """LIBERO's seconds, and ours with how many times faster they are."""
    theirs, *ours = seconds
    return f" {theirs:9.1f}" + "".join(f" {mine:9.1f} ({theirs / mine:5.1f}x)" for mine in ours)


def episode(suite: LiberoSuite) -> np.ndarray:
    """The actions of one episode of the expert."""
    simulators, expert = suite.simulators(0, 1), suite.expert(0)
    simulators.reset(suite.initial_states(0, "fixed", [0]), [0])
    expert.begin([0])
    actions = []
    while not simulators.done()[0] and len(actions) < suite.legend.max_steps:
        actions.append(expert.act(simulators)[1])
        simulators.step(actions[-1])
    return np.array(actions)


def seconds_of_libero(task: int, actions: np.ndarray) -> float:
    """LIBERO's own environment, which draws both cameras at every step."""
    env = libero_environment(task)
    env.seed(0)
    env.reset()
    env.set_init_state(load_tasks(SUITE)[task].initial_states()[0])
    env.step(actions[0, 0])  # the first picture also makes the graphics context
    began = time.perf_counter()
    for action in actions[:, 0]:
        env.step(action)
    seconds = time.perf_counter() - began
    env.close()
    return seconds


def libero_environment(task: int):
    """LIBERO's own, in the size in which it ships its pictures."""
    from libero.libero.envs import OffScreenRenderEnv

    file = str(load_tasks(SUITE)[task].bddl_file)
    return OffScreenRenderEnv(bddl_file_name=file, camera_heights=128, camera_widths=128)


def seconds_here(suite: LiberoSuite, actions: np.ndarray) -> float:
    """Steps, and two looks of both cameras in sixteen steps."""
    simulators = suite.simulators(0, 1)
    simulators.reset(suite.initial_states(0, "fixed", [0]), [0])
    looked = (*suite.legend.cameras, "proprioception")
    simulators.observe(looked)
    began = time.perf_counter()
    for step, action in enumerate(actions):
        if step % OF_STEPS >= OF_STEPS - LOOKS:
            simulators.observe(looked)
        simulators.step(action)
    return time.perf_counter() - began


def resets() -> None:
    """What an episode's start takes."""
    print(f"{'task':>4} {'hard reset':>11} {'here':>8} {'with settling':>14}   seconds (share of a hard reset)")
    for task in TASKS:
        env = libero_environment(task)
        theirs = timed(lambda env=env: env.reset())
        env.close()
        world = Libero(suite=SUITE, tasks=(task,)).build().world(0)
        state = load_tasks(SUITE)[task].initial_states()[0]
        bare, settled = (timed(lambda s=s, w=world, x=state: w.start(0, x, s)) for s in (0, Libero().settle_steps))
        print(f"{task:4} {theirs:11.2f} {bare:8.2f} {settled:14.2f}   ({bare / theirs:.0%}, {settled / theirs:.0%})")


def timed(act, times: int = RESETS) -> float:
    """Mean seconds of a call, without the first."""
    act()
    began = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - began) / times


def episodes(folder: str) -> None:
    """A trained agent's first test episodes of its first task: environment time, everything, and whether they end
    alike."""
    trained = read_job(Path(folder))
    assert isinstance(trained, TrainedAgent)
    driver, rollouts = AgentDriver(Agent.load(folder), "greedy"), Rollouts("test", EPISODES, OF_STEPS // LOOKS)
    print(f"{EPISODES} episodes; seconds of each (times faster)")
    print(f"{'looks':12} {'rendering':10} {'environment':>18} {'everything':>18}   end as when drawn at every step")
    first: Timed | None = None
    for name, rendering in (("every step", "reference"), ("2 in 16", "reference"), ("2 in 16", "fast")):
        suite = TimedSuite(trained.suite.replace(rendering=rendering))
        suite.eager = name == "every step"
        suite.simulators(0, 1).warm_up()
        began = time.perf_counter()
        roll_out(driver, suite, rollouts, [0], 1, lambda *_: None)
        mine = suite.made
        mine.whole = time.perf_counter() - began
        first = first or mine
        alike = sum(np.array_equal(a, b) for a, b in zip(first.ends(), mine.ends(), strict=True))
        told = "".join(
            f" {now / EPISODES:9.1f} ({before / now:5.1f}x)"
            for before, now in ((first.seconds, mine.seconds), (first.whole, mine.whole))
        )
        print(f"{name:12} {rendering:10}{told}   {alike} of {EPISODES}", flush=True)


class Timed(LiberoSimulators):
    """Counts the seconds of stepping and looking; `eager` ones draw both cameras after every step."""

    eager = False
    seconds = whole = 0.0

    def warm_up(self) -> None:
        """The first picture also makes the graphics context."""
        self._world.picture(CAMERAS[0])

    def reset(self, states, episodes) -> None:
        self.finished = [*getattr(self, "finished", []), *getattr(self, "_snapshots", [])]
        super().reset(states, episodes)
        if self.eager:
            self._drawn = super().observe(CAMERAS)

    def ends(self) -> list[np.ndarray]:
        """The last state of every episode."""
        return [*self.finished, *self._snapshots]

    def step(self, actions) -> None:
        began = time.perf_counter()
        super().step(actions)
        if self.eager:
            self._drawn = super().observe(CAMERAS)
        self.seconds += time.perf_counter() - began

    def observe(self, names):
        began = time.perf_counter()
        asked = [name for name in names if not (self.eager and name in CAMERAS)]
        found = {**(self._drawn if self.eager else {}), **super().observe(asked)}
        self.seconds += time.perf_counter() - began
        return {name: found[name] for name in names}


class TimedSuite(LiberoSuite):
    """A suite whose simulators count."""

    eager = False

    def simulators(self, task: int, num: int) -> Timed:
        self.made = Timed(self, task, num)
        self.made.eager = self.eager
        return self.made


def workers() -> None:
    """Episodes a minute; both times the same ones, the two workers first, so that nothing is warm for them alone."""
    rates = {}
    for number in (2, 1):
        root = Path(tempfile.mkdtemp())
        jobs = list(demonstrations(Libero(suite=SUITE, tasks=TASKS[:1]), (0,), 0, ATTEMPTS, "development"))
        began = time.perf_counter()
        finish(jobs, Store(root), number, "cpu", quiet=True)
        rates[number] = ATTEMPTS / (time.perf_counter() - began) * 60
        shutil.rmtree(root)
        print(f"{number} worker(s): {rates[number]:.1f} episodes a minute, loading included", flush=True)
    print(f"two workers: {rates[2] / rates[1]:.2f} times one")


def memory() -> None:
    """Memory of this process, as episodes of several tasks go by."""
    suite = Libero(suite=SUITE, tasks=TASKS).build()
    rng = np.random.default_rng(0)
    for number in range(MEMORY_EPISODES):
        task = number // 10 % len(TASKS)
        simulators = suite.simulators(task, 1)
        simulators.reset(suite.initial_states(task, "fixed", [number % 50]), [number])
        for step in range(MEMORY_STEPS):
            if step % OF_STEPS == 0:
                simulators.observe(suite.legend.cameras)
            simulators.step(rng.uniform(-1, 1, (1, 7)))
        if number % 20 == 19:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            now = pages * resource.getpagesize() / 1e6
            print(f"after {number + 1:3} episodes: {now:6.0f} MB", flush=True)


if __name__ == "__main__":
    told = {"steps": steps, "resets": resets, "workers": workers, "memory": memory, "episodes": episodes}
    told[sys.argv[1]](*sys.argv[2:])
