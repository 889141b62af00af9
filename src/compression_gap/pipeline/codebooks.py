"""Does what a better encoder buys grow with the codebook? From a grid's finished jobs to the report's answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from compression_gap import statistics
from compression_gap.pipeline.cell import Method, Sight
from compression_gap.pipeline.plan import token_bits
from compression_gap.pipeline.results import Results, measured
from compression_gap.policies.base import Decoding
from compression_gap.report.codebooks import Codebook, CodebookSize, GainSlope, Size
from compression_gap.report.measured import Curve, Measured
from compression_gap.statistics import GainTrend, Outcomes, Unit

Upgrade = tuple[Sight, Sight]
REALISED = ("code_length_bits", "marginal_bits", "nominal_bits")
"""Each an upper bound on the bits of a code; the least of them is what a codebook uses."""
Cells = list[list[Outcomes]]
"""By codebook and tolerance."""


def codebook_sizes(results: Results) -> list[CodebookSize]:
    """Every family of codebooks, from the weak to the strong sight and from the weak one to the true state.

    A family of which a codebook, a cell or a measurement is missing is left out, as is one whose codebooks are all of
    one size.
    """
    grid = results.grid
    sights = {sight.name: sight for sight in grid.sights}
    best = [name for name in (grid.strong, grid.state) if name is not None and name != grid.weak]
    upgrades = [(sights[grid.weak], sights[name]) for name in best]
    found = []
    for family in grid.codebooks:
        sized = [(method, bits) for method in family if (bits := _bits(results, method)) is not None]
        if len(sized) < len(family) or len({nominal for _, (nominal, _) in sized}) == 1:
            continue
        sized.sort(key=lambda pair: pair[1][0])
        for upgrade, decoding in product(upgrades, family[0].decodings):
            row = _row(results, sized, upgrade, decoding)
            found += [] if row is None else [row]
    return found


def _row(
    results: Results, sized: list[tuple[Method, tuple[float, float]]], upgrade: Upgrade, decoding: Decoding
) -> CodebookSize | None:
    methods = [method for method, _ in sized]
    weak, strong = (_cells(results, methods, sight, decoding) for sight in upgrade)
    replays = [[results.replay(method, tolerance) for tolerance in results.tolerances] for method in methods]
    if weak is None or strong is None or any(replay is None for curve in replays for replay in curve):
        return None
    levels = [tuple(measured(statistics.cell(o), "reference") for o in curve if o is not None) for curve in replays]
    books = tuple(
        Codebook(
            method=method.name,
            nominal_bits=nominal,
            realised_bits=Measured(realised, over="chunks", kind="upper bound"),
            replay=level,
            gain=_gains(low, high, "points"),
            log_odds=_gains(low, high, "log-odds"),
            flags=tuple(statistics.flag_of(cells) for cells in zip(low, high, strict=True)),
        )
        for (method, (nominal, realised)), level, low, high in zip(sized, levels, weak, strong, strict=True)
    )
    continuous = next((c for c, method in results.grid.comparisons if method == methods[0]), None)
    without = _continuous_gain(results, continuous, upgrade) if continuous else ()
    return CodebookSize(
        decoding=decoding,
        encoder_from=upgrade[0].name,
        encoder_to=upgrade[1].name,
        codebooks=books,
        slopes=_slopes(books, weak, strong),
        continuous=continuous.name if continuous and without else "",
        continuous_gain=without,
    )


def _bits(results: Results, method: Method) -> tuple[float, float] | None:
    """Nominal and realised bits, the mean over the seeds' tokenizers; None if they are not all measured."""
    grid = results.grid
    jobs = [token_bits(grid, grid.base.replace(method=method, seed=seed)) for seed in grid.seeds]
    known = [results.summary(job) for job in jobs if job is not None and results.has(job)]
    if len(known) < len(jobs):
        return None
    nominal = known[0]["nominal_bits"]
    return nominal, float(np.mean([min(found[name] for name in REALISED) for found in known]))


def _cells(results: Results, methods: Sequence[Method], sight: Sight, decoding: Decoding) -> Cells | None:
    found = [[results.outcomes(method, sight, decoding, t) for t in results.tolerances] for method in methods]
    known = [[outcomes for outcomes in curve if outcomes is not None] for curve in found]
    return known if known == found else None


def _continuous_gain(results: Results, method: Method, upgrade: Upgrade) -> Curve:
    ends = [_cells(results, [method], sight, method.decodings[0]) for sight in upgrade]
    return _gains(ends[0][0], ends[1][0], "points") if ends[0] and ends[1] else ()


def _gains(weak: Sequence[Outcomes], strong: Sequence[Outcomes], unit: Unit) -> Curve:
    return tuple(measured(statistics.gain(*pair, unit=unit)) for pair in zip(weak, strong, strict=True))


def _slopes(books: Sequence[Codebook], weak: Cells, strong: Cells) -> tuple[GainSlope, ...]:
    along = range(len(weak[0]))
    sizes: dict[Size, list[list[Measured]]] = {
        "nominal bits": [[Measured(book.nominal_bits) for book in books] for _ in along],
        "realised bits": [[book.realised_bits for book in books] for _ in along],
        "replay": [[book.replay[at] for book in books] for at in along],
    }
    found = []
    for size, curve in sizes.items():
        trends: list[GainTrend | None] = [
            statistics.gain_trend(
                [cells[at] for cells in weak], [cells[at] for cells in strong], [number.value for number in values]
            )
            if _apart(values)
            else None
            for at, values in enumerate(curve)
        ]
        points, log_odds = (
            tuple(None if trend is None else measured(getattr(trend, unit)) for trend in trends)
            for unit in ("points", "log_odds")
        )
        found.append(GainSlope(size, points, log_odds))
    return tuple(found)


def _apart(values: Sequence[Measured]) -> bool:
    """Whether the largest is larger than the smallest by more than their intervals: else no line has an axis."""
    smallest, largest = (choose(values, key=lambda number: number.value) for choose in (min, max))
    high = smallest.value if smallest.high is None else smallest.high
    low = largest.value if largest.low is None else largest.low
    return low > high
