"""A made-up report over five codebooks: shaped like a real one, measured by nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compression_gap.report.codebooks import Codebook, CodebookSize, GainSlope, Size
from compression_gap.report.content import Cell, Curve, Interaction, Measured, ReportContent
from report_example import PRIMARY, SEEDS, TOLERANCES, example

BITS = {"OAT 8x81": 50.7, "OAT 8x256": 64.0, "OAT 8x625": 74.3, "OAT 8x1000": 79.7, "OAT 8x4096": 96.0}
REALISED = (17.7, 19.6, 21.3, 22.0, 25.1)
REPLAY = (87.0, 94.0, 97.0, 99.0, 100.0)
LEVELS = {  # success at the primary tolerance by encoder, smallest codebook first, and what a nominal bit adds
    "weak": (21.0, 0.05),
    "strong": (33.0, 0.20),
    "state": (63.0, 0.35),
}
ARMS = tuple(f"{name} (greedy)" for name in BITS)


def codebooks() -> ReportContent:
    """Five codebooks and Diffusion on three encoders, three seeds, everything converged."""
    random = np.random.default_rng(5)
    success = {
        ("Diffusion", encoder): _seeds(random, level) for encoder, level in zip(LEVELS, (26, 51, 85), strict=True)
    }
    for name, bits in BITS.items():
        for encoder, (level, rise) in LEVELS.items():
            success[name, encoder] = _seeds(random, level + rise * (bits - 50.7))
    cells = tuple(
        Cell(
            name,
            encoder,
            "" if name == "Diffusion" else "greedy",
            curve(of),
            _tuples(of),
            300,
            "converged",
            Measured(1.0, -2.0, 4.0),
        )
        for (name, encoder), of in success.items()
    )
    gaps = tuple(_gap(success, name) for name in BITS)
    content = example()
    return replace(
        content,
        cells=cells,
        interactions=gaps,
        codebook_sizes=tuple(_size(success, best) for best in ("strong", "state")),
        ladders=(),
        tokenizers=(),
        blind=(),
    )


def with_slope(content: ReportContent, *ends: float | None) -> ReportContent:
    """The same, with one slope of points on nominal bits for every upgrade and tolerance."""
    found = Measured(*ends)  # type: ignore[arg-type]
    rows = []
    for row in content.codebook_sizes:
        nominal, *others = row.slopes
        rows.append(replace(row, slopes=(replace(nominal, points=(found,) * len(TOLERANCES)), *others)))
    return replace(content, codebook_sizes=tuple(rows))


def with_flag(content: ReportContent, flag: str) -> ReportContent:
    """The same, with the largest codebook at the floor or the ceiling everywhere."""
    rows = []
    for row in content.codebook_sizes:
        *books, last = row.codebooks
        rows.append(replace(row, codebooks=(*books, replace(last, flags=(flag,) * len(TOLERANCES)))))
    return replace(content, codebook_sizes=tuple(rows))


def without_replay_slope(content: ReportContent) -> ReportContent:
    """The same, where every replay succeeds."""
    nothing = (None,) * len(TOLERANCES)
    rows = (
        replace(row, slopes=(*row.slopes[:2], GainSlope("replay", nothing, nothing))) for row in content.codebook_sizes
    )
    return replace(content, codebook_sizes=tuple(rows))


def curve(seeds: np.ndarray) -> Curve:
    """Mean and a width that stands for an interval."""
    half = 2.5 * seeds.std(0, ddof=1)
    return tuple(Measured(float(m), float(m - h), float(m + h)) for m, h in zip(seeds.mean(0), half, strict=True))


def _seeds(random: np.random.Generator, level: float) -> np.ndarray:
    """Percent, [seeds, tolerances]."""
    tolerances = np.array(TOLERANCES)
    shape = 1 / (1 + (tolerances[PRIMARY] / tolerances) ** 2)
    return np.clip(2 * level * shape + random.normal(0, 1.5, (SEEDS, 1)), 0.0, 100.0)


def _tuples(seeds: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, seeds.tolist()))


def _size(success: dict[tuple[str, str], np.ndarray], best: str) -> CodebookSize:
    gains = [success[name, best] - success[name, "weak"] for name in BITS]
    replays = [np.minimum(100.0, np.array(TOLERANCES) / TOLERANCES[PRIMARY] * replay) for replay in REPLAY]
    books = tuple(
        Codebook(
            name,
            bits,
            Measured(realised, over="chunks", kind="upper bound"),
            tuple(Measured(float(r), float(r - 1), float(min(100.0, r + 1)), kind="reference") for r in replay),
            curve(gain),
            curve(gain / 20),
            ("",) * len(TOLERANCES),
        )
        for (name, bits), realised, replay, gain in zip(BITS.items(), REALISED, replays, gains, strict=True)
    )
    sizes: dict[Size, tuple[float, ...]] = {
        "nominal bits": tuple(BITS.values()),
        "realised bits": REALISED,
        "replay": REPLAY,
    }
    slopes = []
    for name, size in sizes.items():
        away = np.array(size) - np.mean(size)
        slope = np.tensordot(away / (away**2).sum(), np.stack(gains), axes=1)  # [seeds, tolerances]
        slopes.append(GainSlope(name, curve(slope), curve(slope / 20)))
    without = curve(success["Diffusion", best] - success["Diffusion", "weak"])
    return CodebookSize("greedy", "weak", best, books, tuple(slopes), "Diffusion", without)


def _gap(success: dict[tuple[str, str], np.ndarray], name: str) -> Interaction:
    first, second = (success[arm, "strong"] - success[arm, "weak"] for arm in ("Diffusion", name))
    curves = (curve(values) for values in (first, second, first - second, (first - second) / 20))
    return Interaction(name, "greedy", "Diffusion", "weak", "strong", *curves, flags=("",) * len(TOLERANCES))
