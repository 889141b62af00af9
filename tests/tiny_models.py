"""Vision models of the real classes with random weights, as folders that `transformers` reads."""

from pathlib import Path

import torch

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}


def siglip(folder: Path) -> str:
    """A SigLIP with its text tower, as on the hub; pictures are 28 pixels wide."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    text = {key: value for key, value in SIZE.items() if key != "patch_size"}
    config = SiglipConfig(vision_config={**SIZE, "image_size": 28}, text_config={**text, "vocab_size": 50000})
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)
    return str(folder)


def dinov2(folder: Path) -> str:
    """A DINOv2, which has a class token; it looks at the central 28 of 32 pixels."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**SIZE, image_size=42)).save_pretrained(folder)
    crop = {"height": 28, "width": 28}
    BitImageProcessor(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(folder)
    return str(folder)
