"""Jobs that measure a tokenizer from all sides, on demonstrations that it was not fitted on."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int

from compression_gap.measures.attempts import Read, read, write
from compression_gap.measures.distortion import POSITION, arm_of, distortion, squared_drift, tails
from compression_gap.measures.entropy import held_out_marginals, nominal_bits, positions
from compression_gap.measures.modelability import KnowingTokenModel, token_lengths
from compression_gap.measures.quantity import mean_over_demonstrations, root_mean_square
from compression_gap.measures.rate_distortion import excess, held_out_spectrum
from compression_gap.measures.robustness import sensitivity_mm, undecodable
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.chunked import FittedTokenizer
from compression_gap.pipeline.jobs.data import HELD_OUT_ROWS, SUMMARY, spread
from compression_gap.pipeline.jobs.learning import learn
from compression_gap.pipeline.jobs.tokenizer import TokenBits
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.seeds import seed_of
from compression_gap.store import write_json
from compression_gap.suites.base import Legend
from compression_gap.tokenizers.base import Tokenizer, Tokens
from compression_gap.training import Training

CORRUPTED_CODES = 256  # enough for a share to within three points
CODES_A_PLACE = 64
PREFIXES = 16  # longer codes are cut at powers of two only


@dataclass(frozen=True)
class Modelability(Job, kind="modelability", version=3):
    """How long a tokenizer's codes of held-out chunks are where something is known: of a suite the true state,
    proprioception and the task, of a dataset its features if there are any. Writes summary.json, and the probe with its
    loss curve."""

    resumable: ClassVar[bool] = True
    tokenizer: FittedTokenizer
    probe: Autoregressive
    training: Training

    @property
    def opens(self) -> tuple[Job, ...]:
        return self.tokenizer.sources

    @property
    def title(self) -> str:
        return f"bits of {self.tokenizer.title}, told what is known"

    def cost(self) -> Cost:
        return TokenBits(self.tokenizer, self.probe, self.training).cost()

    def run(self, context: Context) -> None:
        job, tokenizer = self.tokenizer, self.tokenizer.load(context.store)
        parts = []
        for held_out in (False, True):
            part = job.part(context.store, held_out=held_out)
            written = write(tokenizer, torch.from_numpy(part.chunk))
            known = job.known(context.store, held_out=held_out)[written.rows]
            parts.append((written.tokens, known, part.demonstration[written.rows.numpy()]))
        (tokens, known, _), (held_tokens, held_known, demonstration) = parts
        torch.manual_seed(seed_of(self.tokenizer.seed, "probe"))
        model = KnowingTokenModel(self.probe, tokenizer, known.shape[1])
        model.standardise.fit(known)
        ids, held_ids = model.ids(tokens), model.ids(held_tokens)
        shown = spread(len(held_ids), HELD_OUT_ROWS)
        held_out = (held_ids[shown], held_known[shown])
        seed = self.tokenizer.seed
        learn(model, lambda rows: (ids[rows], known[rows]), len(ids), held_out, self.training, seed, context)
        lengths = model.bits(held_ids, held_known).sum(1).double().numpy()
        of_chunk = mean_over_demonstrations(lengths[None], demonstration, kind="upper bound")
        write_json(context.folder / SUMMARY, {"code_length_bits": dataclasses.asdict(of_chunk)})


@dataclass(frozen=True)
class TokenizerQuality(Job, kind="tokenizer_quality", version=5):
    """Rate, distortion, use of the vocabulary and robustness of a tokenizer on held-out chunks, and where it stands
    beside the Gaussian's rate-distortion function. Writes summary.json."""

    bits: TokenBits
    """The tokenizer, with the probe that measures code lengths."""

    @property
    def opens(self) -> tuple[Job, ...]:
        return (self.bits.tokenizer, *self.bits.opens)

    @property
    def title(self) -> str:
        return f"quality of {self.bits.tokenizer.title}"

    def run(self, context: Context) -> None:
        job, model = self.bits.tokenizer, self.bits.load(context.store)
        tokenizer, legend = model.policy.tokenizer, job.legend(context.store)
        fitted, other = (job.part(context.store, held_out=part) for part in (False, True))
        train, held = fitted.chunk, other.chunk
        seen, written = (write(tokenizer, torch.from_numpy(some)) for some in (train, held))
        rows = written.rows.numpy()
        whole = Coded(written.tokens, held[rows], other.demonstration[rows])
        told = read(tokenizer, whole.tokens)
        ids = model.ids(whole.tokens)
        lengths = token_lengths(model.policy, torch.zeros(len(ids), 1, 1), ids).double().numpy()
        code_length = mean_over_demonstrations(lengths.sum(1)[None], whole.demonstration, kind="upper bound")
        nobody = np.zeros(len(seen.rows), dtype=np.int64)  # intervals for hundreds of places are dear, and not shown
        learnt = model.ids(seen.tokens).numpy()
        used = positions(learnt, nobody, tokenizer.vocab_size)
        reach = reached(seen.tokens, len(used))
        of_places = {
            "perplexity": [place.perplexity.value or 1.0 for place in used],
            "used": [place.used.value or 0.0 for place in used],
            "dead": [(place.dead.value or 0.0) / tokenizer.vocab_size for place in used],
            "unseen": [place.unseen.value or 0.0 for place in used],
        }
        total = held_out_marginals(learnt, ids.numpy(), whole.demonstration, tokenizer.vocab_size)
        nominal = nominal_bits(tokenizer, whole.tokens.length)
        generator = torch.Generator().manual_seed(seed_of("corruption"))
        lost = undecodable(tokenizer, whole.some(CORRUPTED_CODES), generator)
        sensitivity = sensitivity_mm(tokenizer, whole.some(CODES_A_PLACE), legend, generator)
        summary: dict[str, Any] = {
            "chunks": len(held),
            "demonstrations": len(np.unique(whole.demonstration)),
            "vocab_size": tokenizer.vocab_size,
            "tokens": float(whole.tokens.length.double().mean()),
            "nominal_bits": nominal,
            "code_length_bits": dataclasses.asdict(code_length),
            "marginal_bits": dataclasses.asdict(total),
            **{name: float(np.average(values, weights=reach)) for name, values in of_places.items()},
            "unwritten": len(held) - len(rows),
            "unreadable": int((~told.valid).sum()),
            "failure": written.failure or told.failure,
            "undecodable": dataclasses.asdict(lost),
            "sensitivity_mm": None if sensitivity is None else [_number(value) for value in sensitivity],
            **_distances(whole, told, legend),
        }
        assert total.value is not None, "chunks have codes"
        rate = min(float(lengths.sum(1).mean()), nominal, total.value)
        summary["rate_bits"] = rate
        summary |= _beside_the_gaussian(train, held, summary["squared_error"], rate, legend)
        summary["prefixes"] = _prefixes(tokenizer, whole, lengths, legend)
        write_json(context.folder / SUMMARY, summary)


@dataclass(frozen=True)
class Coded:
    """Held-out chunks that could be written, with their codes."""

    tokens: Tokens
    chunk: Float[np.ndarray, "N T D"]
    demonstration: Int[np.ndarray, " N"]

    def some(self, most: int) -> Tokens:
        """At most so many of the codes, evenly spread."""
        chosen = torch.from_numpy(spread(len(self.chunk), most))
        return Tokens(self.tokens.ids[chosen], self.tokens.length[chosen])


def reached(tokens: Tokens, places: int) -> Float[np.ndarray, " places"]:
    """How many codes have a token at each of so many places. Averages over places weigh them by it: else they would
    speak of the longest code, where codes differ in length."""
    return (tokens.length[:, None] > torch.arange(places)).sum(dim=0).double().numpy()


def _distances(coded: Coded, told: Read, legend: Legend) -> dict[str, Any]:
    """Errors of the codes that can be read: in the units of the task, and squared, summed over a chunk and its arm."""
    kept = told.valid.numpy()
    chunk, decoded = coded.chunk[kept], told.chunk.numpy()[kept].astype(np.float64)
    arm = arm_of(legend)
    return {
        **distortion(chunk, decoded, legend),
        **tails(chunk, decoded, legend),
        "mm": _mm(chunk, decoded, legend, coded.demonstration[kept]),
        "squared_error": float(((decoded - chunk)[..., arm] ** 2).sum(axis=(1, 2)).mean()),
    }


def _mm(
    chunk: Float[np.ndarray, "N T D"],
    decoded: Float[np.ndarray, "N T D"],
    legend: Legend,
    demonstration: Int[np.ndarray, " N"],
) -> dict[str, Any] | None:
    """The root mean square of `distortion`, with an interval over demonstrations."""
    squared = squared_drift(chunk, decoded, legend, POSITION)
    if squared is None:
        return None
    return dataclasses.asdict(root_mean_square(squared.mean(axis=1), demonstration, "mm"))


def _beside_the_gaussian(
    train: Float[np.ndarray, "N T D"],
    held: Float[np.ndarray, "M T D"],
    squared_error: float,
    rate: float,
    legend: Legend,
) -> dict[str, Any]:
    """The Gaussian's curve for the arm actions of held-out chunks, and how far the code lies above it.

    An estimate: variances are those of a sample.
    """
    arm = arm_of(legend)
    vectors = [some[..., arm].reshape(len(some), -1).astype(np.float64) for some in (train, held)]
    found = held_out_spectrum(*vectors)
    still = [{place * len(arm) + n for place in range(train.shape[1])} <= set(found.constant) for n in range(len(arm))]
    names = [legend.action[d].partition(" (")[0] for d in arm]
    gaussian = {
        "variances": found.variances.tolist(),
        "actions": [name for name, never in zip(names, still, strict=True) if not never],
        "constant": [name for name, never in zip(names, still, strict=True) if never],
        "singular": found.singular,
        "kind": "estimate",
        "note": "" if len(found.variances) else "no arm action varies",
    }
    placed = dataclasses.asdict(excess(found, rate, squared_error)) if len(found.variances) and squared_error else None
    return {"gaussian": gaussian, "excess": placed}


def _prefixes(
    tokenizer: Tokenizer, coded: Coded, lengths: Float[np.ndarray, "N L"], legend: Legend
) -> list[dict[str, Any]]:
    """Rate and error of the first k tokens of an ordered code."""
    found = []
    for cut in cuts(tokenizer):
        told = read(tokenizer, Tokens(coded.tokens.ids, coded.tokens.length.clamp(max=cut)))
        if told.valid.any():
            errors = _distances(coded, told, legend)
            bits = float(lengths[:, :cut].sum(1).mean())
            nominal = cut * math.log2(tokenizer.vocab_size)
            mm = errors["mm"] and errors["mm"]["value"]
            found.append(
                {
                    "tokens": cut,
                    "nominal_bits": nominal,
                    "bits": bits,
                    "mm": mm,
                    "squared_error": errors["squared_error"],
                }
            )
    return found


def cuts(tokenizer: Tokenizer) -> list[int]:
    """The numbers of tokens at which an ordered code is cut, the whole code last; none of a code without an order."""
    lengths, longest = tokenizer.prefix_lengths, tokenizer.max_tokens
    some = lengths if longest <= PREFIXES else [2**i for i in range((longest - 1).bit_length()) if 2**i in lengths]
    return sorted({*some, *lengths[-1:]})


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
