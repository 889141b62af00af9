"""Action processors from a model hub, through the `transformers` library, with every decode checked."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from compression_gap.consent import HOW, remote_code_is_trusted
from compression_gap.folders import all_files, content_of, existing, is_folder
from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.fast import Fast

TAIL = 0.01


@dataclass(frozen=True)
class Hub(TokenizerSpec, kind="hub", version=3):
    """A processor that others have published: an object that is called with chunks [B, T, D] in [-1, 1], gives a list
    of ids for each, and has `decode(ids, time_horizon=..., action_dim=...)`.

    Most come with Python code of their own, which runs only where a person has said that it may (`consent`): neither
    this description nor a file that it is read from can. Agents do not save a processor again unless it was fitted
    anew, so whoever loads an agent needs it too. A folder
    is known by its content, all of its files but hidden ones, because its code may read any of them: it may move, and
    other files in its place are another tokenizer. FAST's own vocabularies need none of its code: see `published` of
    the tokenizer "fast".
    """

    processor: str = "physical-intelligence/fast"
    """Name on the Hugging Face hub, or a local folder with processor_config.json."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None: the newest. Only the hash of a commit stays the same files and code."""
    refit: bool = False
    """Whether the processor is fitted anew to the training chunks, with its own `fit`. Its files are then kept with the
    weights."""

    def in_digest(self, field: str) -> Any:
        """Of a local folder, its content.

        Raises FileNotFoundError if the folder is gone.
        """
        if field == "processor" and is_folder(self.processor):
            folder = existing(self.processor, "Hub.processor", "processor")
            return content_of(folder, all_files(folder))
        return super().in_digest(field)

    def expected_tokens(self, horizon: int) -> int:
        """As FAST, which is what most processors are."""
        return Fast().expected_tokens(horizon)

    @property
    def repeats(self) -> bool:
        return False

    def build(self, shape: ChunkShape) -> HubTokenizer:
        """Raises ImportError naming the extra if `transformers` is missing, FileNotFoundError if the processor is, and
        ValueError if it has code that is not trusted or is no action processor."""
        return HubTokenizer(self, shape)


class HubTokenizer(Tokenizer):
    """See `Hub`. Scales actions from their 1st to 99th percentile to [-1, 1]."""

    varies = True
    ordered = False
    digits = None
    files: Tensor

    def __init__(self, spec: Hub, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.refit = shape, spec.refit
        self.register_buffer("files", torch.zeros(0, dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(take_processor)
        self._processor = load(spec.processor, spec.revision)
        self.vocab_size = int(self._processor.vocab_size)
        self.max_tokens = 2 * shape.horizon * shape.actions
        self.scaling = ActionScaling(shape.actions)
        taken = inspect.signature(self._processor.decode).parameters
        sizes = {"time_horizon": shape.horizon, "action_dim": shape.actions}
        self._sizes = {name: size for name, size in sizes.items() if name in taken}

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        """Takes the actions' 1st to 99th percentile and, if asked for, fits the processor.

        Raises ValueError if the fitted processor has more ids than the one it was made from.
        """
        self.scaling.fit(chunks, TAIL)
        if not self.refit:
            return
        taken = inspect.signature(self._processor.fit).parameters
        wanted = {**self._sizes, "vocab_size": self.vocab_size, "scale": getattr(self._processor, "scale", None)}
        settings = {name: value for name, value in wanted.items() if name in taken and value is not None}
        fitted = self._processor.fit(list(self.scaling(chunks).cpu().numpy()), **settings)
        if fitted.vocab_size > self.vocab_size:
            raise ValueError(f"Hub.refit: expected at most {self.vocab_size} ids, the fit gave {fitted.vocab_size}")
        with tempfile.TemporaryDirectory() as folder:
            fitted.save_pretrained(folder)
            self.keep(packed(Path(folder)))

    def keep(self, files: UInt8[Tensor, " bytes"]) -> None:
        """Uses the processor of `packed` files from now on."""
        self.files = files.clone()
        self._processor = unpacked(files)

    @torch.no_grad()
    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        """The processor's codes. A chunk whose code has ids outside its vocabulary, or too many, gets an empty one."""
        found = [self.written(values) for values in self.scaling(chunk).cpu().numpy()]
        length = torch.tensor([len(ids) for ids in found])
        padded = torch.zeros(len(found), max(1, *length.tolist()), dtype=torch.int64)
        for row, ids in zip(padded, found, strict=True):
            row[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return Tokens(padded.to(chunk.device), length.to(chunk.device))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Decoded:
        """Chunks from whole codes. A row is invalid if its ids are not the processor's, or if its decode raises, prints
        an error, gives another shape or numbers that are not finite, or gives zeros for a code that zeros do not
        have."""
        valid = tokens.well_formed(self.vocab_size, 1, self.max_tokens).cpu()
        chunks = np.zeros((len(valid), self.shape.horizon, self.shape.actions))
        rows = zip(tokens.ids.tolist(), tokens.length.tolist(), strict=True)
        for row, (ids, length) in enumerate(rows):
            chunk = self.read(ids[:length]) if valid[row] else None
            valid[row] = chunk is not None
            if chunk is not None:
                chunks[row] = chunk
        scaled = torch.from_numpy(chunks).float().to(tokens.ids.device)
        return Decoded(self.scaling.inverse(scaled), valid.to(tokens.ids.device))

    def written(self, scaled: Float[np.ndarray, "T D"]) -> list[int]:
        """The code of one chunk; empty if it is not one that this tokenizer can pass on."""
        (ids,) = self._processor(scaled[None])
        ids = [int(number) for number in ids]
        known = all(0 <= number < self.vocab_size for number in ids)
        return ids if known and len(ids) <= self.max_tokens else []

    def read(self, ids: Sequence[int]) -> np.ndarray | None:
        """One chunk, or None where the processor failed, also where it hides that."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                chunk = np.asarray(self._processor.decode([list(ids)], **self._sizes), dtype=np.float64)
        except Exception:  # whatever it raises, the row cannot be read
            return None
        if "error" in said.getvalue().lower() or chunk.shape != (1, self.shape.horizon, self.shape.actions):
            return None
        if not np.isfinite(chunk).all() or (not chunk.any() and list(ids) != self.written(chunk[0])):
            return None
        return chunk[0]


def take_processor(tokenizer: HubTokenizer, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before a state dict is loaded: loads the processor whose files are in it."""
    files = state_dict.get(f"{prefix}files")
    if files is not None and len(files):
        tokenizer.keep(files)


def packed(folder: Path) -> UInt8[Tensor, " bytes"]:
    """A folder's files as the bytes of one tensor, which goes into a state dict."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    text = json.dumps({name: content.hex() for name, content in files.items()})
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()


def unpacked(files: UInt8[Tensor, " bytes"]) -> Any:
    """The processor that `packed` files hold."""
    with tempfile.TemporaryDirectory(prefix="processor_") as folder:
        for name, content in json.loads(bytes(files.tolist())).items():
            path = (Path(folder) / name).resolve()
            assert path.is_relative_to(Path(folder).resolve()), f"a processor's file lies outside its folder: {name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes.fromhex(content))
        return load(folder)


def load(processor: str, revision: str | None = None) -> Any:
    """The processor of a folder, of the hub's offline cache or of the hub.

    Raises ImportError, FileNotFoundError and ValueError as `Hub.build` does.
    """
    trusted = remote_code_is_trusted()
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ImportError(
            f"tokenizers/hub needs {error.name!r}, which is not installed: pip install 'compression-gap[vision]'"
        ) from error
    try:
        found = transformers.AutoProcessor.from_pretrained(
            processor, trust_remote_code=trusted, **({} if revision is None else {"revision": revision})
        )
    except OSError as error:
        raise FileNotFoundError(
            f"Hub.processor: {processor!r} is no folder with processor_config.json, is not in the hub's cache, and "
            f"cannot be fetched; where there is a network, type `hf download {processor}`. "
            f"({str(error).splitlines()[0]})"
        ) from error
    except ValueError as error:
        if trusted or "trust_remote_code" not in str(error):
            raise
        raise ValueError(
            f"Hub.processor: {processor!r} comes with Python code of its own, which would run with your rights. Read "
            f"it, and say so if you trust it: {HOW}"
        ) from error
    lacking = [name for name in ("__call__", "decode", "vocab_size") if not hasattr(found, name)]
    if lacking:
        raise ValueError(
            f"Hub.processor: {processor!r} is a {type(found).__name__}, not an action processor: it has no "
            f"{', '.join(lacking)}"
        )
    return found
