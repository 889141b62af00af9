"""The published numbers, to stand beside ours: "The Compression Gap", arXiv 2604.03191, tables 1-3."""

from __future__ import annotations

import math
from dataclasses import dataclass

TITLE = "The Compression Gap: why discrete tokenization limits vision-language-action model scaling"
ADDRESS = "arXiv:2604.03191"
ROLLOUTS = 500
WARNING = (
    "LIBERO-10, peak success over the evaluations made during training, 500 rollouts, one seed a cell. "
    "Other tasks, other encoders and another checkpoint rule than here: compare directions, not numbers."
)


@dataclass(frozen=True)
class Published:
    """One table of the paper: success in percent."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]


FACTORIAL = Published(
    "Factorial",
    ("ResNet-18", "SigLIP"),
    (
        ("Diffusion, size M", (36.4, 57.6)),
        ("Diffusion, size L", (44.0, 70.0)),
        ("OAT, size M", (53.8, 57.4)),
        ("OAT, size L", (48.0, 58.4)),
    ),
)
ENCODERS = Published(
    "Encoders, size M",
    ("ResNet-18", "SigLIP", "SigLIP 2", "DINOv2 ViT-L/14"),
    (("Diffusion", (36.4, 57.6, 62.8, 63.8)), ("OAT", (53.8, 57.4, 44.2, 51.0))),
)
CODEBOOKS = Published(
    "Codebooks, OAT, size M",
    ("ResNet-18", "SigLIP"),
    (
        ("1000 codes, 79.7 bits", (53.8, 57.4)),
        ("1920 codes, 87.3 bits", (42.6, 57.8)),
        ("4375 codes, 96.8 bits", (54.6, 58.6)),
    ),
)
TABLES = (FACTORIAL, ENCODERS, CODEBOOKS)


@dataclass(frozen=True)
class PublishedGap:
    """The paper's interaction for one model size, in points."""

    size: str
    points: float

    def half_width(self, seed_sd: float) -> float:
        """Half of a 95 % interval if training seeds differ by `seed_sd` points; 0 leaves the noise of rollouts alone.

        Four cells of one seed each, success near one half.
        """
        rollout_variance = 100**2 * 0.25 / ROLLOUTS
        return 1.96 * math.sqrt(4 * (rollout_variance + seed_sd**2))


def gaps() -> tuple[PublishedGap, ...]:
    """Encoder gain of Diffusion minus that of OAT, for M and L."""
    success = dict(FACTORIAL.rows)

    def gain(name: str) -> float:
        weak, strong = success[name]
        return strong - weak

    return tuple(PublishedGap(size, gain(f"Diffusion, size {size}") - gain(f"OAT, size {size}")) for size in "ML")
