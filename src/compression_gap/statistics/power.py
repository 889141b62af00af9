"""How many seeds the compression gap needs before it can be seen."""

from __future__ import annotations

from itertools import count

from scipy import special, stats

from compression_gap.statistics.intervals import LEVEL


def power(
    effect: float, *, seed_sd: float, seeds: int, episodes: int, rate: float = 0.5, level: float = LEVEL
) -> float:
    """Probability that the interval of a gap of `effect` points excludes zero, by the noncentral t.

    seed_sd: standard deviation between seeds in points, sampling of the `episodes` rollouts not included.
    rate: success rate of the four cells, here taken to be alike, so that the degrees of freedom are 4 (S - 1).
    Raises ValueError for fewer than two seeds, which give no interval.
    """
    if seeds < 2:
        raise ValueError(f"power: expected at least 2 seeds, got {seeds}; one seed gives no interval")
    variance = seed_sd**2 + 100**2 * rate * (1 - rate) / episodes
    freedom, shift = 4 * (seeds - 1), effect / (4 * variance / seeds) ** 0.5
    critical = special.stdtrit(freedom, (1 + level) / 2)
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift))


def seeds_needed(
    effect: float, *, seed_sd: float, episodes: int, target: float = 0.9, rate: float = 0.5, level: float = LEVEL
) -> int:
    """Fewest seeds per cell whose `power` reaches `target`. Raises ValueError if no number of seeds can."""
    if effect == 0 or not 0 < target < 1:
        raise ValueError(
            f"seeds_needed: expected an effect other than 0 and a target in (0, 1), got {effect}, {target}"
        )
    settings = {"seed_sd": seed_sd, "episodes": episodes, "rate": rate, "level": level}
    return next(seeds for seeds in count(2) if power(effect, seeds=seeds, **settings) >= target)
