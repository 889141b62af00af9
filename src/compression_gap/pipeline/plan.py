"""From a grid to its jobs: the one place where everything is wired together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from compression_gap.encoders.base import EncoderSpec
from compression_gap.pipeline.cell import Cell, Grid
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import (
    Demonstrations,
    Drawings,
    Evaluation,
    Features,
    PoseError,
    RecordedDemonstrations,
    Recording,
    Replay,
    TokenBits,
    TrainedAgent,
    TrainedEncoder,
    TrainedTokenizer,
    Videos,
)
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.base import Decoding
from compression_gap.rollout import Rollouts
from compression_gap.suites.base import SuiteSpec
from compression_gap.training import Training

# the same probe for every tokenizer, so that their code lengths compare
PROBE = Autoregressive(width=64, layers=2, heads=4)


def demonstrations(
    suite: SuiteSpec, tasks: Sequence[int], first: int, attempts: int, protocol: str = "demonstrations"
) -> tuple[Demonstrations, ...]:
    """Attempts first .. first + attempts - 1 of each task, in pieces that processes can share.

    What is left in the end goes to the last piece where it is less than half of one: a few attempts may all fail.
    """
    size = suite.attempts_a_job or max(1, attempts)
    starts = range(first, first + attempts - (size - 1) // 2, size) or range(first, first + min(1, attempts))
    return tuple(
        Demonstrations(*suite.alone(task), start, stop - start, protocol)
        for task in tasks
        for start, stop in pairwise((*starts, first + attempts))
    )


def pretrained(encoder: EncoderSpec, suite: SuiteSpec, demos: Sequence[Demonstrations]) -> TrainedEncoder:
    """The encoder, trained on every fourth frame: outside of studies always so, that commands speak of the same one."""
    drawings = tuple(Drawings(job, suite.cameras, history=1, stride=4) for job in demos)
    return TrainedEncoder(
        encoder, drawings, Training(encoder.pretraining_steps, batch=64, learning_rate=3e-3, schedule="cosine")
    )


def policy_demonstrations(cell: Cell) -> tuple[Demonstrations, ...]:
    """What the policy imitates."""
    return _attempts(cell, 0, cell.data.episodes)


def _attempts(cell: Cell, first: int, attempts: int) -> tuple[Demonstrations, ...]:
    suite, recordings = cell.suite, cell.data.recordings
    if not recordings or not attempts:
        return demonstrations(suite, range(suite.num_tasks), first, attempts, cell.data.protocol)
    return tuple(
        RecordedDemonstrations(*suite.alone(task), first, attempts, recording=Recording(suite.title_of(task), content))
        for task, content in enumerate(recordings)
    )


def trained_encoder(cell: Cell) -> TrainedEncoder | None:
    """The cell's encoder if it is pretrained: on other episodes, shared by all seeds."""
    if cell.sight.pretraining is None:
        return None
    if not cell.data.encoder_episodes:
        raise ValueError(f"sight {cell.sight.name!r} is pretrained, and the data's encoder_episodes are 0")
    demos = _attempts(cell, cell.data.episodes, cell.data.encoder_episodes)
    cameras = _cameras(cell)
    drawings = tuple(Drawings(d, cameras, history=1, stride=cell.data.encoder_stride) for d in demos)
    return TrainedEncoder(cell.sight.encoder, drawings, cell.sight.pretraining)


def trained_tokenizer(cell: Cell, training: Training | None = None) -> TrainedTokenizer | None:
    """The cell's tokenizer: retrained for every seed."""
    method = cell.method
    if method.tokenizer is None:
        return None
    data = cell.data
    more = _attempts(cell, data.episodes + data.encoder_episodes, data.tokenizer_episodes)
    demos = (*policy_demonstrations(cell), *more)
    seed = cell.seed if method.tokenizer.learned else 0
    training = training or method.tokenizer_training
    return TrainedTokenizer(method.tokenizer, demos, cell.horizon, data.stride, training, seed)


def trained_agent(cell: Cell, training: Training | None = None, milestones: tuple[int, ...] = ()) -> TrainedAgent:
    """The cell's agent, with all that it stands on."""
    demos = policy_demonstrations(cell)
    encoder, cameras = trained_encoder(cell), _cameras(cell)
    drawings = tuple(Drawings(d, cameras, cell.history, cell.data.stride) for d in demos) if cameras else ()
    live = cell.sight.encoder.trained
    features = () if live else tuple(Features(cell.sight.encoder, encoder, d) for d in drawings)
    return TrainedAgent(
        agent=cell.agent,
        demonstrations=demos,
        drawings=drawings if live else (),
        features=features,
        encoder=encoder,
        tokenizer=trained_tokenizer(cell),
        training=training or cell.method.training,
        stride=cell.data.stride,
        seed=cell.seed,
        milestones=milestones,
    )


def evaluations(grid: Grid, cell: Cell, decoding: Decoding) -> tuple[Evaluation, ...]:
    """The agent of one of the grid's cells, judged."""
    agent, milestone = _run(grid, cell)
    return judged(agent, cell.rollouts, decoding, milestone)


def _run(grid: Grid, cell: Cell) -> tuple[TrainedAgent, int | None]:
    """The run that makes a cell's agent, and after how many of its steps if not all.

    Under the first seed it goes on to twice the cell's steps, because convergence is read from what they add.
    """
    training = cell.method.training
    if cell.seed != grid.seeds[0]:
        return trained_agent(cell), None
    if training.schedule != "constant":
        raise ValueError(f"method {cell.method.name!r}: convergence is only defined for a constant learning rate")
    return trained_agent(cell, replace(training, steps=2 * training.steps), (training.steps,)), training.steps


def judged(
    agent: TrainedAgent,
    rollouts: Rollouts,
    decoding: Decoding,
    milestone: int | None = None,
    elsewhere: SuiteSpec | None = None,
) -> tuple[Evaluation, ...]:
    """An agent's rollouts in all tasks, by as many jobs as can run side by side."""
    tasks = side_by_side(agent.suite)
    return tuple(Evaluation(agent, rollouts, decoding, milestone, task, elsewhere) for task in tasks)


def side_by_side(suite: SuiteSpec) -> tuple[int | None, ...]:
    """A suite that steps one environment at a time gets a job for each task; any other does all tasks in one."""
    return tuple(range(suite.num_tasks)) if suite.batch == 1 and suite.num_tasks > 1 else (None,)


@dataclass(frozen=True)
class Doubling:
    """An arm's run under the first seed, judged after N steps and after 2N: what convergence is read from."""

    agent: TrainedAgent
    once: tuple[Evaluation, ...]
    twice: tuple[Evaluation, ...]


def doubling(grid: Grid, arm: Cell, decoding: Decoding) -> Doubling:
    """The run of `arm`, a cell of the first seed, on initial states outside the grid.

    Raises ValueError if its learning rate is not constant: only then is the first half of a run a shorter run.
    """
    agent, milestone = _run(grid, arm)
    return Doubling(
        agent,
        once=judged(agent, grid.development, decoding, milestone),
        twice=judged(agent, grid.development, decoding),
    )


def replays(cell: Cell) -> tuple[Replay, ...]:
    """The expert's chunks through the cell's code, from the cell's own initial states."""
    return _replays(cell, trained_tokenizer(cell))


def expert(cell: Cell) -> tuple[Replay, ...]:
    """The expert's own chunks."""
    return _replays(cell, None)


def _replays(cell: Cell, tokenizer: TrainedTokenizer | None) -> tuple[Replay, ...]:
    return tuple(Replay(cell.suite, tokenizer, cell.horizon, cell.rollouts, task) for task in side_by_side(cell.suite))


def token_bits(grid: Grid, cell: Cell) -> TokenBits | None:
    """Rate and distortion of the cell's tokenizer."""
    tokenizer = trained_tokenizer(cell)
    return TokenBits(tokenizer, PROBE, grid.probe_training) if tokenizer else None


def jobs_of(grid: Grid) -> list[Job]:
    """Every job that the grid's report stands on, without their dependencies."""
    jobs: list[Job | None] = [*expert(grid.base)]
    for cell in grid.cells:
        for decoding in cell.method.decodings:
            jobs += evaluations(grid, cell, decoding)
        if cell.method.tokenizer is not None:
            jobs += replays(cell)
    for cell in arms(grid):
        for decoding in cell.method.decodings:
            run = doubling(grid, cell, decoding)
            jobs += [*run.once, *run.twice]
        encoder = trained_encoder(cell)
        jobs.append(PoseError(encoder) if encoder else None)
    # one tokenizer stands for its method, except where the question is what its size does
    jobs += [token_bits(grid, cell) for cell in (grid.cells if grid.codebooks else arms(grid))]
    unique = {job.digest: job for job in jobs if job is not None}
    return list(unique.values())


def videos_of(grid: Grid, count: int) -> list[Videos]:
    """The first episodes of every cell and task, by its primary decoding."""
    runs = [evaluations(grid, cell, cell.method.decodings[0]) for cell in grid.cells]
    return [Videos(job, count) for run in runs for job in run]


def arms(grid: Grid) -> list[Cell]:
    """One cell for each method and sight: the one of the first seed."""
    return [cell for cell in grid.cells if cell.seed == grid.seeds[0]]


def _cameras(cell: Cell) -> tuple[str, ...]:
    return cell.suite.cameras if cell.sight.encoder.sees else ()
