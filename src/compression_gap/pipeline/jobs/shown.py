"""What an encoder makes of the pictures in LIBERO's HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from compression_gap.data.formats.libero_hdf5 import PICTURES, open_libero
from compression_gap.data.trajectories import Trajectories
from compression_gap.encoders.base import EncoderSpec, weights_of
from compression_gap.pipeline.job import Context
from compression_gap.pipeline.jobs.data import ENCODING_BATCH, array_on_disk


def features_of_files(
    spec: EncoderSpec, stride: int, paths: Sequence[Path], given: Trajectories, out: Path, context: Context
) -> np.ndarray:
    """Features [N, F] of what was seen at every `stride`-th step, NaN elsewhere, in the .npy file `out`.

    Row i of a demonstration is its picture i: what a file saw after an action stands with the next one, as in
    `read_libero`. Raises ValueError naming file and place for pictures that are missing or not alike.
    """
    starts, ends, done, features = given.starts, given.ends, 0, None
    for path in paths:
        with open_libero(path) as file, torch.no_grad():
            sides = {file.picture_shape(camera)[0] for camera in PICTURES}
            if len(sides) > 1:
                raise ValueError(f"{path}: expected pictures of one size from all cameras, got {sorted(sides)}")
            legend = replace(given.legend, cameras=tuple(PICTURES), image_size=sides.pop())
            with weights_of(spec):
                encoder = spec.build(legend).requires_grad_(False).eval().to(context.device)
            for name in file.demos:
                seen = {camera: file.pictures(name, camera) for camera in PICTURES}
                rows = np.arange(0, ends[done] - starts[done], stride)
                for part in np.split(rows, range(ENCODING_BATCH, len(rows), ENCODING_BATCH)):
                    frames = {name: torch.from_numpy(some[part]).to(context.device) for name, some in seen.items()}
                    looks = encoder.look(frames, 0).float().flatten(1).cpu().numpy()
                    if features is None:
                        features = array_on_disk(out, np.float32, (len(given.action), looks.shape[1]))
                        features[:] = np.nan
                    features[starts[done] + part] = looks
                done += 1
                context.report(done / len(ends), "encoding")
    assert features is not None, "a file has demonstrations, and they have steps"
    features.flush()
    return np.load(out, mmap_mode="r")
