"""The contract of a suite as a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compression_gap.suites.base import Legend, Simulators, Suite, SuiteSpec, state_hashes
from compression_gap.testing.common import check_spec

EPISODES = (11, 12, 13, 14)


def check_suite(spec: SuiteSpec, task: int = 0, experts: int = len(EPISODES), steps: int = 12) -> None:
    """Raises AssertionError with the broken clause if the suite does not keep the contract of `suites.base`.

    Simulates `experts` (1 to 4) episodes of `task` to their end, and several times the first `steps` steps.
    """
    check_spec(spec)
    suite = spec.build()
    _check_legend(spec, suite)
    _check_initial_states(suite, task)
    run = _Run(suite, task, EPISODES[:experts])
    actions = _check_expert(run, steps)
    _check_observations(run, suite.legend)
    _check_steps(run, actions)
    _check_snapshots(run, actions)


class _Run:
    """The same episodes of one task, begun as often as needed."""

    def __init__(self, suite: Suite, task: int, episodes: Sequence[int]) -> None:
        self.suite, self.task, self.episodes = suite, task, list(episodes)
        self.states = suite.initial_states(task, suite.legend.protocols[0], range(len(episodes)))

    def begin(self) -> Simulators:
        simulators = self.suite.simulators(self.task, len(self.episodes))
        simulators.reset(self.states, self.episodes)
        return simulators

    def after(self, actions: np.ndarray) -> Simulators:
        simulators = self.begin()
        for action in actions:
            simulators.step(action)
        return simulators


def _check_legend(spec: SuiteSpec, suite: Suite) -> None:
    legend = suite.legend
    assert len(suite.tasks) == spec.num_tasks, "the spec knows the number of tasks"
    assert legend.cameras == spec.cameras, "the spec knows the cameras"
    assert legend.tolerances_mm == spec.tolerances_mm, "the spec knows the tolerances"
    width = len(legend.action)
    for name in ("action_scale", "action_low", "action_high"):
        assert len(getattr(legend, name)) == width, f"legend.{name} has a value for each of the {width} action values"
    assert len(legend.state_scale) == len(legend.state), "legend.state_scale has a value for each value of the state"
    assert all(0 <= d < width for d in legend.gripper), "legend.gripper names action values"
    assert legend.protocols, "there is at least one protocol"


def _check_initial_states(suite: Suite, task: int) -> None:
    for protocol in suite.legend.protocols:
        names = state_hashes(suite.initial_states(task, protocol, [0, 1, 2]))
        assert len(set(names)) == 3, f"initial states of protocol {protocol!r} differ from each other"
        assert state_hashes(suite.initial_states(task, protocol, [2, 0])) == [names[2], names[0]], (
            f"an initial state of protocol {protocol!r} does not depend on which others are asked for"
        )
    protocol = suite.legend.protocols[0]
    _refuses(lambda: suite.initial_states(task, "no such protocol", [0]), "an unknown protocol")
    _refuses(lambda: suite.initial_states(len(suite.tasks), protocol, [0]), "an unknown task")


def _check_expert(run: _Run, steps: int) -> np.ndarray:
    """The expert's first executed actions [steps, E, D]; it must succeed in at least half of its episodes."""
    simulators, expert = run.begin(), run.suite.expert(run.task)
    expert.begin(run.episodes)
    shape, executed = (len(run.episodes), len(run.suite.legend.action)), []
    while not simulators.done().all() and len(executed) < run.suite.legend.max_steps:
        saved = expert.save()
        label, action = expert.act(simulators)
        assert label.shape == action.shape == shape, f"labels and executed actions are [E, D] = {shape}"
        if len(executed) == steps // 2:
            expert.restore(saved)
            assert np.array_equal(expert.act(simulators)[1], action), "a restored expert goes on as it did"
        simulators.step(action)
        executed.append(action)
    outcome = simulators.outcome()
    assert outcome["success"].dtype == bool, "outcome has a bool column success"
    assert not run.suite.legend.tolerances_mm or "error_mm" in outcome, "a suite with tolerances tells error_mm"
    assert 2 * outcome["success"].sum() >= len(run.episodes), "the expert succeeds at least half of the time"
    done, before = simulators.done(), simulators.scene()
    simulators.step(executed[0])
    assert np.array_equal(simulators.scene()[done], before[done]), "a finished environment ignores steps"
    simulators.close()

    simulators, expert = run.begin(), run.suite.expert(run.task)
    expert.begin(run.episodes)
    for action in executed[:steps]:
        assert np.array_equal(expert.act(simulators)[1], action), "equal episode numbers, equal actions of the expert"
        simulators.step(action)
    simulators.close()
    return np.stack(executed[:steps])


def _check_observations(run: _Run, legend: Legend) -> None:
    simulators, number = run.begin(), len(run.episodes)
    names = (*legend.cameras, "proprioception", "state", "stamp")
    seen = simulators.observe(names)
    assert set(seen) == set(names), f"observe gives what was asked for: {names}, got {tuple(seen)}"
    for camera in legend.cameras:
        shape = (number, legend.image_size, legend.image_size, 3)
        assert seen[camera].shape == shape, f"pictures of {camera!r} are {shape}, got {seen[camera].shape}"
        assert seen[camera].dtype == np.uint8, f"pictures are uint8, got {seen[camera].dtype}"
        drawn = run.suite.draw(run.task, simulators.scene(), camera)
        assert np.array_equal(drawn, seen[camera]), f"draw shows of a scene what observe showed from camera {camera!r}"
    for name, width in {"proprioception": len(legend.proprioception), "state": len(legend.state)}.items():
        assert seen[name].shape == (number, width), f"{name} is [E, {width}] as in the legend, got {seen[name].shape}"
        assert np.isfinite(seen[name]).all(), f"{name} is finite"
    assert seen["stamp"].tolist() == [[episode, 0] for episode in run.episodes], "a stamp is (episode, step)"
    simulators.step(np.zeros((number, len(legend.action))))
    assert simulators.observe(["stamp"])["stamp"][:, 1].tolist() == [1] * number, "a step moves the stamp"
    simulators.close()


def _check_steps(run: _Run, actions: np.ndarray) -> None:
    one, two = run.after(actions), run.after(actions)
    assert np.array_equal(one.scene(), two.scene()), (
        "equal actions from equal states give equal scenes, to the last bit"
    )
    high = np.array(run.suite.legend.action_high)
    inside, beyond = run.after(actions[:1] * 0 + high), run.after(actions[:1] * 0 + high * 10)
    assert np.array_equal(inside.scene(), beyond.scene()), "actions outside the limits are clipped"
    for simulators in (one, two, inside, beyond):
        simulators.close()


def _check_snapshots(run: _Run, actions: np.ndarray) -> None:
    half = len(actions) // 2
    simulators = run.after(actions[:half])
    snapshot = simulators.save()

    def go_on() -> list[np.ndarray]:
        for action in actions[half:]:
            simulators.step(action)
        return [simulators.scene(), *simulators.observe(["proprioception", "state", "stamp"]).values()]

    first = go_on()
    for _ in range(2):
        simulators.restore(snapshot)
        same = all(np.array_equal(a, b) for a, b in zip(first, go_on(), strict=True))
        assert same, "a restored simulator goes on to the last bit as the original, as often as it is restored"
    simulators.close()


def _refuses(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except ValueError:
        return
    raise AssertionError(f"{what} raises ValueError")
