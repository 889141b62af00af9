"""FAST: the frequencies of a chunk, rounded, as byte-pair codes of different lengths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from compression_gap.folders import content_of
from compression_gap.scaling import ActionScaling
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers import byte_pairs
from compression_gap.tokenizers.base import ARM, Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.byte_pairs import CHARACTERS, BytePairs

TAIL = 0.01
WRAP = CHARACTERS - 1  # the characters are a power of two
PORTION = 2**18
"""Characters that are encoded or decoded at once."""
SETTINGS = "processor_config.json"
VOCABULARIES = ("tokenizer.json", "bpe_tokenizer/tokenizer.json")
"""Where a saved processor keeps its vocabulary, older and newer."""
PROCESSOR = {
    "processor_class": "UniversalActionProcessor",
    "auto_map": {"AutoProcessor": "processing_action_tokenizer.UniversalActionProcessor"},
}


@dataclass(frozen=True)
class Fast(TokenizerSpec, kind="fast", version=2):
    """FAST (arXiv 2501.09747): cosine transform over time, rounded, byte-pair encoded; nothing to train by gradient.

    Coefficients far outside what was fitted take more tokens and are exact. A chunk with one that even two bytes cannot
    write has no code: `encode` gives it length 0, which `decode` calls invalid.
    """

    scale: float = 10.0
    """Multiplies the coefficients before they are rounded: larger is finer and longer."""
    vocabulary: int = 1024
    """Ids; 222 of them are the bytes that any coefficient can be written with."""
    published: str | None = None
    """Folder of a published processor, as `physical-intelligence/fast`: tokenizer.json and processor_config.json. Its
    vocabulary and scale are used, and no code of the folder runs. It is known by the content of these two files, so it
    may move. None: both as here, fitted to the training chunks."""

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"Fast.scale: expected more than 0, got {self.scale}")
        if self.vocabulary < byte_pairs.SMALLEST:
            raise ValueError(f"Fast.vocabulary: expected at least {byte_pairs.SMALLEST}, got {self.vocabulary}")

    def in_digest(self, field: str) -> Any:
        """Of a published processor, its content.

        Raises FileNotFoundError if the folder or a file is gone.
        """
        if field == "published" and self.published is not None:
            return content_of(Path(self.published), processor_files(self.published))
        return super().in_digest(field)

    def expected_tokens(self, horizon: int) -> int:
        """In the paper 20 to 30 for a second of one arm, whatever the rate; never more than coefficients."""
        return min(30, ARM * horizon)

    def build(self, shape: ChunkShape) -> FastTokenizer:
        """Raises FileNotFoundError or ValueError if the published processor is not there or not FAST's."""
        return FastTokenizer(self, shape)


class FastTokenizer(Tokenizer):
    """See `Fast`. The vocabulary is kept in the state dict, as the text of a tokenizer.json in bytes."""

    varies = True
    ordered = False
    digits = None
    text: Tensor
    scale: Tensor
    zero: Tensor
    lowest: Tensor

    def __init__(self, spec: Fast, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.fits = shape, spec.published is None
        self.coefficients = shape.horizon * shape.actions
        self.max_tokens = 2 * self.coefficients  # a character has at most two bytes
        self.vocab_size = spec.vocabulary
        self.scaling = ActionScaling(shape.actions)
        self.pairs: BytePairs | None = None
        self.register_buffer("text", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("scale", torch.tensor(spec.scale, dtype=torch.float64))
        self.register_buffer("zero", torch.tensor(0))  # the character of coefficient 0
        self.register_buffer("lowest", torch.tensor(0))  # the smallest coefficient that is told from a large one
        cosines = scipy.fft.dct(np.eye(shape.horizon), axis=0, norm="ortho")
        self.register_load_state_dict_pre_hook(take_vocabulary)
        self.register_buffer("cosines", torch.from_numpy(cosines), persistent=False)
        if spec.published is not None:
            text, settings = read_processor(spec.published)
            self.scale.fill_(settings["scale"])
            self.zero.fill_(-settings["min_token"])
            self.lowest.fill_(settings["min_token"])
            self.vocab_size = settings["vocab_size"]
            self.learn(text)

    @property
    def nominal_bits(self) -> float:
        """Upper bound on the information in a code, in bits a chunk: that of its coefficients, 11 bits each."""
        return self.coefficients * float(np.log2(CHARACTERS))

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        """Takes the actions' 1st to 99th percentile and, unless the vocabulary is published, learns one.

        Raises ValueError if the coefficients span more numbers than there are characters.
        """
        self.scaling.fit(chunks, TAIL)
        if not self.fits:
            return
        rounded = self.rounded(chunks)
        least, span = int(rounded.min()), int(rounded.max() - rounded.min()) + 1
        if span > CHARACTERS:
            raise ValueError(
                f"Fast.scale: at {self.scale.item():g} the rounded coefficients of the training chunks span {span} "
                f"numbers, and there are {CHARACTERS} characters; choose a scale below "
                f"{self.scale.item() * CHARACTERS / span:.3g}, or look for outliers in the actions"
            )
        self.zero.fill_(-least)
        self.lowest.fill_(least - (CHARACTERS - span) // 2)
        self.learn(byte_pairs.train(rounded - least, self.vocab_size))

    def learn(self, text: str) -> None:
        """Takes over a vocabulary, the text of a tokenizer.json."""
        self.text = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()
        self.pairs = BytePairs(text)
        if self.pairs.size > self.vocab_size:
            raise ValueError(f"the vocabulary has {self.pairs.size} ids, expected at most {self.vocab_size}")
        unknown = self.vocab_size - self.pairs.size
        self.opens, self.starts, self.leaves_open = (
            torch.from_numpy(np.pad(part, (0, unknown), constant_values=filler))
            for part, filler in ((self.pairs.open, 0), (self.pairs.starts, -1), (self.pairs.left_open, 0))
        )
        self.fillable = self.can_be_filled()

    @torch.no_grad()
    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        """Codes of different lengths. A chunk that the vocabulary cannot write gets an empty one, of length 0."""
        pairs = self.known()
        characters, writable = self.characters(self.rounded(chunk))
        ids, lengths = [np.zeros(0, dtype=np.int64)], np.zeros(len(chunk), dtype=np.int64)
        for rows in self.portions(len(chunk)):
            written = np.arange(rows.start, rows.stop)[writable[rows]]
            some, lengths[written] = pairs.encode(characters[written])
            ids.append(some)
        padded = np.zeros((len(chunk), max(1, lengths.max(initial=0))), dtype=np.int64)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(ids)
        return Tokens(torch.from_numpy(padded).to(chunk.device), torch.from_numpy(lengths).to(chunk.device))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Decoded:
        """Chunks from whole codes. A row is valid if its ids are in the vocabulary and write T * D coefficients."""
        pairs = self.known()
        valid = tokens.well_formed(pairs.size, 1, self.max_tokens).cpu().numpy()
        ids, lengths = tokens.ids.cpu().numpy(), np.where(valid, tokens.length.cpu().numpy(), 0)
        characters, exact = np.zeros((len(ids), self.coefficients), dtype=np.int64), np.zeros(len(ids), dtype=bool)
        for rows in self.portions(len(ids)):
            counted = ids[rows][np.arange(ids.shape[1]) < lengths[rows, None]]
            characters[rows], exact[rows] = pairs.decode(counted, lengths[rows], self.coefficients)
        lowest, zero = self.lowest.item(), self.zero.item()
        rounded = np.bitwise_and(characters - zero - lowest, WRAP) + lowest
        rounded[~exact] = 0
        frequencies = torch.from_numpy(rounded).to(self.scale) / self.scale
        frequencies = frequencies.unflatten(1, (self.shape.horizon, self.shape.actions))
        scaled = torch.einsum("kt,bkd->btd", self.cosines, frequencies)
        return Decoded(self.scaling.inverse(scaled.float()), torch.from_numpy(exact).to(tokens.ids.device))

    def following(self, ids: Int[Tensor, "B l"]) -> Bool[Tensor, "B {self.vocab_size}+1"]:
        """Ids whose characters fit into the T * D coefficients and leave a rest that others can fill; the end exactly
        when the coefficients are all there, and after ids that cannot be completed."""
        self.known()
        opens, starts, leaves_open = (table.to(ids.device) for table in (self.opens, self.starts, self.leaves_open))
        fillable = self.fillable.to(ids.device)
        rest = self.coefficients - starts[ids].sum(1)
        is_open = leaves_open[ids[:, -1]] if ids.shape[1] else torch.zeros_like(rest)
        left = rest[:, None] - starts
        fits = (opens == is_open[:, None]) & (starts >= 0) & (left >= 0)
        may = fits & fillable[leaves_open.expand_as(left), left.clamp(0, self.coefficients)]
        return torch.cat([may, ~may.any(1, keepdim=True)], dim=1)

    def can_be_filled(self) -> Bool[Tensor, "2 rest"]:
        """Whether some ids write exactly so many characters more, where no character is open and where one is."""
        tables = (self.opens, self.starts, self.leaves_open)
        kinds = set(zip(*(table.tolist() for table in tables), strict=True))
        fillable = torch.zeros(2, self.coefficients + 1, dtype=torch.bool)
        fillable[0, 0] = True
        for rest in range(self.coefficients + 1):
            for is_open in (0, 1):
                for opens, starts, leaves_open in kinds:
                    if opens == is_open and 0 <= starts <= rest and fillable[leaves_open, rest - starts]:
                        fillable[is_open, rest] = True
        return fillable

    def rounded(self, chunk: Float[Tensor, "B T D"]) -> Int[np.ndarray, "B T*D"]:
        """Coefficients, all values of the lowest frequency first. In double precision, so that rounding does not depend
        on who shares the batch."""
        scaled = self.scaling(chunk).double()
        coefficients = torch.einsum("kt,btd->bkd", self.cosines, scaled) * self.scale
        return coefficients.round().flatten(1).long().cpu().numpy()

    def characters(self, rounded: Int[np.ndarray, "B n"]) -> tuple[Int[np.ndarray, "B n"], Bool[np.ndarray, " B"]]:
        """Characters of coefficients, and which rows the vocabulary can write. What lies below the fitted minimum goes
        round to the last characters, which the fitted maximum does not reach."""
        lowest = self.lowest.item()
        characters = np.bitwise_and(rounded + self.zero.item(), WRAP)
        inside = (rounded >= lowest) & (rounded < lowest + CHARACTERS)
        return characters, np.asarray((inside & self.known().writes[characters]).all(axis=1))

    def portions(self, rows: int) -> list[slice]:
        """Rows in portions whose arrays fit a processor's cache."""
        size = max(1, PORTION // self.coefficients)
        return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]

    def known(self) -> BytePairs:
        """The vocabulary; raises ValueError if there is none yet."""
        if self.pairs is None:
            raise ValueError("the FAST vocabulary is not fitted; call fit(training chunks) first")
        return self.pairs

    def save_processor(self, folder: Path) -> None:
        """Writes tokenizer.json and processor_config.json, as the published processor reads them beside its own code.

        It does no scaling of actions: give it `scaling(chunk)`, and take `scaling.inverse` of what it decodes.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.known()
        (folder / VOCABULARIES[0]).write_bytes(bytes(self.text.tolist()))
        tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2))
        settings = {
            **PROCESSOR,
            "scale": self.scale.item(),
            "vocab_size": self.vocab_size,
            "min_token": -self.zero.item(),
            "time_horizon": self.shape.horizon,
            "action_dim": self.shape.actions,
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2))


def take_vocabulary(tokenizer: FastTokenizer, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before a state dict is loaded: learns its vocabulary, whose length is known from nothing else."""
    text = state_dict.get(f"{prefix}text")
    if text is not None and len(text):
        tokenizer.learn(bytes(text.tolist()).decode())


def processor_files(published: str) -> tuple[Path, Path]:
    """The vocabulary and the settings of a published processor.

    Raises FileNotFoundError naming what is missing.
    """
    folder = Path(published)
    texts = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if not texts or not (folder / SETTINGS).is_file():
        raise FileNotFoundError(
            f"Fast.published: expected {folder} to be a folder with {VOCABULARIES[0]} and {SETTINGS}; where there is a "
            "network, type `hf download physical-intelligence/fast --local-dir FOLDER`"
        )
    return texts[0], folder / SETTINGS


def read_processor(published: str) -> tuple[str, dict[str, Any]]:
    """The text of a published processor's vocabulary, and its settings.

    Raises FileNotFoundError naming what is missing, and ValueError if the settings are not FAST's.
    """
    text, place = processor_files(published)
    settings = json.loads(place.read_text())
    missing = [name for name in ("scale", "vocab_size", "min_token") if not isinstance(settings.get(name), int | float)]
    if missing:
        raise ValueError(f"{place}: expected numbers in {', '.join(missing)}, as FAST's processor has them")
    return text.read_text("utf-8"), settings
