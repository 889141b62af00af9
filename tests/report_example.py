"""A made-up report for the tests of words, figures and page: shaped like a real one, measured by nobody."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from compression_gap.report.content import (
    Cell,
    Convergence,
    Curve,
    EncoderRow,
    Failure,
    Gradient,
    Interaction,
    LossCurve,
    ReportContent,
    Reseeding,
    TokenizerRow,
)
from compression_gap.report.ladder import Bottleneck, Ladder
from compression_gap.report.measured import Measured

TOLERANCES = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0)
PRIMARY = 3
SEEDS = 3
ENCODERS = {"weak": 9.3, "strong": 4.1, "state": 0.0}
LADDER = {"160 steps": 18.2, "240 steps": 9.6, "700 steps": 3.4, "2000 steps": 2.3, "6000 steps": 1.7}
ARMS = {  # tolerance at which the arm on the true state succeeds half of the time, and its best success
    ("Diffusion", ""): (2.6, 99.0),
    ("OAT 8x1000", "greedy"): (5.6, 96.0),
    ("OAT 8x1000", "top-10"): (7.6, 92.0),
    ("OAT 8x81", "greedy"): (7.9, 90.0),
}
ENCODER_BOUND = Bottleneck(
    "encoder-bound", 0.9987, "encoder", {"codebook": 0.0, "policy or data": 0.0013, "encoder": 0.9987}, 5.0, SEEDS, 256
)
UNDETERMINED = Bottleneck(
    "undetermined",
    0.743,
    "encoder",
    {"codebook": 0.01, "policy or data": 0.247, "encoder": 0.743},
    5.0,
    SEEDS,
    256,
    reason="the encoder loss exceeds 5 points, but whether it is the largest is not sure",
    seeds_needed=7,
    states_needed=1613,
)


def example() -> ReportContent:
    """Three seeds of four arms on three encoders, all converged, seven tolerances, 8 mm the primary one."""
    random = np.random.default_rng(7)
    cells = tuple(_cell(random, *arm, encoder) for arm in ARMS for encoder in ENCODERS)
    return ReportContent(
        title="Does discrete tokenization hold a better encoder back?",
        question="On tabletop pick and place: what does a better picture encoder buy Diffusion Policy, and what OAT?",
        grid="example",
        commands=("cgap run example --workers 2", "cgap report example"),
        seeds=SEEDS,
        encoder_order=tuple(ENCODERS),
        tolerances_mm=TOLERANCES,
        primary_tolerance_mm=TOLERANCES[PRIMARY],
        cells=cells,
        interactions=tuple(_interaction(cells, *arm) for arm in ARMS if arm[1]),
        ladders=tuple(_ladder(cells, cell) for cell in cells if cell.encoder != "state"),
        tokenizers=(
            _tokenizer("OAT 8x1000", 79.73, 27.4, 23.1, 3.1, 88.0),
            _tokenizer("OAT 8x81", 50.72, 21.9, 18.8, 4.6, 71.0),
            _tokenizer("Binning 256", 896.0, 520.3, 301.5, 0.1, 97.0),
        ),
        encoders=(
            EncoderRow(
                "weak", 64, Measured(9.3, 9.0, 9.6, "frames"), Measured(11.0, 10.6, 11.4, "frames"), "800 steps"
            ),
            EncoderRow(
                "strong", 64, Measured(4.1, 4.0, 4.2, "frames"), Measured(4.4, 4.3, 4.5, "frames"), "3,500 steps"
            ),
            EncoderRow("state", 20, note="the true poses"),
        ),
        blind=(replace(_cell(random, "Diffusion", "", "weak"), encoder="blind", success=_constant(1.0)),),
        losses=tuple(
            _loss(random, arm, seed) for arm in ("Diffusion", "OAT 8x1000", "OAT 8x81") for seed in range(SEEDS)
        ),
        reseeding=(
            Reseeding("policy", True, "weights, batches, noise"),
            Reseeding("tokenizer", True, "weights, batches"),
            Reseeding("encoder", False, "frozen, trained once on other episodes"),
            Reseeding("demonstrations", False, "2,000 episodes"),
            Reseeding("initial states", False, "the same 256 for every cell, paired by hash"),
        ),
        seconds=27_400.0,
        provenance={"compression-gap": "0.1.0", "torch": "2.13.0", "commit": "c0ffee1", "machine": "2 cores"},
    )


def ladder_of_encoders() -> ReportContent:
    """The same arms on five encoders of measured quality."""
    random = np.random.default_rng(8)
    cells = tuple(_cell(random, *arm, encoder) for arm in ARMS for encoder in LADDER)
    return replace(
        example(),
        encoder_order=tuple(LADDER),
        cells=cells,
        interactions=tuple(_interaction(cells, *arm, "160 steps", "6000 steps") for arm in ARMS if arm[1]),
        gradients=tuple(_gradient(cells, *arm) for arm in ARMS if arm[1]),
        ladders=(),
        encoders=tuple(EncoderRow(name, 128, Measured(error, over="frames")) for name, error in LADDER.items()),
    )


def with_convergence(content: ReportContent, arm: str, label: Convergence, change: float | None) -> ReportContent:
    """The same content with one arm's cells labelled otherwise."""
    told = None if change is None else Measured(change, change - 8.0, change + 8.0)
    cells = (
        replace(cell, convergence=label, change_on_doubling=told) if cell.arm == arm else cell for cell in content.cells
    )
    return replace(content, cells=tuple(cells))


def with_seeds(content: ReportContent, seeds: int) -> ReportContent:
    """The same cells with the first few seeds only; intervals stay as they are."""
    cells = tuple(replace(cell, per_seed=cell.per_seed[:seeds]) for cell in content.cells)
    return replace(content, cells=cells, seeds=seeds)


def success_only() -> ReportContent:
    """The content of a suite without tolerances, two seeds, a failed job, one arm undertrained."""
    full = example()

    def cut(cell: Cell) -> Cell:
        return replace(
            cell, success=cell.success[PRIMARY : PRIMARY + 1], per_seed=tuple((s[PRIMARY],) for s in cell.per_seed[:2])
        )

    cells = tuple(cut(cell) for cell in full.cells if cell.encoder != "state")
    fields = ("continuous_gain", "discrete_gain", "points", "log_odds", "flags")
    rows = tuple(
        replace(row, **{field: getattr(row, field)[PRIMARY : PRIMARY + 1] for field in fields})
        for row in full.interactions
    )
    content = replace(
        full,
        seeds=2,
        encoder_order=("weak", "strong"),
        tolerances_mm=(),
        primary_tolerance_mm=None,
        cells=cells,
        interactions=rows[:1],
        ladders=(),
        tokenizers=tuple(replace(row, replay=row.replay[PRIMARY : PRIMARY + 1]) for row in full.tokenizers),
        blind=tuple(cut(cell) for cell in full.blind),
        failures=(
            Failure(
                "train agent OAT 8x81 on strong, seed 1",
                "RuntimeError: loss is not finite at step 1,204 <nan>",
                "Traceback (most recent call last):\n  ...\nRuntimeError: loss is not finite at step 1,204 <nan>",
            ),
        ),
    )
    return with_convergence(content, "OAT 8x1000 (greedy)", "undertrained", 14.0)


def _cell(random: np.random.Generator, method: str, decoding: str, encoder: str) -> Cell:
    half, best = ARMS[method, decoding]
    centre = math.hypot(half, 1.25 * {**ENCODERS, **LADDER}[encoder])
    true = [best / (1 + (centre / tolerance) ** 3.5) for tolerance in TOLERANCES]
    seeds = np.clip(
        np.array(true) + random.normal(0, 2.5, (SEEDS, 1)) + random.normal(0, 1, (SEEDS, len(true))), 0, 100
    )
    return Cell(
        method,
        encoder,
        decoding,
        _curve(seeds),
        tuple(map(tuple, seeds.tolist())),
        256,
        "converged",
        Measured(change := float(random.normal(0, 1.5)), change - 3.0, change + 3.0),
    )


def _gradient(cells: tuple[Cell, ...], method: str, decoding: str) -> Gradient:
    quality = -np.log2(list(LADDER.values()))
    slopes = []
    for arm in (("Diffusion", ""), (method, decoding)):
        of_arm = [np.array(c.per_seed) for c in cells if (c.method, c.decoding) == arm]  # rungs of [seeds, tolerances]
        away = (quality - quality.mean()) / quality.var() / len(quality)
        slopes.append(np.tensordot(away, np.stack(of_arm), axes=1))
    ranks = tuple(0.0004 if t > 3 else 0.21 for t in TOLERANCES)
    difference = slopes[0] - slopes[1]
    return Gradient(
        method,
        decoding,
        "Diffusion",
        tuple(LADDER.items()),
        *(_curve(values) for values in (*slopes, difference, difference / 40)),
        flags=tuple("" for _ in TOLERANCES),
        continuous_rank_p=ranks,
        discrete_rank_p=ranks,
    )


def _interaction(
    cells: tuple[Cell, ...], method: str, decoding: str, weak: str = "weak", strong: str = "strong"
) -> Interaction:
    by_name = {(c.method, c.decoding, c.encoder): np.array(c.per_seed) for c in cells}
    first = by_name["Diffusion", "", strong] - by_name["Diffusion", "", weak]
    second = by_name[method, decoding, strong] - by_name[method, decoding, weak]
    gap = first - second
    ends = np.array(
        [by_name[m, d, e].mean(0) for m, d in (("Diffusion", ""), (method, decoding)) for e in (weak, strong)]
    )
    flags = [
        " and ".join(n for n, hit in (("floor", low), ("ceiling", high)) if hit)
        for low, high in zip((ends < 10).any(0), (ends > 90).any(0), strict=True)
    ]
    return Interaction(
        method,
        decoding,
        "Diffusion",
        weak,
        strong,
        _curve(first),
        _curve(second),
        _curve(gap),
        _curve(gap / 40),
        tuple(flags),
    )


def _ladder(cells: tuple[Cell, ...], cell: Cell) -> Ladder:
    state = next(c for c in cells if c.arm == cell.arm and c.encoder == "state").success[PRIMARY]
    replay = {"Diffusion": 97.6, "OAT 8x1000": 88.0, "OAT 8x81": 71.0}[cell.method]
    here, expert = cell.success[PRIMARY], 97.6
    return Ladder(
        cell.method,
        cell.decoding,
        cell.encoder,
        "state",
        Measured(expert, 96.0, 98.6, "episodes", "reference"),
        Measured(replay, replay - 3, replay + 3, "episodes", "reference"),
        state,
        here,
        *(
            Measured(loss, loss - 4.0, loss + 4.0, "new training seeds and initial states")
            for loss in (expert - replay, replay - state.value, state.value - here.value)
        ),
        ENCODER_BOUND if cell.encoder == "weak" else UNDETERMINED,
    )


def _tokenizer(name: str, nominal: float, marginals: float, code: float, error: float, replay: float) -> TokenizerRow:
    curve = tuple(Measured(replay * min(1.0, (t / 8) ** 0.6), over="episodes", kind="reference") for t in TOLERANCES)
    bound = [Measured(bits, bits - 0.4, bits + 0.4, kind="upper bound") for bits in (marginals, code)]
    return TokenizerRow(
        name, nominal, *bound, Measured(error, 0.95 * error, 1.05 * error), Measured(1.4 * error), curve
    )


def _loss(random: np.random.Generator, arm: str, seed: int) -> LossCurve:
    steps = np.arange(0, 20_001, 50)
    train = 0.05 + 0.9 * np.exp(-steps / 2500) + random.normal(0, 0.006, len(steps))
    held_out = 0.06 + 0.9 * np.exp(-steps[::10] / 2600) + random.normal(0, 0.002, len(steps[::10]))
    return LossCurve(arm, seed, *(tuple(a.tolist()) for a in (steps, train, steps[::10], held_out)))


def _curve(seeds: np.ndarray) -> Curve:
    half = 4.3 * seeds.std(0, ddof=1) / math.sqrt(len(seeds))
    return tuple(Measured(float(m), float(m - h), float(m + h)) for m, h in zip(seeds.mean(0), half, strict=True))


def _constant(value: float) -> Curve:
    return tuple(Measured(value, 0.4, 1.9) for _ in TOLERANCES)
