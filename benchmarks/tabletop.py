"""Speed of the tabletop suite on one core: steps and pictures a second.

    OMP_NUM_THREADS=1 python benchmarks/tabletop.py

Expected at least 500,000 environment steps/s without pictures and 2,000 pictures/s of 64x64.
"""

import time
from functools import partial

import numpy as np

from compression_gap.suites.tabletop.suite import Tabletop

ENVIRONMENTS, STEPS, REPEATS = 1000, 60, 5


def best(run, count):
    """Events a second of processor time in the fastest of several runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return count / min(seconds)


def main():
    suite = Tabletop().build()
    states, episodes = suite.initial_states(0, "development", range(ENVIRONMENTS)), range(ENVIRONMENTS)
    simulators, expert = suite.simulators(0, ENVIRONMENTS), suite.expert(0)
    actions, scenes = [], []

    def record():
        simulators.reset(states, episodes)
        expert.begin(episodes)
        for _ in range(STEPS):
            scenes.append(simulators.scene())
            actions.append(expert.act(simulators)[1])
            simulators.step(actions[-1])

    def step():
        simulators.reset(states, episodes)
        for action in actions[:STEPS]:
            simulators.step(action)

    print(f"steps/s with the expert   {best(record, ENVIRONMENTS * STEPS):10,.0f}")
    print(f"steps/s without           {best(step, ENVIRONMENTS * STEPS):10,.0f}")
    some = np.concatenate(scenes[:STEPS:10])[::2]
    for camera in suite.legend.cameras:
        speed = best(partial(suite.draw, 0, some, camera), len(some))
        print(f"{camera:5} pictures/s          {speed:10,.0f}")


if __name__ == "__main__":
    main()
