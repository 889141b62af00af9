"""Random pictures of a suite with two cameras, and what an agent needs beside them."""

import numpy as np
import torch

from compression_gap.shapes import Batch
from compression_gap.suites.tabletop.suite import Tabletop

LEGEND = Tabletop(image_size=32).build().legend


def frames(num: int = 3) -> dict[str, torch.Tensor]:
    """Pictures of every camera, always the same."""
    rng = np.random.default_rng(0)
    size = (num, LEGEND.image_size, LEGEND.image_size, 3)
    return {name: torch.from_numpy(rng.integers(256, size=size, dtype=np.uint8)) for name in LEGEND.cameras}


def windows(num: int, history: int, horizon: int) -> Batch:
    """Windows of such pictures, with chunks to predict."""
    generator = torch.Generator().manual_seed(0)
    observation = {name: values.unflatten(0, (num, history)) for name, values in frames(num * history).items()}
    felt = torch.randn(num, history, len(LEGEND.proprioception), generator=generator)
    chunk = torch.randn(num, horizon, len(LEGEND.action), generator=generator)
    return Batch({**observation, "proprioception": felt}, torch.zeros(num, dtype=torch.int64), chunk)
