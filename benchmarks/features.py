"""Speed of the feature store on one core: what making features adds to the model, and reading them to a copy.

    OMP_NUM_THREADS=1 python benchmarks/features.py

Expected at least 0.95 of the speed of the bare model on pictures that are already prepared (a DINOv2 small with random
weights), and at least half the speed of copying as many bytes that lie in order in memory (SigLIP's features).
"""

import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from compression_gap.data.rows import Rows
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.pipeline.job import Context
from compression_gap.pipeline.jobs import Demonstrations, Drawings, Features
from compression_gap.pipeline.worker import run_here
from compression_gap.store import Store
from compression_gap.suites.tabletop.suite import Tabletop

FILES, ROWS, WINDOWS, REPEATS = 10, 1000, 256, 3
SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}


def seconds(run):
    """Of processor time."""
    start = time.process_time()
    run()
    return time.process_time() - start


def small_dinov2(folder):
    """A model and the picture processor of facebook/dinov2-small, in a folder."""
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(**SMALL, image_size=224, patch_size=14)).eval()
    model.save_pretrained(folder)
    processor = BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    processor.save_pretrained(folder)
    return model, processor


def making(folder):
    """Pictures a second of the job and of the model alone, alternating, and the best of each."""
    suite, store = Tabletop(image_size=128), Store(folder / "store")
    demonstrations = Demonstrations(*suite.alone(0), 0, 1)
    drawings = Drawings(demonstrations, suite.cameras, history=1, stride=3)
    model, processor = small_dinov2(folder / "model")
    for job in (demonstrations, drawings):
        run_here(job, store, "cpu", lambda *_: None)
    pictures = {name: np.load(store.folder(drawings) / f"{name}.npy") for name in suite.cameras}
    pixels = [processor(images=list(of_camera), return_tensors="pt")["pixel_values"] for of_camera in pictures.values()]
    job = Features(Pretrained(str(folder / "model")), None, drawings)
    count, fastest = sum(map(len, pixels)), {"job": np.inf, "model": np.inf, "preparation": np.inf}

    def features():
        began = []
        job.run(Context(store, store.partial(job), lambda *_: began.append(time.process_time()), "cpu"))
        store.discard(job)
        return time.process_time() - began[0]  # what came before is loading the model

    def bare():
        with torch.no_grad():
            for of_camera in pixels:
                model(pixel_values=of_camera)

    def prepare():
        for of_camera in pictures.values():
            processor(images=list(of_camera), return_tensors="pt")

    for _ in range(REPEATS):
        for name, took in (("job", features()), ("model", seconds(bare)), ("preparation", seconds(prepare))):
            fastest[name] = min(fastest[name], took)
    return count, fastest


def reading(folder, stored):
    """Bytes a second of one epoch's shuffled windows of two frames, as stored and in memory, and of copies in order."""
    for number in range(FILES):
        values = np.random.default_rng(number).integers(2**14, size=(ROWS, 2, 1152)).astype(stored)
        np.save(folder / f"{number}.npy", values)
    rows = Rows([np.load(folder / f"{number}.npy", mmap_mode="r") for number in range(FILES)])
    in_memory = rows[np.arange(len(rows))]
    order = np.random.default_rng(0).permutation(len(rows) - 1)
    windows = [np.stack([some, some + 1], axis=1) for some in np.array_split(order, len(order) // WINDOWS)]
    size = sum(some.size for some in windows) * in_memory[0].nbytes

    def gather(array):
        for some in windows:
            array[some]

    def copy():
        first = 0
        for some in windows:
            first = first if first + some.size <= len(in_memory) else 0
            in_memory[first : first + some.size].copy()
            first += some.size

    ways = {"stored": lambda: gather(rows), "in memory": lambda: gather(in_memory), "in order": copy}
    fastest = dict.fromkeys(ways, np.inf)
    for _, (name, run) in product(range(2 * REPEATS), ways.items()):
        fastest[name] = min(fastest[name], seconds(run))
    return size, fastest


def main():
    with tempfile.TemporaryDirectory() as folder:
        count, took = making(Path(folder))
        for name, best in took.items():
            print(f"{name:11} {count / best:8.2f} pictures/s")
        print(f"the job has {took['model'] / took['job']:.3f} of the model's speed")
        for stored, word in ((np.float32, "float32"), (np.uint16, "bfloat16")):
            size, took = reading(Path(folder), stored)
            for name, best in took.items():
                print(f"{word:8} {name:9} {size / best / 1e9:6.2f} GB/s")
            shuffled, ordered = took["in memory"] / took["stored"], took["in order"] / took["stored"]
            print(f"{shuffled:.2f} of the speed of the same rows in memory, {ordered:.2f} of that of copies in order")


if __name__ == "__main__":
    main()
