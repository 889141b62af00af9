"""Vision models that others have trained, frozen or trained on, through the `transformers` library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from compression_gap.config import added_later
from compression_gap.encoders import hub
from compression_gap.encoders.base import Encoder, EncoderCost, EncoderSpec, check_pictures
from compression_gap.encoders.crop import check_crop, cropped
from compression_gap.encoders.vision import Seen, VisionModel
from compression_gap.suites.base import Legend


@dataclass(frozen=True)
class Pretrained(EncoderSpec, kind="pretrained", version=1):
    """A vision model that `transformers.AutoModel` loads. The defaults are the Compression Gap paper's SigLIP.

    Pictures are prepared as the model's own configuration says: size, interpolation, mean and standard deviation.
    Agents do not save the weights of a frozen model again (they would be 1.7 GB each), so whoever loads an agent needs
    the model too. A folder is known by its content: it may move, and other weights in its place are another encoder.
    """

    model: str = "google/siglip-so400m-patch14-224"
    """Name on the Hugging Face hub, or a local folder with config.json, preprocessor_config.json, model.safetensors."""
    pooling: Literal["mean", "class", "patches"] = "mean"
    """Mean over the patch tokens, the class token where the model has one, or every patch token as a vector."""
    layer: int | None = added_later(None)
    """Which hidden layer's vectors, counted from 0, the embeddings; None: the last, normalised as the model does."""
    training: Literal["frozen", "trained"] = added_later("frozen")
    """Frozen, or trained along with the policy; then agents save its weights."""
    crop: int | None = added_later(None)
    """Height and width of what is looked at, in pixels of the suite's pictures: at random places while it is trained
    and in stored crops but the first, in the centre otherwise. None: the whole picture."""
    crops: int = added_later(1)  # pyright: ignore[reportIncompatibleMethodOverride]
    """Crops of a frame whose features a frozen encoder stores, the central one among them."""
    image_size: int | None = added_later(None)
    """Height and width to which the crop is resized (bicubic), instead of the resizing and cutting of the model's own
    configuration; position encodings are interpolated where the model can. None: as the configuration says."""
    stored: Literal["float32", "bfloat16"] = added_later("float32")  # pyright: ignore[reportIncompatibleMethodOverride]
    """How features of a frozen encoder are kept."""

    def __post_init__(self) -> None:
        if self.layer is not None and self.layer < 0:
            raise ValueError(f"Pretrained.layer is counted from 0, the embeddings, or None, the last; got {self.layer}")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"Pretrained.image_size is at least 1 pixel or None, got {self.image_size}")
        if self.crops < 1:
            raise ValueError(f"Pretrained.crops: a frame has at least the central crop, got {self.crops}")
        if self.crops > 1 and (self.crop is None or self.trained):
            raise ValueError(
                f"Pretrained.crops: {self.crops} crops are stored of a frozen encoder that has a crop; this one is "
                f"{self.training} and its crop is {self.crop}"
            )

    def in_digest(self, field: str) -> Any:
        """Of a local folder, its content.

        Raises FileNotFoundError if the folder is gone.
        """
        return hub.identity(self.model) if field == "model" else super().in_digest(field)

    @property
    def trained(self) -> bool:
        return self.training == "trained"

    @property
    def cost(self) -> EncoderCost:
        patches = ((self.image_size or 224) // 14) ** 2  # as for the default model
        vectors = patches if self.pooling == "patches" else 1
        bytes_a_number = 4 if self.stored == "float32" else 2
        return EncoderCost(
            picture=4.0 * patches / 256,
            memory_mb=9000 if self.trained else 5000,
            vector_mb=1152e-6 * bytes_a_number * vectors,
            weights_mb=1700 if self.trained else 0,
        )

    def build(self, legend: Legend) -> PretrainedEncoder:
        """Raises ImportError naming the extra if `transformers` is missing, FileNotFoundError saying which files to
        fetch if the model is, and ValueError if it cannot be used as the spec says."""
        check_crop("Pretrained", self.crop, legend.image_size)
        return PretrainedEncoder(legend, self)


class PretrainedEncoder(Encoder):
    """See `Pretrained`. A frozen model is no submodule, which keeps its weights out of state dicts."""

    def __init__(self, legend: Legend, spec: Pretrained) -> None:
        super().__init__()
        self.spec, self.reads, self.trained, self.image_size = spec, legend.cameras, spec.trained, legend.image_size
        vision = VisionModel(spec.model, spec.layer, spec.image_size)
        if spec.trained:
            self.vision = vision
        self._vision = (vision if spec.trained else vision.requires_grad_(False).eval(),)
        vectors = self.pooled(vision.probe(spec.crop or legend.image_size))
        self.vectors, self.width = len(self.reads) * vectors.shape[1], vectors.shape[2]

    def encode(self, frames: Mapping[str, Tensor]) -> Float[Tensor, "N K F"]:
        return self._through(frames, anywhere=self.training and self.trained)

    def look(self, frames: Mapping[str, Tensor], crop: int) -> Float[Tensor, "N K F"]:
        if crop not in range(self.spec.crops):
            raise ValueError(f"Pretrained.crops: there are the crops 0 to {self.spec.crops - 1}, got {crop}")
        return self._through(frames, anywhere=crop > 0)

    def pooled(self, seen: Seen) -> Float[Tensor, "N K F"]:
        """The vectors that the spec asks for.

        Raises ValueError if the model has none of the kind.
        """
        match self.spec.pooling:
            case "mean":
                return seen.patches.mean(dim=1, keepdim=True)
            case "patches":
                return seen.patches
            case "class":
                if seen.whole is None:
                    raise ValueError(
                        f"Pretrained.pooling: {self.spec.model} has no class token; choose pooling 'mean' or 'patches'"
                    )
                return seen.whole.unsqueeze(1)

    def _through(self, frames: Mapping[str, Tensor], *, anywhere: bool) -> Float[Tensor, "N K F"]:
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            return torch.cat([self._seen(frames[camera], anywhere=anywhere) for camera in self.reads], dim=1)

    def _seen(self, pictures: Tensor, *, anywhere: bool) -> Float[Tensor, "N K F"]:
        check_pictures(pictures, self.image_size)
        crops = cropped(pictures, self.spec.crop, anywhere=anywhere)
        vision = self._vision[0].to(pictures.device)
        return self.pooled(vision(crops))
