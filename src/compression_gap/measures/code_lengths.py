"""From code lengths of held-out chunks to bits: of a code, about it, and more than another encoder gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from compression_gap.measures.quantity import DEMONSTRATIONS, Kind, Quantity, mean_over_demonstrations

TOLERANCE = 0.1
"""Share of the bits that the second half of the training demonstrations may have added, for a number to be printed."""
NEGLIGIBLE = 0.3  # bits below which that share is a share of noise
NOT_CONVERGED = "not converged"


@dataclass(frozen=True)
class CodeLengths:
    """Bits that probes need for the tokens of N test chunks, told the same things, by fraction of the training
    demonstrations and probe seed."""

    fractions: tuple[float, ...]
    """Ascending, the last is 1."""
    bits: Float[np.ndarray, "fractions seeds N L"]
    demonstration: Int[np.ndarray, " N"]

    @property
    def whole(self) -> Quantity:
        """Mean bits of a code. In expectation an upper bound on its entropy given what the probe was told, whatever the
        probe: it overestimates by the probe's divergence from the truth (Cover & Thomas 2006, theorem 5.4.3)."""
        return mean_over_demonstrations(self.bits[-1].sum(axis=2), self.demonstration, kind="upper bound")

    @property
    def positions(self) -> tuple[Quantity, ...]:
        """Of every token given those before it."""
        return _by_position(self.bits[-1], self.demonstration, "upper bound")

    @property
    def curve(self) -> tuple[float, ...]:
        """Mean bits of a code along the fractions of training demonstrations."""
        return tuple(self.bits.sum(axis=3).mean(axis=(1, 2)).tolist())


@dataclass(frozen=True)
class Information:
    """What features tell about a code: usable bits for this family of probes at this number of demonstrations.

    No bound in either direction: the probe without features is off by its own divergence, the one with them by its own,
    and only the difference shows. From N chunks nothing above about log2 N could be certified anyhow (McAllester &
    Stratos 2020, arXiv 1811.04251)."""

    bits: Quantity
    """"not converged" instead of a number where the second half of the training demonstrations added more than 10 %."""
    positions: tuple[Quantity, ...]
    """By token position, given the tokens before it; the same label if the whole is not converged."""
    curve: tuple[float, ...]
    """Along the fractions of training demonstrations, whether converged or not."""
    saturation: Quantity
    """1 - H(T | Z) / H(T) with code lengths for entropies: the share of the code that the features decide. Only a code
    that is filled can be what holds a policy back."""


def information(without: CodeLengths, given: CodeLengths) -> Information:
    """Code length without features minus code length given them, on the same test chunks.

    Raises ValueError if the two were not measured on the same chunks with the same probes.
    """
    gaps = _same(without, given)
    curve = tuple(gaps.sum(axis=3).mean(axis=(1, 2)).tolist())
    bits = mean_over_demonstrations(gaps[-1].sum(axis=2), given.demonstration, kind="estimate")
    positions = _by_position(gaps[-1], given.demonstration, "estimate")
    saturation = _saturation(without.bits[-1].sum(axis=2), given.bits[-1].sum(axis=2), given.demonstration)
    reason = _unsettled(given.fractions, curve)
    if reason:
        bits, saturation = _without_number(bits, reason), _without_number(saturation, reason)
        positions = tuple(_without_number(one, reason) for one in positions)
    return Information(bits, positions, curve, saturation)


@dataclass(frozen=True)
class Difference:
    """Bits about the code that one encoder gives more than another.

    The entropy of the code cancels, and what remains of the error is how much further one probe is from the truth than
    the other.
    """

    bits: Quantity
    positions: tuple[Quantity, ...]
    """By token position, given the tokens before it."""
    curve: tuple[float, ...]
    """Along the fractions of training demonstrations."""


def difference(one: CodeLengths, other: CodeLengths) -> Difference:
    """I(Z_one; T) - I(Z_other; T), chunk by chunk, with an interval over demonstrations and probe seeds.

    Raises ValueError if the two were not measured on the same chunks with the same probes.
    """
    gaps = _same(other, one)
    bits = mean_over_demonstrations(gaps[-1].sum(axis=2), one.demonstration, kind="estimate")
    curve = tuple(gaps.sum(axis=3).mean(axis=(1, 2)).tolist())
    return Difference(bits, _by_position(gaps[-1], one.demonstration, "estimate"), curve)


def _same(larger: CodeLengths, smaller: CodeLengths) -> Float[np.ndarray, "fractions seeds N L"]:
    same = larger.bits.shape == smaller.bits.shape and larger.fractions == smaller.fractions
    if not same or not np.array_equal(larger.demonstration, smaller.demonstration):
        raise ValueError(
            "code lengths can be compared only on the same chunks, fractions and number of probe seeds; got "
            f"{larger.bits.shape} and {smaller.bits.shape} (fractions, seeds, chunks, tokens)"
        )
    return larger.bits - smaller.bits


def _unsettled(fractions: tuple[float, ...], curve: tuple[float, ...]) -> str:
    """Why the number at the end of the curve is not one to print; empty if it is."""
    if 0.5 not in fractions:
        return "convergence was not measured: train on half of the demonstrations too"
    added = curve[-1] - curve[fractions.index(0.5)]
    return NOT_CONVERGED if added > max(TOLERANCE * curve[-1], NEGLIGIBLE) else ""


def _without_number(quantity: Quantity, reason: str) -> Quantity:
    return Quantity(None, quantity.kind, quantity.unit, quantity.over, note=reason)


def _by_position(
    bits: Float[np.ndarray, "seeds N L"], demonstration: Int[np.ndarray, " N"], kind: Kind
) -> tuple[Quantity, ...]:
    return tuple(
        mean_over_demonstrations(bits[:, :, place], demonstration, kind=kind, unit="bits a token")
        for place in range(bits.shape[2])
    )


def _saturation(
    without: Float[np.ndarray, "seeds N"], given: Float[np.ndarray, "seeds N"], demonstration: Int[np.ndarray, " N"]
) -> Quantity:
    if without.mean() <= 0:
        note = "undetermined: a constant code has no entropy to be filled"
        return Quantity(None, "estimate", "share", DEMONSTRATIONS, note=note)
    ratio = given.mean() / without.mean()
    each = 1 - ratio - (given - ratio * without) / without.mean()  # a ratio of means, to first order
    return mean_over_demonstrations(each, demonstration, kind="estimate", unit="share")
