"""ResNet-18 from random weights, as the Compression Gap paper uses it: one net a camera, keypoints as features."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from einops.layers.torch import Rearrange, Reduce
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.config import added_later
from compression_gap.encoders.base import Encoder, EncoderCost, EncoderSpec, check_pictures, weights_of
from compression_gap.encoders.crop import check_crop, cropped
from compression_gap.suites.base import Legend

CHANNELS_A_GROUP = 16


@dataclass(frozen=True)
class ResNet18(EncoderSpec, kind="resnet18", version=1):
    """ResNet-18 with GroupNorm and a spatial softmax, trained end to end with the policy: one vector a camera.

    He et al. 2016; Chi et al. 2023 (arXiv 2303.04137), section III. The defaults are the Compression Gap paper's.
    """

    crop: int | None = 76
    """Height and width of what is looked at, in pixels: cut out at random while it learns, from the centre otherwise.
    None: the whole picture."""
    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of the stages, multiples of 16; each stage but the first halves the map."""
    keypoints: int = 32
    """Places that are looked at; a vector has two numbers for each."""
    training: Literal["trained", "frozen"] = added_later("trained")
    """Trained along with the policy, or frozen at random weights, which then follow from these settings."""
    pooling: Literal["keypoints", "mean", "patches"] = added_later("keypoints")
    """What is read from the last maps: where the keypoints are, the mean over all places, or a vector a place."""
    image_size: int | None = added_later(None)
    """Height and width to which the crop is resized (bicubic, antialiased); None: as cropped."""
    shared: bool = added_later(False)
    """One net for all cameras instead of one each; keypoints are still chosen for each camera."""

    def __post_init__(self) -> None:
        if not self.channels or any(number % CHANNELS_A_GROUP for number in self.channels):
            raise ValueError(f"ResNet18.channels are multiples of {CHANNELS_A_GROUP} (GroupNorm), got {self.channels}")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"ResNet18.image_size is at least 1 pixel or None, got {self.image_size}")

    @property
    def trained(self) -> bool:
        return self.training == "trained"

    @property
    def cost(self) -> EncoderCost:
        side = self.image_size or self.crop or 128
        vector_mb = 4e-6 * self.channels[-1] * (self.places(side) if self.pooling == "patches" else 1)
        return EncoderCost(
            picture=7e-3 * (side / 76) ** 2, memory_mb=2000, vector_mb=vector_mb, weights_mb=45 if self.shared else 90
        )

    def places(self, side: int) -> int:
        """Places of the last map of pictures that are `side` pixels wide."""
        return (-(-side // 2 ** (1 + len(self.channels)))) ** 2

    def build(self, legend: Legend) -> ResNetEncoder:
        """Raises ValueError if the suite's pictures are smaller than the crop."""
        check_crop("ResNet18", self.crop, legend.image_size)
        with nullcontext() if self.trained else weights_of(self):
            return ResNetEncoder(legend, self)


class ResNetEncoder(Encoder):
    """One net and one head a camera. Crops draw from torch's global generator, in training mode."""

    def __init__(self, legend: Legend, spec: ResNet18) -> None:
        super().__init__()
        self.spec, self.reads, self.trained, self.image_size = spec, legend.cameras, spec.trained, legend.image_size
        places = spec.places(spec.image_size or spec.crop or legend.image_size) if spec.pooling == "patches" else 1
        self.vectors = places * len(self.reads)
        self.width = 2 * spec.keypoints if spec.pooling == "keypoints" else spec.channels[-1]
        self.nets = nn.ModuleList(residual_net(spec.channels) for _ in (self.reads[:1] if spec.shared else self.reads))
        self.heads = nn.ModuleList(reader(spec) for _ in self.reads)

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N K F"]:
        nets = [*self.nets] * (len(self.reads) // len(self.nets))
        seen = []
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            for camera, net, head in zip(self.reads, nets, self.heads, strict=True):
                check_pictures(frames[camera], self.image_size)
                seen.append(head(net(self.shown(frames[camera]))))
            return torch.cat(seen, dim=1)

    def shown(self, pictures: UInt8[Tensor, "N height width 3"]) -> Float[Tensor, "N 3 side side"]:
        """What the net is shown of pictures: their crops in [-1, 1], resized if the spec says so."""
        crops = cropped(pictures, self.spec.crop, anywhere=self.training and self.trained)
        values = rearrange(crops, "n h w c -> n c h w").float() / 127.5 - 1
        size = self.spec.image_size
        if size is None:
            return values
        return functional.interpolate(values, size=(size, size), mode="bicubic", antialias=True).clamp(-1, 1)


def reader(spec: ResNet18) -> nn.Module:
    """What reads the last maps of one camera [N, C, h, w], as vectors [N, K, F]."""
    match spec.pooling:
        case "keypoints":
            return SpatialSoftmax(spec.channels[-1], spec.keypoints)
        case "mean":
            return Reduce("n c h w -> n 1 c", "mean")
        case "patches":
            return Rearrange("n c h w -> n (h w) c")


def residual_net(channels: tuple[int, ...]) -> nn.Sequential:
    """ResNet-18 up to its last maps (He et al. 2016, table 1) with GroupNorm (Wu and He 2018), because BatchNorm's
    statistics and the policy's averaged weights do not go together. 11.18 M parameters at full width."""
    first = channels[0]
    stem = nn.Sequential(nn.Conv2d(3, first, 7, 2, 3, bias=False), norm(first), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    blocks: list[nn.Module] = []
    for stage, (before, after) in enumerate(zip((first, *channels), channels, strict=False)):
        blocks += [Block(before, after, stride=1 if stage == 0 else 2), Block(after, after, stride=1)]
    net = nn.Sequential(stem, *blocks)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


class Block(nn.Module):
    """Two normalised 3x3 convolutions beside the identity, or beside a 1x1 convolution where the size changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            norm(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            norm(after),
        )
        projection = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))
        self.shortcut = nn.Identity() if (before, stride) == (after, 1) else projection

    def forward(self, maps: Float[Tensor, "N before h w"]) -> Float[Tensor, "N after h2 w2"]:
        return functional.relu(self.shortcut(maps) + self.change(maps))


class SpatialSoftmax(nn.Module):
    """Where each keypoint is on the map, row and column in [-1, 1] (Levine et al. 2016, section 5.1)."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.heat = nn.Conv2d(channels, keypoints, 1, bias=False)  # the softmax would cancel a bias

    def forward(self, maps: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 1 F"]:
        heat = self.heat(maps).flatten(2).softmax(dim=2).unflatten(2, maps.shape[2:])  # [N, keypoints, h, w]
        rows, columns = (torch.linspace(-1, 1, size, device=maps.device) for size in maps.shape[2:])
        return torch.stack([heat.sum(3) @ rows, heat.sum(2) @ columns], dim=2).flatten(1).unsqueeze(1)


def norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 16 channels a group, as Diffusion Policy's encoders have it."""
    return nn.GroupNorm(channels // CHANNELS_A_GROUP, channels)
