"""What an audit says: every number is a `Quantity`, so that none can be printed without its kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from compression_gap.measures.quantity import Quantity

NO_CODE = "no code"
"""The name of the policy without a code."""


@dataclass(frozen=True)
class ArmRow:
    """What one arm tells about the next chunk."""

    arm: str
    """`features`, `candidate`, `known`, `state`, `shuffled` or `random`."""
    words: str
    told: Quantity
    """By a linear readout."""
    left: Quantity
    """Bits of the chunk that the linear readout leaves open."""
    beyond: Quantity | None
    """More than proprioception and task tell."""
    denoised: Quantity | None = None
    """By denoisers, linear or not."""
    denoised_beyond: Quantity | None = None
    """No number where validation demonstrations preferred denoisers that ignore the features: then `denoised` is what
    proprioception and task tell, which says nothing about other probes."""
    converged: bool | None = None
    """Whether the denoisers are; None where there are none."""
    certified: Quantity | None = None
    """Bits that are certain, with 95 %, whatever the probe."""
    gripper: Quantity | None = None
    """About gripper commands: of another kind than the rest, and not to be added to it."""

    @property
    def best(self) -> Quantity:
        """The larger of what the two found: both are usable bits, to a probe of their kind."""
        if self.denoised is None or self.denoised.value is None or self.told.value is None:
            return self.told
        return max(self.told, self.denoised, key=lambda one: one.value or 0.0)

    @property
    def best_beyond(self) -> Quantity | None:
        """By denoisers; by the linear readout where there are none, or where they ignore the features."""
        found = self.denoised_beyond
        return self.beyond if found is None or found.value is None else found


@dataclass(frozen=True)
class HeadRow:
    """A policy head retrained offline: what one arm tells about a code, and how far off the actions are then."""

    arm: str
    words: str
    error: Quantity
    """Of actions, share of their variance."""
    left: Quantity | None
    """Bits of the code that the arm leaves open; None for a continuous head."""
    told: Quantity | None
    saturation: Quantity | None
    curve: tuple[tuple[int, float], ...] = ()
    """Demonstrations and error."""
    aims: Mapping[str, Quantity] = field(default_factory=dict)
    """How far to the side the hand is, in mm, where a gripper `closes` and `opens`; as far as that is known."""
    more: Quantity | None = None
    """Bits of the code that it is told more than the policy as it is: the code's entropy cancels. None for that."""
    read_back: Quantity | None = None
    """Error of its codes themselves on the same chunks, share of the variance; None for a continuous head."""


@dataclass(frozen=True)
class CodeRow:
    """A tokenizer, or why there are no numbers."""

    name: str
    spec: Mapping[str, Any]
    failed: str | None = None
    nominal: Quantity | None = None
    code: Quantity | None = None
    """Bits of a code, as far as they are known from above."""
    certified: Quantity | None = None
    error: Quantity | None = None
    """Of the chunk read back, share of the variance."""
    mm: Quantity | None = None
    degrees: Quantity | None = None
    switched: Quantity | None = None
    """Steps at which a gripper came out wrong."""
    needed: Quantity | None = None
    """Bits that suffice for this error: by the Gaussian, or by a denoiser where that is less."""
    excess: Quantity | None = None
    """Bits of the code more than that."""
    prefixes: tuple[Mapping[str, float], ...] = ()
    lost: int = 0
    """Test chunks that could not be written or read."""
    heads: tuple[HeadRow, ...] = ()


@dataclass(frozen=True)
class Upgrade:
    """What one upgrade is expected to buy."""

    name: str
    gain: Quantity
    """With a 90 % interval."""
    counts: float
    """What a gain that counts exceeds, in the gain's unit."""
    chance: float | None
    """Probability that it does."""


@dataclass(frozen=True)
class VerdictRow:
    """What holds the policy back on the way through one code, or that it cannot be told."""

    code: str
    label: str
    sentence: str
    leaning: str
    """The likeliest label where it is undetermined; empty where it is not, or where nothing can be said."""
    probability: float | None
    """Of the label, or of what it leans to."""
    evidence: tuple[str, ...]
    """In words."""
    settle: str
    """What would settle it; empty where it is settled."""
    upgrades: tuple[Upgrade, ...] = ()
    measured: Mapping[str, Quantity] = field(default_factory=dict)
    """The evidence in numbers: errors D of chunks on actions scaled to [-1, 1], and lengths of codes."""

    @property
    def openness(self) -> int:
        """0 for a verdict that commits, 1 for one that leans somewhere, 2 for one that says nothing."""
        return 0 if self.label != "undetermined" else 1 if self.leaning else 2


@dataclass(frozen=True)
class AuditContent:
    """The whole audit."""

    name: str
    source: str
    notes: tuple[str, ...]
    budget: str
    left_out: tuple[str, ...]
    """What the budget left out."""
    unknown: tuple[str, ...]
    """What nobody can know from this data, and why."""
    steps: int
    demonstrations: int
    tasks: int
    chunks: int
    chunks_there: int
    test_chunks: int
    test_demonstrations: int
    divisions: int
    """Ways in which demonstrations were divided for policy heads, each of which tests on others."""
    horizon: int
    stride: int
    sigma: float
    actions: tuple[str, ...]
    """Names of the action values that bits and errors are about."""
    actions_left_out: tuple[str, ...]
    held: Quantity
    """Bits of a chunk."""
    gripper: Quantity | None
    """Bits of a chunk's gripper commands; None where they were not measured."""
    arms: tuple[ArmRow, ...]
    codes: tuple[CodeRow, ...]
    continuous: tuple[HeadRow, ...]
    verdicts: tuple[VerdictRow, ...]
    curve: tuple[tuple[float, float], ...]
    """Bits and share of the variance along the Gaussian's rate-distortion function: an upper bound for any source."""
    denoised_curve: tuple[tuple[float, float], ...]
    """The same by a denoiser; empty where none was trained."""
    command: str
    failures: tuple[str, ...] = ()
    """What could not be measured beside the codes, and why."""

    def arm(self, name: str) -> ArmRow | None:
        """The row of an arm, if it was measured."""
        return next((row for row in self.arms if row.arm == name), None)

    @property
    def seen(self) -> ArmRow | None:
        """The arm that the policy has: features, or else what it knows without."""
        return self.arm("features") or self.arm("known")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a quantity is an object with value, kind, unit, over, low, high and note."""
        return _plain(self)


def quantity(told: Mapping[str, Any] | None) -> Quantity | None:
    """A quantity that was written as JSON."""
    return None if told is None else Quantity(**{name: told[name] for name in get_type_hints(Quantity)})


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
