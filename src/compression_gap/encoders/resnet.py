"""ResNet-18 as the Compression Gap paper uses it: from random weights, one net a camera, keypoints as features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from compression_gap.encoders.base import Encoder, EncoderCost, EncoderSpec, check_pictures
from compression_gap.suites.base import Legend

CHANNELS_A_GROUP = 16


@dataclass(frozen=True)
class ResNet18(EncoderSpec, kind="resnet18", version=1):
    """ResNet-18 with GroupNorm and a spatial softmax, trained end to end with the policy: one vector a camera.

    He et al. 2016; Chi et al. 2023 (arXiv 2303.04137), section III. The defaults are the Compression Gap paper's.
    """

    crop: int = 76
    """Height and width of what is looked at, in pixels: cut out at random in training, from the centre otherwise."""
    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of the stages, multiples of 16; each stage but the first halves the map."""
    keypoints: int = 32
    """Places that are looked at; a vector has two numbers for each."""

    def __post_init__(self) -> None:
        if not self.channels or any(number % CHANNELS_A_GROUP for number in self.channels):
            raise ValueError(f"ResNet18.channels are multiples of {CHANNELS_A_GROUP} (GroupNorm), got {self.channels}")

    @property
    def trained(self) -> bool:
        return True

    @property
    def cost(self) -> EncoderCost:
        return EncoderCost(picture=7e-3 * (self.crop / 76) ** 2, memory_mb=2000, weights_mb=90)

    def build(self, legend: Legend) -> ResNetEncoder:
        """Raises ValueError if the suite's pictures are smaller than the crop."""
        if self.crop > legend.image_size:
            raise ValueError(
                f"ResNet18.crop: {self.crop} pixels do not fit into pictures of {legend.image_size}; "
                "choose a smaller crop or the suite's image_size larger"
            )
        return ResNetEncoder(legend, self)


class ResNetEncoder(Encoder):
    """One net a camera, one vector each. Crops draw from torch's global generator, in training mode."""

    trained = True

    def __init__(self, legend: Legend, spec: ResNet18) -> None:
        super().__init__()
        self.reads, self.vectors, self.width = legend.cameras, len(legend.cameras), 2 * spec.keypoints
        self.image_size, self.crop = legend.image_size, spec.crop
        self.nets = nn.ModuleList(residual_net(spec.channels) for _ in self.reads)
        self.heads = nn.ModuleList(SpatialSoftmax(spec.channels[-1], spec.keypoints) for _ in self.reads)

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N K F"]:
        seen = []
        for camera, net, head in zip(self.reads, self.nets, self.heads, strict=True):
            pictures = frames[camera]
            check_pictures(pictures, self.image_size)
            maps = rearrange(self.cropped(pictures), "n h w c -> n c h w").float() / 127.5 - 1
            seen.append(head(net(maps)))
        return torch.stack(seen, dim=1)

    def cropped(self, pictures: UInt8[Tensor, "N height width 3"]) -> UInt8[Tensor, "N crop crop 3"]:
        """A square out of each picture: at a place of its own in training, else in the centre."""
        room = self.image_size - self.crop
        corner = torch.full((2, len(pictures), 1), room // 2, device=pictures.device)
        if self.training:
            corner = torch.randint(room + 1, (2, len(pictures), 1)).to(pictures.device)
        rows, columns = corner + torch.arange(self.crop, device=pictures.device)
        each = torch.arange(len(pictures), device=pictures.device)
        return pictures[each[:, None, None], rows[:, :, None], columns[:, None, :]]


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

    def forward(self, maps: Float[Tensor, "N C h w"]) -> Float[Tensor, "N F"]:
        heat = self.heat(maps).flatten(2).softmax(dim=2).unflatten(2, maps.shape[2:])  # [N, keypoints, h, w]
        rows, columns = (torch.linspace(-1, 1, size, device=maps.device) for size in maps.shape[2:])
        return torch.stack([heat.sum(3) @ rows, heat.sum(2) @ columns], dim=2).flatten(1)


def norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 16 channels a group, as Diffusion Policy's encoders have it."""
    return nn.GroupNorm(channels // CHANNELS_A_GROUP, channels)
