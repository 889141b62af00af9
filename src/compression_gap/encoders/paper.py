"""The Compression Gap paper's four encoders by name: as published, and alike but for their weights."""

from __future__ import annotations

from typing import Literal

from compression_gap.config import closest
from compression_gap.encoders.base import EncoderSpec
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.encoders.resnet import ResNet18

MODELS = {
    "SigLIP": "google/siglip-so400m-patch14-224",
    "SigLIP 2": "google/siglip2-so400m-patch14-224",
    "DINOv2": "facebook/dinov2-large",
}
NAMES = ("ResNet-18", *MODELS)
IMAGE_SIZE = 224


def literal(name: str) -> EncoderSpec:
    """An encoder by the paper's recipe (arXiv 2604.03191).

    ResNet-18 learns from random weights, from random crops of 76 of 128 pixels, and gives keypoints; the others are
    frozen, see the whole picture resized bicubically to 224 pixels, and give the mean of their patches. SigLIP's own
    configuration says the same. That of DINOv2 would cut out the centre.

    Raises ValueError with the closest name for an unknown one.
    """
    if name == "ResNet-18":
        return ResNet18()
    if name == "SigLIP":
        return Pretrained(MODELS[name])
    return Pretrained(_model(name), image_size=IMAGE_SIZE)


def matched(
    name: str,
    *,
    training: Literal["frozen", "trained"] = "frozen",
    pooling: Literal["mean", "patches"] = "mean",
    crop: int | None = None,
    image_size: int = IMAGE_SIZE,
) -> EncoderSpec:
    """One of the paper's encoders such that the four differ in their weights and in nothing that can be made alike:
    all are frozen or all trained, and see the same crop, resized bicubically to the same size.

    What remains different: the network itself; its weights, random for ResNet-18; the length of a vector (512, 1152,
    1152 and 1024), which a projection to one width in the agent removes; how many patches there are (49 places of
    ResNet-18's map, 256 of the others, at 224 pixels); and the mean and standard deviation of the pixels, which belong
    to the weights. Frozen encoders see the central crop only.

    Raises ValueError with the closest name for an unknown one.
    """
    if name == "ResNet-18":
        return ResNet18(crop=crop, training=training, pooling=pooling, image_size=image_size)
    return Pretrained(_model(name), pooling=pooling, training=training, crop=crop, image_size=image_size)


def _model(name: str) -> str:
    if name not in MODELS:
        raise ValueError(f"the paper has no encoder {name!r}; {closest(name, NAMES)}")
    return MODELS[name]
