"""Where success is lost between the expert and one cell, as a report holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compression_gap.report.measured import Measured, arm_name


@dataclass(frozen=True)
class Bottleneck:
    """The verdict on a ladder, read from all its losses together."""

    label: str
    """`encoder-bound`, `codebook-bound`, `policy-or-data-bound`, `several`, `none: saturated` or `undetermined`."""
    probability: float
    """Of an X-bound cell, that X is the largest loss; of `several`, that two or more exceed `delta`; of `none`, that
    all are below it; of `undetermined`, that the likeliest loss is the largest."""
    likeliest: str
    """The loss that is most probably the largest: `codebook`, `policy or data` or `encoder`."""
    largest: Mapping[str, float]
    """Probability of each possible loss to be the largest."""
    delta: float
    """Points that a loss must exceed to bind."""
    seeds: int
    states: int
    """Initial states that each seed was judged on."""
    reason: str = ""
    """Why it is undetermined."""
    seeds_needed: int | None = None
    """How many would probably settle an undetermined case; None if none does, or it is not one."""
    states_needed: int | None = None
    """The same of initial states."""


@dataclass(frozen=True)
class Ladder:
    """Where success is lost between the expert and one cell, at the primary tolerance."""

    method: str
    decoding: str
    encoder: str
    reference: str
    """Name of the encoder that is the true state."""
    expert: Measured
    """S_exp, percent."""
    replay: Measured
    """S_tok: the expert's chunks through the code, closed loop; a continuous method has S_exp here."""
    state: Measured
    """S_pol(state): the same policy on the true state."""
    policy: Measured
    """S_pol(Z): the cell itself."""
    codebook_loss: Measured
    """S_exp - S_tok in points; every loss may be negative, and they add up to what the cell lacks of the expert."""
    policy_loss: Measured
    """S_tok - S_pol(state): policy and data."""
    encoder_loss: Measured
    """S_pol(state) - S_pol(Z)."""
    bottleneck: Bottleneck

    @property
    def arm(self) -> str:
        return arm_name(self.method, self.decoding)
