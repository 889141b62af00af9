"""Scores of verdicts and predictions against what upgrades really brought, as Markdown. Nothing is dropped."""

from collections import Counter

import numpy as np

from compression_gap.statistics import Rung, bottleneck, ladder
from compression_gap.testing.upgrades import Judged, gain, gains
from compression_gap.verdict.heads import Executed
from compression_gap.verdict.joint import joint_verdict
from compression_gap.verdict.label import BOUND
from compression_gap.verdict.offline import THRESHOLD, OfflineEvidence, offline_verdict
from compression_gap.verdict.prediction import PARTS, Arms, Reconstruction
from compression_gap.verdict.success_curve import SuccessCurve

UNITS = ("points", "share of the distortion")
UNRESOLVED = "unresolved"
ONE_CODE = ("own", "encoder")
"""What an audit retrains heads for: it predicts what a code buys from reconstruction errors alone."""
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
        self.as_audited = {unit: offline_verdict(self.evidence(unit, seeds=1, heads=ONE_CODE)) for unit in UNITS}
        expert, replay = (Rung(file[name], trained=False) for name in ("expert", "replay"))
        self.ladder = ladder(expert=expert, replay=replay, state=Rung(file["state"]), policy=Rung(file["policy"]))
        self.online = bottleneck(self.ladder)
        self.joint = joint_verdict(self.verdict["points"], self.ladder)

    def executed(self, name, seeds):
        errors, rows = self.seen[f"{name} errors"][:, :seeds], np.arange(len(self.seen["demonstration"]))
        bits = self.seen[f"{name} bits"][:, :seeds] if f"{name} bits" in self.seen else None
        fractions = (0.25, 0.5, 1.0)[-len(errors) :]
        division = self.seen.get("division")
        return Executed(fractions, errors, bits, rows, self.seen["demonstration"], "whole", division=division)

    def evidence(self, unit, seeds=None, heads=("own", "encoder", "codebook")):
        curve = None
        if unit == "points":
            curve = SuccessCurve.fit(self.seen["replayed distortion"], self.seen["replayed success"])
        arms = Arms(*(self.executed(name, seeds) for name in heads))
        reconstruction = Reconstruction(
            *(self.seen[f"{name} reconstruction"].astype(float) for name in ("own", "larger"))
        )
        return OfflineEvidence(arms, reconstruction, 1.0, None, curve, None)

    def label(self, unit):
        """What is true, or unresolved."""
        return label_of(self.true[unit], unit)

    @property
    def online_label(self):
        """What is true by the ladder's own words, in which one part is named where its loss is the largest."""
        if self.label("points") != "several":
            return self.label("points")
        best = max(PARTS, key=lambda part: self.true["points"][part].value)
        others = [self.true["points"][part].high for part in PARTS if part != best]
        return BOUND[best] if self.true["points"][best].low > max(others) else "several"

    @property
    def paper(self):
        """The paper's reading."""
        short = self.pipeline.nominal_bits < float(self.seen["bits about actions"])
        return "codebook-bound" if short else "encoder-bound"


def label_of(true, unit):
    """The label that true gains give, or unresolved."""
    helps = {part: gain.clears(THRESHOLD[unit]) for part, gain in true.items()}
    yes = [part for part, share in helps.items() if share]
    if len(yes) > 1:
        return "several"
    if None in helps.values():
        return UNRESOLVED
    return BOUND[yes[0]] if yes else "none: saturated"


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
    """The asked scores, and what they are to be compared with; `others` is the set whose labels can be looked up."""
    resolved = [case for case in cases if case.label(unit) != UNRESOLVED]
    committed = [case for case in resolved if case.verdict[unit].label != "undetermined"]
    right = [case for case in committed if case.verdict[unit].label == case.label(unit)]
    sure = np.mean([case.verdict[unit].probability for case in committed])
    true = np.array([[case.true[unit][part].value for part in PARTS] for case in cases])
    predicted, inside = compared([case.verdict[unit] for case in cases], true)
    missed, no_change = np.abs(predicted - true), np.abs(true)
    rows = [
        ("right where it commits", share(len(right), len(committed)), "at least 90 %"),
        ("its own mean probability there", f"{100 * sure:.0f} %", ""),
        ("commits where the truth is resolved", share(len(committed), len(resolved)), "at least 60 %"),
        ("true gains in 90 % intervals", share(sum(inside), len(inside)), "80 to 97 %"),
        ("error of predicted gains over that of no change", ratio(missed, no_change), "at most 0.5"),
    ]
    alone = [case for case in resolved if case.as_audited[unit].label != "undetermined"]
    hits = sum(case.as_audited[unit].label == case.label(unit) for case in alone)
    rows.append(("as audits of 2 and 10 minutes: right", share(hits, len(alone)), "at least 90 %"))
    rows.append(("the same: commits", share(len(alone), len(resolved)), "at least 60 %"))
    alone, inside = compared([case.as_audited[unit] for case in cases], true)
    rows.append(("the same: true gains in 90 % intervals", share(sum(inside), len(inside)), "80 to 97 %"))
    rows.append(("the same: error of predicted gains", ratio(np.abs(alone - true), no_change), "at most 0.5"))
    rows.append(("the same, codebook", ratio(np.abs(alone - true)[:, 1], no_change[:, 1]), "at most 0.5"))
    outside = Counter(part for part, held in zip(PARTS * (len(inside) // len(PARTS)), inside, strict=True) if not held)
    rows.append(("of these outside: encoder, codebook, data", ", ".join(str(outside[part]) for part in PARTS), ""))
    means = [np.mean([case.true[unit][part].value for case in cases]) for part in PARTS]
    rows.append(("true gains, mean: encoder, codebook, data", ", ".join(f"{mean:.2g}" for mean in means), ""))
    for column, part in enumerate(PARTS):
        rows.append((f"error of the predicted gain, {part}", ratio(missed[:, column], no_change[:, column]), ""))
    paper = sum(case.paper == case.label(unit) for case in resolved)
    rows.append(("right by the paper's rule, all resolved", share(paper, len(resolved)), "less than ours"))
    if others:
        found = sum(look_up(case, others, unit) == case.label(unit) for case in resolved)
        rows.append(("right by looking up the nearest pipeline, all resolved", share(found, len(resolved)), ""))
        found = sum(look_up(case, others, unit) == case.label(unit) for case in committed)
        rows.append(("the same, where the verdict commits", share(found, len(committed)), "less than ours"))
    clear = [case for case in cases if case.better]
    if unit == "points":
        ours = sum(larger(case, unit) == case.better for case in clear)
        paper = sum(case.paper == BOUND[case.better] for case in clear)
        rows.append(("better of encoder and codebook", share(ours, len(clear)), ""))
        rows.append(("the same by the paper's rule", share(paper, len(clear)), "less than ours"))
    lines = [f"| score, in {unit} | value | asked |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def compared(verdicts, true):
    """Predicted gains, no change where nothing is predicted; and of all others, whether the truth is in it."""
    gains = [[verdict.gains[part] for part in PARTS] for verdict in verdicts]
    pairs = [
        (gain, value) for row, values in zip(gains, true, strict=True) for gain, value in zip(row, values, strict=True)
    ]
    inside = [gain.low <= value <= gain.high for gain, value in pairs if gain.value is not None]
    return np.array([[gain.value or 0.0 for gain in row] for row in gains]), inside


def online(cases):
    """Verdicts from rollouts against the same truths: the ladder alone, and joined with the predicted gains."""
    given = [*BOUND.values(), "several", "none: saturated", "undetermined"]
    lines = ["| truth, in points; joint verdict | " + " | ".join(given) + " |", "| --- |" + " --- |" * len(given)]
    counts = Counter((case.label("points"), case.joint.label) for case in cases)
    for truth in [*given[:-1], UNRESOLVED]:
        lines.append(f"| {truth} | " + " | ".join(str(counts[truth, one]) for one in given) + " |")
    lines += ["", "| score from rollouts | ladder alone | joint | asked |", "| --- | --- | --- | --- |"]
    alone = [(case.online.label.value, case.online_label) for case in cases]
    joint = [(case.joint.label, case.label("points")) for case in cases]
    right, commits = [], []
    for pairs in (alone, joint):
        resolved = [(label, truth) for label, truth in pairs if truth != UNRESOLVED]
        committed = [(label, truth) for label, truth in resolved if label != "undetermined"]
        right.append(share(sum(label == truth for label, truth in committed), len(committed)))
        commits.append(share(len(committed), len(resolved)))
    lines.append(f"| right where it commits | {' | '.join(right)} | at least 90 % |")
    lines.append(f"| commits where the truth is resolved | {' | '.join(commits)} | at least 60 % |")
    return "\n".join(lines)


def ratio(missed, no_change):
    """Mean absolute errors and their ratio."""
    return f"{missed.mean() / no_change.mean():.2f} ({missed.mean():.2g} of {no_change.mean():.2g})"


def larger(case, unit):
    """The upgrade of these two that is predicted to gain more; None where nothing is predicted."""
    gains = {part: case.verdict[unit].gains[part].value for part in ("encoder", "codebook")}
    return None if None in gains.values() else max(gains, key=gains.__getitem__)
