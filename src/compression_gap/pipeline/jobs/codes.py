"""The job that writes the codes which policies learn, where writing one takes a search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from safetensors.torch import load_file

from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import Demonstrations, read_demos
from compression_gap.pipeline.jobs.tokenizer import TrainedTokenizer
from compression_gap.store import Store
from compression_gap.tokenizers.base import Tokens
from compression_gap.training import save_tensors

CODES = "codes.safetensors"
BATCH = 4096  # fixed, because the last bits of what a tokenizer computes may depend on the batch size
READINGS = 30  # what a search costs, in training steps of as many chunks
PARTS = ("train", "held_out")  # by whether they are held out


@dataclass(frozen=True)
class WrittenCodes(Job, kind="written_codes", version=1):
    """Codes of a policy's training and held-out chunks: the same for every encoder, and written once for all."""

    tokenizer: TrainedTokenizer
    demonstrations: tuple[Demonstrations, ...]
    stride: int

    @property
    def title(self) -> str:
        return f"codes of {self.tokenizer.title}"

    def cost(self) -> Cost:
        rows = sum(job.attempts * job.suite.cost.steps for job in self.demonstrations) / self.stride
        row = self.tokenizer.tokenizer.cost(self.tokenizer.horizon).row
        return Cost(5 + READINGS * rows * row, memory_mb=1500, disk_mb=1e-4 * rows, gpus=1)

    def run(self, context: Context) -> None:
        demos, tokenizer = read_demos(context.store, self.demonstrations), self.tokenizer.load(context.store)
        tokenizer = tokenizer.to(context.device)
        source = replace(self.tokenizer, demonstrations=self.demonstrations, stride=self.stride)
        kept = {}
        for number, part in enumerate(PARTS):
            pieces = torch.from_numpy(source.chunks(demos, held_out=bool(number))).split(BATCH)
            written = []
            for piece, chunks in enumerate(pieces):
                context.report((number + piece / len(pieces)) / len(PARTS), "writing codes")
                written.append(tokenizer.encode(chunks.to(context.device)))
            most = tokenizer.max_tokens
            kept[f"{part}.ids"] = torch.cat([functional.pad(one.ids, (0, most - one.ids.shape[1])) for one in written])
            kept[f"{part}.length"] = torch.cat([one.length for one in written])
        save_tensors(kept, context.folder / CODES)

    def load(self, store: Store, *, held_out: bool) -> Tokens:
        """Codes of all windows of a part, in their order."""
        kept, part = load_file(store.folder(self) / CODES), PARTS[held_out]
        return Tokens(kept[f"{part}.ids"], kept[f"{part}.length"])
