"""A vision model of the `transformers` library as a function: pictures in, vectors of places and of the whole out."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from compression_gap.encoders import hub


@dataclass
class Seen:
    """What a model makes of N pictures."""

    patches: Float[Tensor, "N P F"]
    """A vector for each place, row by row."""
    whole: Float[Tensor, "N F"] | None
    """The class token, of models that have one."""


class VisionModel(nn.Module):
    """See `Pretrained` for `layer` and `image_size`.

    Batch norms keep the statistics that the model came with, also while it is trained: those of a batch do not go
    together with the policy's averaged weights.
    """

    def __init__(self, name: str, layer: int | None, image_size: int | None) -> None:
        super().__init__()
        self.name, self.layer, self.image_size = name, layer, image_size
        loaded = hub.load(name)
        self.prepare, self.model, self._missing = loaded.processor, loaded.model.eval(), loaded.missing

    def train(self, mode: bool = True) -> VisionModel:
        """Training mode for all but batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pictures: UInt8[Tensor, "N side side 3"]) -> Seen:
        """What the model makes of pictures, which may have any size."""
        pixels = self.pixels(pictures)
        return self.seen(self.output(pixels), pixels)

    @torch.no_grad()
    def probe(self, side: int) -> Seen:
        """Looks at one blank picture of this size, so that what cannot work fails before anything is computed with it.

        Weights that the files lack are no number meanwhile, which shows whether anything that is used depends on them.
        Raises ValueError saying what is wrong with the model.
        """
        pixels = self.pixels(torch.zeros(1, side, side, 3, dtype=torch.uint8))
        weights = [tensor for name, tensor in self.model.state_dict().items() if name in self._missing]
        weights = [tensor for tensor in weights if tensor.is_floating_point()]
        for tensor in weights:
            tensor.fill_(math.nan)
        before = torch.get_rng_state()
        try:
            output = self.output(pixels)
        except (TypeError, ValueError, RuntimeError) as error:
            size = " x ".join(map(str, pixels.shape[2:]))
            raise self._unfit(f"cannot look at a picture of {size} pixels: {error}") from error
        if not torch.equal(before, torch.get_rng_state()):
            raise self._unfit(
                "draws random numbers whenever it looks, so that equal pictures differ; choose a model that does not, "
                "for a masked autoencoder its plain ViT"
            )
        seen = self.seen(output, pixels)
        if not seen.patches.isfinite().all():
            raise self._unfit(
                f"needs weights that its files do not hold: {len(self._missing)} of {len(self.model.state_dict())}, "
                f"as {min(self._missing)}; they are another architecture's than config.json describes, so fetch all "
                "files of one model again"
            )
        for tensor in weights:
            tensor.zero_()
        return seen

    def pixels(self, pictures: UInt8[Tensor, "N side side 3"]) -> Float[Tensor, "N 3 height width"]:
        """Pictures prepared as the model's own configuration says, but for the size if that is given: then the whole
        picture is resized to it, bicubic for every model."""
        images, options = list(pictures.cpu().numpy()), {}
        if self.image_size is not None:
            images = [resized(image, self.image_size) for image in images]
            options = {"do_resize": False, "do_center_crop": False}
        given = self.prepare(images=images, return_tensors="pt", input_data_format="channels_last", **options)
        pixels = given.get("pixel_values")
        if pixels is None or pixels.ndim != 4:
            raise self._unfit(
                "does not look at pictures of one size [N, 3, height, width], as the NaFlex models of SigLIP 2, which "
                "cut each picture into patches of its own number; choose one that does, such as "
                "google/siglip2-so400m-patch14-224"
            )
        return pixels.to(pictures.device)

    def output(self, pixels: Float[Tensor, "N 3 height width"]) -> Any:
        """The model's own output."""
        own = getattr(self.model.config, "image_size", None)
        sides = (own, own) if isinstance(own, int) else tuple(own or ())
        known = inspect.signature(self.model.forward).parameters
        interpolate = sides != tuple(pixels.shape[2:]) and "interpolate_pos_encoding" in known
        options = {"interpolate_pos_encoding": True} if interpolate else {}
        return self.model(pixel_values=pixels, output_hidden_states=self.layer is not None, **options)

    def seen(self, output: Any, pixels: Float[Tensor, "N 3 height width"]) -> Seen:
        """The vectors in the model's output.

        Raises ValueError if it has no such layer, or does not tell which vectors are of places.
        """
        vectors = getattr(output, "last_hidden_state", None) if self.layer is None else self._hidden(output)
        if vectors is not None and vectors.ndim == 4:  # a convolutional model's map
            return Seen(rearrange(vectors, "n c h w -> n (h w) c"), None)
        tokens = 0 if vectors is None else vectors.shape[1]
        patches = self._patches(tokens, pixels)
        registers = getattr(self.model.config, "num_register_tokens", None) or 0
        others = tokens - patches - registers
        if vectors is None or not patches or others not in (0, 1, 2):  # a class token, another of distillation
            raise self._unfit(
                f"gives {tokens} vectors for a picture of {pixels.shape[2]} x {pixels.shape[3]} pixels and does not "
                "tell which of them are patches; choose a model whose patches follow its class and register tokens"
            )
        return Seen(vectors[:, registers + others :], vectors[:, 0] if others else None)

    def _hidden(self, output: Any) -> Tensor:
        states = output.hidden_states
        assert self.layer is not None
        if self.layer >= len(states):
            raise ValueError(
                f"Pretrained.layer: {self.name} has the layers 0, its embeddings, to {len(states) - 1}, "
                f"got {self.layer}; None is the last, normalised"
            )
        return states[self.layer]

    def _patches(self, tokens: int, pixels: Tensor) -> int:
        """How many of the tokens are patches: one for each patch of the picture, or, of models that merge patches on
        the way, as many as fill a coarser square with at most a class token beside them. 0 if that is not known."""
        patch = getattr(self.model.config, "patch_size", None)
        if patch is None:
            return 0
        high, wide = (patch, patch) if isinstance(patch, int) else patch
        patches = (pixels.shape[2] // high) * (pixels.shape[3] // wide)
        if patches <= tokens:
            return patches
        return next((count for count in (tokens, tokens - 1) if math.isqrt(count) ** 2 == count), 0)

    def _unfit(self, what: str) -> ValueError:
        return ValueError(f"Pretrained.model: {self.name} ({type(self.model).__name__}) {what}")


def resized(image: UInt8[np.ndarray, "side side 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """A picture in another size, bicubic and antialiased, as transformers' processors resize."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
