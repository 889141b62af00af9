"""How features are stored: as 32 bits a number, or as the 16 bits of bfloat16, for which numpy has no name."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Stored = Literal["float32", "bfloat16"]
DTYPES: dict[Stored, type] = {"float32": np.float32, "bfloat16": np.uint16}
"""What an array on disk has: the bits of a bfloat16 stand in a UInt16. Nothing else here is one."""


def to_array(features: Float[Tensor, "*shape"], stored: Stored) -> np.ndarray:
    """The same numbers, or the nearest bfloat16s (ties to even), as they are stored."""
    if stored == "bfloat16":
        return features.to(torch.bfloat16).cpu().view(torch.uint16).numpy()
    return features.float().cpu().numpy()


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor of the same memory, whatever the array holds; UInt16 become the bfloat16s that they stand for."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
