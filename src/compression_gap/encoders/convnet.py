"""A small convolutional network that learns together with the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.config import added_later
from compression_gap.encoders.base import Encoder, EncoderSpec, check_pictures
from compression_gap.suites.base import Legend

GROUPS = 4
SHARPNESS = 10.0
"""Of the softmax over places: untrained keypoints that look everywhere at once take long to find anything."""


@dataclass(frozen=True)
class ConvolutionalSpec(EncoderSpec):
    """The shape of the trunk that looks at one camera."""

    channels: tuple[int, ...] = (16, 32)
    """Channels of the strided convolutions, multiples of 4; each convolution halves the picture."""
    blocks: int = 2
    """Residual blocks at the final resolution."""
    keypoints: int = 32
    """Places that are looked at."""
    pooled: int = 4
    """Height and width of the pooled map beside the keypoints."""
    width: int = 128
    """Length of a vector that the policy sees."""
    image_size: int | None = added_later(None)
    """Height and width to which pictures are shrunk first, by averaging areas; None: as drawn."""

    def __post_init__(self) -> None:
        if not self.channels or any(number % GROUPS for number in self.channels):
            raise ValueError(f"{self.kind}.channels are multiples of {GROUPS} (GroupNorm), got {self.channels}")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"{self.kind}.image_size is at least 1 pixel or None, got {self.image_size}")

    def trunk(self, legend: Legend) -> Trunk:
        """An untrained trunk for one of the suite's cameras.

        Raises ValueError if pictures would have to grow.
        """
        if self.image_size is not None and self.image_size > legend.image_size:
            raise ValueError(
                f"{self.kind}.image_size: pictures of {legend.image_size} pixels are shrunk, not enlarged to "
                f"{self.image_size}; choose a smaller one or the suite's image_size larger"
            )
        return Trunk(legend.image_size, self)


class Trunk(nn.Module):
    """Pictures of one camera as one vector: strided convolutions, residual blocks, and a map that is read in two ways.

    The spatial softmax (Levine et al. 2016, section 5.1) says where each keypoint is and, averaging the map with the
    same weights, what is there; the pooled map says roughly what is where. GroupNorm (Wu and He 2018) keeps every frame
    independent of the others of its batch.
    """

    grid: Tensor

    def __init__(self, image_size: int, spec: ConvolutionalSpec) -> None:
        super().__init__()
        self.image_size, self.shrunk, last = image_size, spec.image_size, spec.channels[-1]
        sizes = zip((3, *spec.channels), spec.channels, strict=False)
        self.stem = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(GROUPS, after), nn.ReLU())
                for before, after in sizes
            )
        )
        self.blocks = nn.Sequential(*(Residual(last) for _ in range(spec.blocks)))
        self.heat = nn.Conv2d(last, spec.keypoints, 1)
        self.pool = nn.AdaptiveAvgPool2d(spec.pooled)
        self.width = spec.keypoints * (2 + last) + last * spec.pooled**2
        line = torch.linspace(-1, 1, -(-(spec.image_size or image_size) // 2 ** len(spec.channels)))
        grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)
        self.register_buffer("grid", rearrange(grid, "h w yx -> (h w) yx"), persistent=False)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, pictures: UInt8[Tensor, "N height width 3"]) -> Float[Tensor, "N F"]:
        """Raises ValueError if the pictures do not have the size that the trunk was built for."""
        check_pictures(pictures, self.image_size)
        values = rearrange(pictures, "n h w c -> n c h w").float() / 127.5 - 1
        if self.shrunk is not None:
            values = functional.interpolate(values, size=(self.shrunk, self.shrunk), mode="area")
        maps = self.blocks(self.stem(values))
        weights = functional.softmax(SHARPNESS * self.heat(maps).flatten(2), dim=2)
        where = weights @ self.grid
        what = weights @ rearrange(maps, "n c h w -> n (h w) c")
        return torch.cat([where.flatten(1), what.flatten(1), self.pool(maps).flatten(1)], dim=1)


class Residual(nn.Module):
    """Two normalised 3x3 convolutions beside the identity (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(GROUPS, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(GROUPS, channels),
        )

    def forward(self, maps: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        return functional.relu(maps + self.change(maps))


@dataclass(frozen=True)
class ConvNet(ConvolutionalSpec, kind="convnet"):
    """A convolutional network trained end to end with the policy, from random weights: one vector a camera."""

    shift: int = 0
    """Augmentation: in training, pictures move by up to this many pixels each way."""

    @property
    def trained(self) -> bool:
        return True

    def build(self, legend: Legend) -> ConvNetEncoder:
        return ConvNetEncoder(legend, self)


class ConvNetEncoder(Encoder):
    """One trunk a camera, each read out as one vector. Shifts draw from torch's global generator, in training mode."""

    trained = True

    def __init__(self, legend: Legend, spec: ConvNet) -> None:
        super().__init__()
        self.reads, self.vectors, self.width = legend.cameras, len(legend.cameras), spec.width
        self.shift = spec.shift
        self.trunks = nn.ModuleList(spec.trunk(legend) for _ in self.reads)
        self.heads = nn.ModuleList(nn.Linear(trunk.width, spec.width) for trunk in self.trunks)  # type: ignore[arg-type]

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N K F"]:
        pictures = [frames[camera] for camera in self.reads]
        if self.training and self.shift:
            pictures = [shifted(one, self.shift) for one in pictures]
        seen = zip(self.heads, self.trunks, pictures, strict=True)
        return torch.stack([head(trunk(one)) for head, trunk, one in seen], dim=1)


class FusedTrunks(Encoder):
    """One trunk a camera, fused into one vector a frame, without gradients."""

    vectors = 1
    trained = False

    def __init__(self, legend: Legend, spec: ConvolutionalSpec) -> None:
        super().__init__()
        self.reads, self.width = legend.cameras, spec.width
        trunks = [spec.trunk(legend) for _ in self.reads]
        self.trunks = nn.ModuleList(trunks)
        self.fuse = nn.Sequential(nn.Linear(sum(trunk.width for trunk in trunks), spec.width), nn.ReLU())

    @torch.no_grad()
    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N 1 F"]:
        return self._features(frames).unsqueeze(1)

    def _features(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N F"]:
        seen = [trunk(frames[camera]) for trunk, camera in zip(self.trunks, self.reads, strict=True)]
        return self.fuse(torch.cat(seen, dim=1))


def shifted(pictures: UInt8[Tensor, "N height width 3"], pixels: int) -> UInt8[Tensor, "N height width 3"]:
    """Each picture moved by its own whole number of pixels within +-`pixels` on both axes; edges repeat.

    After Yarats et al. 2021 (DrQ), section 4.1.
    """
    num, height, width, _ = pictures.shape
    move = torch.randint(-pixels, pixels + 1, (2, num, 1), device=pictures.device)
    rows = (torch.arange(height, device=pictures.device) + move[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=pictures.device) + move[1]).clamp(0, width - 1)
    each = torch.arange(num, device=pictures.device)
    return pictures[each[:, None, None], rows[:, :, None], columns[:, None, :]]
