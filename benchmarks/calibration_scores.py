"""Scores of verdicts and predictions against what upgrades really brought, as Markdown. Nothing is dropped."""

from collections import Counter

import numpy as np

from compression_gap.measures.quantity import Quantity
from compression_gap.testing.upgrades import Judged, gain, gains
from compression_gap.verdict.heads import Executed
from compression_gap.verdict.offline import BOUND, THRESHOLD, OfflineEvidence, offline_verdict
from compression_gap.verdict.prediction import PARTS, Arms
from compression_gap.verdict.success_curve import SuccessCurve

UNITS = ("points", "share of the distortion")
UNRESOLVED = "unresolved"
FACTORS = ("state", "steps", "actions", "noise", "tokens", "values", "demonstrations", "tolerance")


class Case:
    """One pipeline: what is true of it, and what an audit of it says."""

    def __init__(self, pipeline, file):
        self.pipeline, self.seen = pipeline, file
        arms = (None, *PARTS)
        judged = {arm: Judged(file[f"true {arm} success"], file[f"true {arm} distortion"]) for arm in arms}
        both = gains(judged)
        self.true = {unit: {part: both[part][k] for part in PARTS} for k, unit in enumerate(UNITS)}
        ahead = gain(judged["codebook"].success, judged["encoder"].success)
        clear = max(self.true["points"][part].value for part in ("encoder", "codebook")) > THRESHOLD["points"]
        self.better = None
        if clear and (ahead.low > 0 or ahead.high < 0):
            self.better = "encoder" if ahead.value > 0 else "codebook"
        self.verdict = {unit: offline_verdict(self.evidence(unit)) for unit in UNITS}

    def executed(self, name):
        errors, rows = self.seen[f"{name} errors"], np.arange(len(self.seen["demonstration"]))
        bits = self.seen.get(f"{name} bits")
        fractions = (0.25, 0.5, 1.0)[-len(errors) :]
        return Executed(fractions, errors, bits, rows, self.seen["demonstration"], "whole")

    def evidence(self, unit):
        curve = None
        if unit == "points":
            curve = SuccessCurve.fit(self.seen["replayed distortion"], self.seen["replayed success"])
        arms = Arms(self.executed("own"), self.executed("encoder"), self.executed("codebook"))
        reconstruction = self.seen["own reconstruction"].astype(float)
        return OfflineEvidence(arms, reconstruction, 1.0, None, curve, None)

    def label(self, unit):
        """What is true, or unresolved."""
        helps = {part: gain.clears(THRESHOLD[unit]) for part, gain in self.true[unit].items()}
        yes = [part for part, share in helps.items() if share]
        if len(yes) > 1:
            return "several"
        if None in helps.values():
            return UNRESOLVED
        return BOUND[yes[0]] if yes else "none: saturated"

    @property
    def paper(self):
        """The paper's reading."""
        short = self.pipeline.nominal_bits < float(self.seen["bits about actions"])
        return "codebook-bound" if short else "encoder-bound"


def share(hits, of):
    return f"{hits} of {of} ({100 * hits / of:.0f} %)" if of else "0 of 0"


def look_up(case, others, unit):
    """The label of the pipeline with the nearest factors among others."""

    def factors(one):
        return np.log([getattr(one.pipeline, name) for name in FACTORS])

    spread = np.std([factors(other) for other in others], axis=0)
    far = [np.abs((factors(other) - factors(case)) / np.where(spread > 0, spread, 1)).sum() for other in others]
    return others[int(np.argmin(far))].label(unit)


def table(cases, unit):
    """How often each verdict was given for each truth."""
    counts = Counter((case.label(unit), case.verdict[unit].label) for case in cases)
    given = [*BOUND.values(), "several", "none: saturated", "undetermined"]
    lines = [f"| truth, in {unit} | " + " | ".join(given) + " |", "| --- |" + " --- |" * len(given)]
    for truth in [*given[:-1], UNRESOLVED]:
        lines.append(f"| {truth} | " + " | ".join(str(counts[truth, one]) for one in given) + " |")
    return "\n".join(lines)


def scores(cases, unit, others):
    """The asked scores and what they are to be compared with."""
    resolved = [case for case in cases if case.label(unit) != UNRESOLVED]
    committed = [case for case in resolved if case.verdict[unit].label != "undetermined"]
    right = [case for case in committed if case.verdict[unit].label == case.label(unit)]
    inside, error, no_change = [], [], []
    by_part = {part: ([], []) for part in PARTS}
    for case in cases:
        for part in PARTS:
            quantity, true = case.verdict[unit].gains[part], case.true[unit][part].value
            assert isinstance(quantity, Quantity)
            value = quantity.value or 0.0
            inside.append(quantity.low is not None and quantity.low <= true <= quantity.high)
            error.append(abs(value - true))
            no_change.append(abs(true))
            by_part[part][0].append(value - true)
            by_part[part][1].append(abs(true))
    lines = [
        f"| right where it commits | {share(len(right), len(committed))} | at least 90 % |",
        f"| commits where the truth is resolved | {share(len(committed), len(resolved))} | at least 60 % |",
        f"| true gains in 90 % intervals | {share(sum(inside), len(inside))} | 80 to 97 % |",
        f"| error of predicted gains over that of no change | {np.mean(error) / np.mean(no_change):.2f} "
        f"({np.mean(error):.3g} of {np.mean(no_change):.3g}) | at most 0.5 |",
    ]
    for name, rule in {
        "the paper's rule": lambda case: case.paper,
        **({"lookup": lambda case: look_up(case, others, unit)} if others else {}),
    }.items():
        hits = sum(rule(case) == case.label(unit) for case in resolved)
        lines.append(f"| right labels by {name}, all resolved | {share(hits, len(resolved))} | |")
    clear = [case for case in cases if case.better]
    if unit == "points":
        ours = sum(_larger(case, unit) == case.better for case in clear)
        paper = sum(case.paper == BOUND[case.better] for case in clear)
        lines.append(f"| better of encoder and codebook found | {share(ours, len(clear))} | |")
        lines.append(f"| the same by the paper's rule | {share(paper, len(clear))} | |")
    for part, (errors, truth) in by_part.items():
        lines.append(
            f"| {part}: mean error, mean absolute error, that of no change | {np.mean(errors):+.3g}, {np.mean(np.abs(errors)):.3g}, {np.mean(truth):.3g} | |"
        )
    return "\n".join(["| score | value | asked |", "| --- | --- | --- |", *lines])


def _larger(case, unit):
    values = {part: case.verdict[unit].gains[part].value or 0.0 for part in ("encoder", "codebook")}
    return max(values, key=lambda part: values[part])
