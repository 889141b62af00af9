"""Vision models of the real classes with random weights, as folders that `transformers` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
TEXT = {**{key: value for key, value in SIZE.items() if key != "patch_size"}, "vocab_size": 50000}


def siglip(folder: Path, image_size: int = 28) -> str:
    """A SigLIP with its text tower, as on the hub."""
    import transformers

    config = transformers.SiglipConfig(vision_config={**SIZE, "image_size": image_size}, text_config=TEXT)
    return written(folder, "SiglipModel", config, "SiglipImageProcessor", size=square(image_size))


def siglip2(folder: Path, image_size: int = 28) -> str:
    """A SigLIP 2 of one resolution, which is a SigLIP whose pictures are resized bilinearly."""
    siglip(folder, image_size)
    return processed(folder, "SiglipImageProcessor", size=square(image_size), resample=2)


def dinov2(folder: Path, image_size: int = 42, shown: int = 28) -> str:
    """A DINOv2, which has a class token; it looks at the centre, seven eighths of the picture or less."""
    import transformers

    config = transformers.Dinov2Config(**SIZE, image_size=image_size)
    size = {"shortest_edge": shown * 8 // 7}
    return written(folder, "Dinov2Model", config, "BitImageProcessor", size=size, crop_size=square(shown))


def registers(folder: Path) -> str:
    """A DINOv2 with four register tokens between its class token and its patches."""
    import transformers

    config = transformers.Dinov2WithRegistersConfig(**SIZE, image_size=28, num_register_tokens=4)
    return written(folder, "Dinov2WithRegistersModel", config, "BitImageProcessor", **centre(28))


def clip(folder: Path) -> str:
    """A CLIP with its text tower; a class token."""
    import transformers

    config = transformers.CLIPConfig(vision_config={**SIZE, "image_size": 28}, text_config=TEXT)
    return written(folder, "CLIPModel", config, "CLIPImageProcessor", **centre(28))


def vit(folder: Path) -> str:
    """A ViT as published: a classifier, without the pooler that the plain model has."""
    import transformers

    config = transformers.ViTConfig(**SIZE, image_size=28)
    return written(folder, "ViTForImageClassification", config, "ViTImageProcessor", size=square(28))


def resnet(folder: Path) -> str:
    """A convolutional model with batch norms whose statistics are not those of a new one."""
    import transformers

    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    return written(folder, "ResNetModel", config, "BitImageProcessor", **centre(28))


def convnext(folder: Path) -> str:
    """A convolutional model with a processor that resizes in a way of its own."""
    import transformers

    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    return written(folder, "ConvNextModel", config, "ConvNextImageProcessor", size={"shortest_edge": 28})


def swin(folder: Path) -> str:
    """A transformer that merges patches on the way."""
    import transformers

    config = transformers.SwinConfig(embed_dim=16, depths=[1, 1], num_heads=[2, 2], image_size=32, window_size=4)
    return written(folder, "SwinModel", config, "ViTImageProcessor", size=square(32))


def yolos(folder: Path) -> str:
    """A detector, whose last tokens are detections."""
    import transformers

    config = transformers.YolosConfig(**SIZE, image_size=[28, 28])
    return written(folder, "YolosModel", config, "ViTImageProcessor", size=square(28))


def masked(folder: Path) -> str:
    """A masked autoencoder, which hides three quarters of the patches at random."""
    import transformers

    config = transformers.ViTMAEConfig(**SIZE, image_size=56)
    return written(folder, "ViTMAEModel", config, "ViTImageProcessor", size=square(56))


def naflex(folder: Path) -> str:
    """A SigLIP 2 of any resolution."""
    import transformers

    vision = {**SIZE, "num_patches": 16}
    config = transformers.Siglip2Config(vision_config=vision, text_config=TEXT)
    return written(folder, "Siglip2Model", config, "Siglip2ImageProcessor", patch_size=14, max_num_patches=16)


def bert(folder: Path) -> str:
    """A model of text, with the preprocessor of another."""
    import transformers

    config = transformers.BertConfig(**TEXT)
    return written(folder, "BertModel", config, "ViTImageProcessor", size=square(28))


def square(side: int) -> dict[str, int]:
    """A processor's word for a size."""
    return {"height": side, "width": side}


def centre(side: int) -> dict[str, Any]:
    """The settings of a processor that looks at the centre of a picture."""
    return {"size": {"shortest_edge": side + 4}, "crop_size": square(side)}


def written(folder: Path, model: str, config: Any, processor: str, **settings: Any) -> str:
    """A model of random weights, every one of them different, and its processor."""
    import transformers

    torch.manual_seed(0)
    made = getattr(transformers, model)(config)
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand(tensor.shape) if "var" in name else 0.1 * torch.randn(tensor.shape))
    made.save_pretrained(folder)
    return processed(folder, processor, **settings)


def processed(folder: Path, processor: str, **settings: Any) -> str:
    """The folder, with this processor."""
    import transformers

    getattr(transformers, processor)(**settings).save_pretrained(folder)
    return str(folder)
