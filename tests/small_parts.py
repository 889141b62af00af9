"""Every registered part at a small size, for tests that go over all of them."""

from pathlib import Path

import tiny_models
from compression_gap import plugins
from compression_gap.config import Spec
from compression_gap.shapes import ChunkShape

SHAPE = ChunkShape(horizon=6, actions=3)
SMALL = {
    "oat": {"tokens": 3, "levels": (5, 3), "width": 16, "head_width": 8, "encoder_layers": 1, "decoder_layers": 1},
    "fast": {"vocabulary": 256},
    "hub": {"processor": str(Path(__file__).with_name("tiny_processor"))},
    "quest": {"levels": (5, 3), "width": 16, "head_width": 8, "encoder_layers": 1, "decoder_layers": 1},
    "rvq": {"codes": 8, "latent": 6, "width": 16},
    "diffusion": {"width": 16, "layers": 1, "heads": 2},
    "flow": {"width": 16, "layers": 1, "heads": 2},
    "regression": {"width": 16, "layers": 1, "heads": 2},
    "autoregressive": {"width": 16, "layers": 1, "heads": 2},
    "tabletop": {"image_size": 32},
    "resnet18": {"crop": 24, "channels": (16, 32), "keypoints": 4},
}


def small(family: str, kind: str, folder: Path | None = None) -> Spec:
    """The spec of a part; a pretrained one gets a model of random weights, written into the folder."""
    spec = plugins.find(family, kind)(**SMALL.get(kind, {}))
    if kind == "pretrained" and folder is not None:
        spec = spec.replace(model=tiny_models.siglip(folder))
    return spec
