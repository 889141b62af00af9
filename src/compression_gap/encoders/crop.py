"""A square cut out of every picture: in the centre, or at a place of its own."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor


def check_crop(kind: str, crop: int | None, image_size: int) -> None:
    """Raises ValueError if a crop of an encoder of this kind does not fit into the suite's pictures."""
    if crop is not None and not 1 <= crop <= image_size:
        raise ValueError(
            f"{kind}.crop: {crop} pixels do not fit into pictures of {image_size}; "
            "choose a smaller crop or the suite's image_size larger"
        )


def cropped(
    pictures: UInt8[Tensor, "N side side 3"], crop: int | None, *, anywhere: bool
) -> UInt8[Tensor, "N crop crop 3"]:
    """A square of `crop` pixels out of each picture, None being the whole of it: from the centre, or, `anywhere`, at a
    place that torch's global generator draws for each picture."""
    if crop is None:
        return pictures
    room = pictures.shape[1] - crop
    corner = torch.full((2, len(pictures), 1), room // 2, device=pictures.device)
    if anywhere:
        corner = torch.randint(room + 1, (2, len(pictures), 1)).to(pictures.device)
    rows, columns = corner + torch.arange(crop, device=pictures.device)
    each = torch.arange(len(pictures), device=pictures.device)
    return pictures[each[:, None, None], rows[:, :, None], columns[:, None, :]]
