"""Vision models that others have trained, frozen, through the `transformers` library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from compression_gap.encoders.base import Encoder, EncoderCost, EncoderSpec, check_pictures
from compression_gap.suites.base import Legend

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


@dataclass(frozen=True)
class Pretrained(EncoderSpec, kind="pretrained", version=1):
    """A frozen vision transformer, one vector a camera. The defaults are the Compression Gap paper's SigLIP.

    Pictures are prepared as the model's own configuration says: size, interpolation, mean and standard deviation.
    Agents do not save its weights again (they would be 1.7 GB each), so whoever loads an agent needs the model too.
    """

    model: str = "google/siglip-so400m-patch14-224"
    """Name on the Hugging Face hub, or a local folder with config.json, preprocessor_config.json, model.safetensors."""
    pooling: Literal["mean", "class"] = "mean"
    """Mean over the patch tokens, or the class token where the model has one."""

    @property
    def cost(self) -> EncoderCost:
        return EncoderCost(picture=4.0, memory_mb=5000, vector_mb=0.0046, weights_mb=0)  # as for the default model

    def build(self, legend: Legend) -> PretrainedEncoder:
        """Raises ImportError naming the extra if `transformers` is missing, and FileNotFoundError saying which files to
        fetch if the model is."""
        return PretrainedEncoder(legend, self)


class PretrainedEncoder(Encoder):
    """See `Pretrained`. The model is no submodule, which keeps its weights out of state dicts."""

    trained = False

    def __init__(self, legend: Legend, spec: Pretrained) -> None:
        super().__init__()
        self.reads, self.vectors, self.image_size = legend.cameras, len(legend.cameras), legend.image_size
        self.spec = spec
        self.prepare, model = load(spec.model)
        self._model = (model.requires_grad_(False).eval(),)
        self.width = model.config.hidden_size

    @torch.no_grad()
    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N K F"]:
        """Raises ValueError if the model has no tokens of the kind that the pooling asks for."""
        return torch.stack([self.pooled(frames[camera]) for camera in self.reads], dim=1)

    def pooled(self, pictures: UInt8[Tensor, "N height width 3"]) -> Float[Tensor, "N F"]:
        """One vector a picture."""
        check_pictures(pictures, self.image_size)
        model = self._model[0].to(pictures.device)
        pixels = self.prepare(images=list(pictures.cpu().numpy()), return_tensors="pt")["pixel_values"]
        tokens = model(pixel_values=pixels.to(pictures.device)).last_hidden_state  # [N, class and registers, patches]
        leading = tokens.shape[1] - math.prod(side // model.config.patch_size for side in pixels.shape[2:])
        if self.spec.pooling == "mean":
            return tokens[:, leading:].mean(dim=1)
        if not leading:
            raise ValueError(f"Pretrained.pooling: {self.spec.model} has no class token; choose pooling 'mean'")
        return tokens[:, 0]


def load(model: str) -> tuple[Any, Any]:
    """The picture processor and the vision tower of a model on the hub, in its offline cache or in a folder."""
    try:
        import transformers
        from huggingface_hub.constants import HF_HUB_CACHE
    except ModuleNotFoundError as error:
        raise ImportError(
            f"encoders/pretrained needs {error.name!r}, which is not installed: pip install 'compression-gap[vision]'"
        ) from error
    transformers.logging.set_verbosity_error()  # it would list every weight of the text tower that is left out
    transformers.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(model)
        vision = getattr(config, "vision_config", config)
        # not the torchvision version, whose interpolation differs in the third digit
        processor = transformers.AutoImageProcessor.from_pretrained(model, use_fast=False)
        return processor, transformers.AutoModel.from_pretrained(model, config=vision).float()
    except OSError as error:
        raise FileNotFoundError(
            f"encoder 'pretrained': {model!r} is no folder, is not in the hub's cache {HF_HUB_CACHE}, and cannot be "
            f"fetched. Where there is a network, type `hf download {model} {' '.join(FILES)}` and copy the folder "
            f"models--{model.replace('/', '--')} from its cache into this one; or put these files into a folder and "
            f"give that as Pretrained.model. ({str(error).splitlines()[0]})"
        ) from error
