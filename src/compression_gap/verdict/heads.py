"""Heads retrained offline: what a policy over these features, through this code, would execute on new demonstrations.

No rollout is needed, and no picture: features, chunks and codes are enough. Seeds and amounts of data are trained side
by side. The same budget and the same search go to every encoder and every code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from compression_gap.data.split import EVERY, FEWEST_DEMONSTRATIONS, TEST, TRAIN, VALIDATION, Split
from compression_gap.measures.aim import Looks
from compression_gap.measures.ridge import fit_ridge
from compression_gap.measures.room import check_room
from compression_gap.measures.token_probe import in_digits
from compression_gap.training import Report, part_of, save_tensors
from compression_gap.verdict.head_learning import (
    ROWS,
    Code,
    HeadTraining,
    Inputs,
    Lessons,
    choose,
    errors_of_rows,
    evenly,
    executed,
    loss_of_rows,
    mean_loss,
    trained,
)

DIRECTIONS = 16  # principal ones of the chunks, which the linear readout reads
NARROW = 64  # features up to this width cannot drown what matters, and are used whole without a trial, as by policies
POLICIES_WATCHED = 600  # validation chunks for which policies write codes, at each of several moments
RESULT = "executed.safetensors"
WAYS = ("whole", "readout")
"""Features beside what a linear readout makes of them, or the readout alone."""


@dataclass(frozen=True)
class Executed:
    """What heads would execute on test chunks, by fraction of the training demonstrations and seed."""

    fractions: tuple[float, ...]
    errors: Float[np.ndarray, "fractions seeds N"]
    """Mean squared error of a chunk's scaled values: of the likeliest code as it is read, or of the regression."""
    bits: Float[np.ndarray, "fractions seeds N"] | None
    """Code length of every chunk given the features, in bits; None without a code."""
    rows: Int[np.ndarray, " N"]
    """Which of all chunks were tested."""
    demonstration: Int[np.ndarray, " N"]
    way: str
    """How the features were used, in the first of several divisions; validation demonstrations chose."""
    aims: Mapping[str, Executed] = field(default_factory=dict)
    """At the last looks before a gripper closes and opens (`measures.aim`): `errors` are mm to the side."""
    division: Int[np.ndarray, " N"] | None = None
    """Which heads tested a chunk, where there are some for each of several divisions; None: all were tested alike."""

    @property
    def of_few(self) -> bool:
        """Whether a single division would test on too few demonstrations for an interval."""
        if self.division is None:
            return False
        return len(np.unique(self.demonstration)) < FEWEST_DEMONSTRATIONS * len(np.unique(self.division))

    @classmethod
    def joined(cls, parts: Sequence[Executed]) -> Executed:
        """What heads of several divisions would execute, those of each on what was not told to them."""

        def all_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate(arrays, axis=-1)

        bits = [one.bits for one in parts if one.bits is not None]
        kinds = {kind for one in parts for kind in one.aims}
        return cls(
            parts[0].fractions,
            all_of([one.errors for one in parts]),
            all_of(bits) if bits else None,
            all_of([one.rows for one in parts]),
            all_of([one.demonstration for one in parts]),
            parts[0].way,
            {kind: cls.joined([one.aims[kind] for one in parts if kind in one.aims]) for kind in sorted(kinds)},
            np.repeat(np.arange(len(parts)), [len(one.rows) for one in parts]) if len(parts) > 1 else None,
        )


def retrain_heads(
    features: Float[Tensor, "M F"],
    chunks: Float[Tensor, "N T D"],
    code: Code | None,
    demonstration: Int[Tensor, " N"],
    training: HeadTraining,
    folder: Path,
    report: Report,
    *,
    looks: Mapping[str, Looks] | None = None,
) -> Executed:
    """Trains a head for every fraction and seed, and executes it on the test demonstrations.

    `chunks` are scaled as the policy's own; `code` None: the head is a regression. `demonstration` numbers them in
    the order in which they are divided (`Windows.rank`): every seventh is tested on. The aim is taken on those
    `looks` that are tested. What is trained is kept in `folder`, so that a killed call goes on from there; a call
    that was finished returns what is there. Raises ValueError if rows do not match, numbers are not finite, there
    are too few demonstrations to split, or memory cannot hold the scores of codes.
    """
    split = Split(demonstration)
    _check(features, chunks, code, split)
    rows = evenly(split.rows(TEST), training.judged)
    looks = {kind: some.only((split.part == TEST)[some.row]) for kind, some in (looks or {}).items()}
    looks = {kind: some for kind, some in looks.items() if len(some.row)}
    if (folder / RESULT).exists():
        return _told(load_file(folder / RESULT), training, rows, looks, demonstration)
    folder.mkdir(parents=True, exist_ok=True)
    replicas = [(fraction, seed) for fraction in training.fractions for seed in training.seeds]
    watched = evenly(split.rows(VALIDATION), POLICIES_WATCHED if training.layers else training.judged)
    if code is not None:
        at_once = max(training.batch, min(ROWS, max(len(rows), len(watched))))
        tokens = code.ids.shape[1]
        scores = len(replicas) * at_once * tokens * len(code.levels) * max(code.levels)
        check_room(code.vocab_size, tokens, scores, code.ids.device)
    target = chunks.flatten(1) if code is None else in_digits(code.ids, code.levels).flatten(1)
    shown = _shown(features, chunks.flatten(1), split, training)
    way = WAYS[0]
    if features.shape[1] > NARROW and not training.layers:
        way = _better(shown, target, code, split, training, folder / "trial", part_of(report, 0.0, 0.3))
        report = part_of(report, 0.3, 1.0)
    inputs, own = shown[way], tuple(split.rows(TRAIN, fraction) for fraction, _ in replicas)
    data = Lessons(inputs, target, own, tuple(seed for _, seed in replicas))
    heads, moments = trained(data, code, split, training, folder, report)
    shape = (len(training.fractions), len(training.seeds), len(rows))
    mean = chunks[split.rows(TRAIN)].mean(dim=0).flatten()

    def errors_on(some: Tensor) -> Tensor:
        return errors_of_rows(heads.model, inputs, some, chunks, code, mean)

    choose(heads, moments, lambda: errors_on(watched).mean(dim=1))
    result = {"errors": errors_on(rows).view(shape), "way": torch.tensor(WAYS.index(way))}
    for kind, some in looks.items():
        acted = torch.cat([executed(heads.model, inputs, few, code, mean) for few in some.row.split(ROWS)], dim=1)
        acted = acted.unflatten(2, chunks.shape[1:])
        result[kind] = some.off(acted, chunks[some.row]).view(*shape[:2], -1)
    if code is not None:
        choose(heads, moments, partial(mean_loss, heads, data, watched))
        result["bits"] = loss_of_rows(heads, data, rows).view(shape) / np.log(2)
    save_tensors(result, folder / RESULT)
    for file in folder.rglob("weights*.safetensors"):
        file.unlink()
    return _told(result, training, rows, looks, demonstration)


def _told(
    result: dict[str, Tensor],
    training: HeadTraining,
    rows: Int[Tensor, " M"],
    looks: Mapping[str, Looks],
    demonstration: Int[Tensor, " N"],
) -> Executed:
    """What was found on test chunks, and on the looks among them."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in result.items()}
    way, fractions = WAYS[int(arrays["way"])], training.fractions

    def placed(chosen: Int[Tensor, " M"]) -> tuple[np.ndarray, np.ndarray, str]:
        return chosen.cpu().numpy(), demonstration[chosen].cpu().numpy(), way

    aims = {kind: Executed(fractions, arrays[kind], None, *placed(some.row)) for kind, some in looks.items()}
    return Executed(fractions, arrays["errors"], arrays.get("bits"), *placed(rows), aims)


def _check(features: Tensor, chunks: Tensor, code: Code | None, split: Split) -> None:
    count = len(chunks)
    for name, values in {"features": features, "demonstration": split.demonstration}.items():
        if len(values) != count:
            raise ValueError(f"{name}: expected {count} rows, one a chunk; got {len(values)}")
    if code is not None and len(code.ids) != count:
        raise ValueError(f"code: expected {count} rows, one a chunk; got {len(code.ids)}")
    for name, values in {"features": features, "chunks": chunks}.items():
        wrong = torch.nonzero(~torch.isfinite(values).flatten(1).all(dim=1)).flatten()
        if len(wrong):
            raise ValueError(
                f"{name}: expected finite numbers, got NaN or infinite ones in {len(wrong)} of {count} chunks, the "
                f"first of them number {int(wrong[0])}"
            )
    if split.fewest == 0:
        raise ValueError(
            f"demonstration: heads need demonstrations to learn from, to stop by and to be tested on, at least "
            f"{EVERY}; got {len(torch.unique(split.demonstration))}"
        )


def _standardised(values: Float[Tensor, "N F"], rows: Int[Tensor, " M"]) -> Float[Tensor, "N F"]:
    spread, mean = torch.std_mean(values[rows].double(), dim=0, correction=0)
    return ((values.double() - mean) / spread.clamp(min=1e-6)).where(spread > 1e-6, 0.0).float()


def _shown(
    features: Float[Tensor, "N F"], chunks: Float[Tensor, "N A"], split: Split, training: HeadTraining
) -> dict[str, Inputs]:
    """Both ways of using the features: with what ridge regression reads from them of the chunks, or only that."""
    scaled = _standardised(features, split.rows(TRAIN))
    readouts = torch.stack([_read(scaled, chunks, split, fraction) for fraction in training.fractions])
    amount = torch.arange(len(training.fractions), device=scaled.device).repeat_interleave(len(training.seeds))
    return {"whole": Inputs(scaled, readouts, amount), "readout": Inputs(scaled[:, :0], readouts, amount)}


def _read(
    scaled: Float[Tensor, "N F"], chunks: Float[Tensor, "N A"], split: Split, fraction: float
) -> Float[Tensor, "N K"]:
    """What ridge regression on a fraction of the training demonstrations reads of the chunks: of these demonstrations
    what the others say. Zeros if there is nothing to read: from a single demonstration, or features that are constant.
    """
    rows = split.rows(TRAIN, fraction)
    if len(torch.unique(split.demonstration[rows])) < 2 or not (scaled[rows] != scaled[rows[0]]).any():
        return torch.zeros(len(chunks), min(DIRECTIONS, chunks.shape[1]), device=chunks.device)
    centred = (chunks[rows] - chunks[rows].mean(dim=0)).double()
    _, directions = torch.linalg.eigh(centred.T @ centred)
    readout = fit_ridge(scaled[rows], (centred @ directions[:, -DIRECTIONS:]).float(), split.demonstration[rows])
    read = readout(scaled)
    read[rows] = readout.unseen
    return _standardised(read, rows)


def _better(
    shown: dict[str, Inputs],
    target: Tensor,
    code: Code | None,
    split: Split,
    training: HeadTraining,
    folder: Path,
    report: Report,
) -> str:
    """The way of using features with the smaller loss on validation demonstrations, for one seed and all the data."""
    losses = []
    for number, way in enumerate(WAYS):
        one = replace(shown[way], amount=shown[way].amount[-1:])
        data = Lessons(one, target, (split.rows(TRAIN),), training.seeds[:1])
        part = part_of(report, number / len(WAYS), (number + 1) / len(WAYS))
        heads, moments = trained(data, code, split, training, folder / way, part)
        rows = evenly(split.rows(VALIDATION), training.judged)
        least = choose(heads, moments, partial(mean_loss, heads, data, rows))
        losses.append(float(least))
    return WAYS[int(np.argmin(losses))]
