"""From retrained heads to verdicts: one for the policy through each code, and one for a policy without a code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compression_gap.commands.audit_plan import AuditPlan
from compression_gap.measures.quantity import Quantity
from compression_gap.pipeline.jobs import AuditHead
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.report.audit_content import NO_CODE, CodeRow, Upgrade, VerdictRow
from compression_gap.report.audit_words import briefly
from compression_gap.store import Store
from compression_gap.verdict.heads import Executed
from compression_gap.verdict.offline import SURE, THRESHOLD, OfflineEvidence, OfflineVerdict, offline_verdict
from compression_gap.verdict.prediction import Arms, Part, Reconstruction

BETTER: tuple[Arm, ...] = ("candidate", "state")
"""What an encoder is compared with, the first that there is."""
SAME = "the candidate's features are those of the policy's own encoder, so nothing is compared"
NOT_BETTER = "the candidate's features are not better than the policy's own"
OTHERS = "which says nothing about other encoders"


def verdicts_of(plan: AuditPlan, codes: Sequence[CodeRow], store: Store) -> tuple[VerdictRow, ...]:
    """The verdicts that can be given: of the codes first, those that were named in their order, else the best first.

    Gains are shares of the policy's error, also where a suite could be simulated: points that are read off replays with
    noise come out far too small where a policy looks again (`benchmarks/spot_checks.py`).
    """
    free = _own(plan.continuous, store)
    audited = Audited.of(plan.dataset, plan.chunking, store)
    same = audited.trajectories.candidate_is_own
    rows = []
    for one, row in zip(plan.tokenizers, codes, strict=True):
        if (own := _own(one.heads, store)) is not None:
            told = _row(row, own, one.heads, free, store, audited, same=same)
            rows.append((float(own[1].errors[-1].mean()), told))
    if not plan.named:
        rows.sort(key=lambda pair: pair[0])
    found = [row for _, row in rows]
    if free is not None:
        row = CodeRow(NO_CODE, {})
        found.append(_row(row, free, plan.continuous, None, store, audited, same=same))
    return tuple(found)


def _own(heads: dict[Arm, AuditHead], store: Store) -> tuple[Arm, Executed] | None:
    """The policy as it is: with its features, else with what it knows."""
    for arm in ("features", "known", "nothing"):
        if (job := heads.get(arm)) is not None and store.has(job):
            return arm, job.load(store)
    return None


def _row(
    row: CodeRow,
    own: tuple[Arm, Executed],
    heads: dict[Arm, AuditHead],
    free: tuple[Arm, Executed] | None,
    store: Store,
    audited: Audited,
    *,
    same: bool,
) -> VerdictRow:
    arm, executed = own
    others = BETTER[1:] if same else BETTER
    better: Arm | None = next((one for one in others if one in heads and store.has(heads[one])), None)
    arms = Arms(executed, encoder=heads[better].load(store) if better else None)
    read_back = heads[arm].reconstruction(store)
    # the candidate is a code without error, not the head without a code: that errs less as it need not choose one way
    codes = None if read_back is None else Reconstruction(read_back, np.zeros_like(read_back))
    variance = heads[arm].variance(store)
    nothing = audited.errors_of_nothing(executed.rows)
    evidence = OfflineEvidence(
        arms=arms,
        reconstruction=codes,
        variance=variance,
        entropy=row.code,
        nothing=nothing,
        without_code=free[1].errors[-1].mean(axis=0) if free and free[0] == arm else None,
    )
    found = offline_verdict(evidence)
    return VerdictRow(
        code=row.name,
        label=found.label,
        sentence="; ".join([_sentence(found), *_of_candidate(found, better, same=same)]),
        leaning=found.leaning or "",
        probability=found.probability,
        evidence=tuple(_evidence(row, arm)),
        measured=found.evidence,
        settle=found.settle,
        upgrades=tuple(_upgrades(found, better)),
    )


def _sentence(found: OfflineVerdict) -> str:
    if found.label != "undetermined":
        return found.reason
    return f"it cannot be told from this data: {found.reason}"


def _of_candidate(found: OfflineVerdict, better: Arm | None, *, same: bool) -> list[str]:
    """What a candidate that does not help does not mean."""
    chance = found.helps["encoder"]
    if same:
        return [f"{SAME}, {OTHERS}"]
    if better == "candidate" and chance is not None and chance <= 1 - SURE:
        return [f"{NOT_BETTER}, {OTHERS}"]
    return []


def _evidence(row: CodeRow, arm: Arm) -> list[str]:
    """What the verdict stands on, in words."""
    heads = {head.arm: head for head in row.heads}
    if arm not in heads:
        return []
    head = heads[arm]
    return [
        f"the code itself errs by {briefly(row.error, 2, 100)} % of the variance, a policy told {TOLD[arm]} that "
        f"predicts it by {briefly(head.error, 1, 100)} %"
    ]


def _upgrades(found: OfflineVerdict, better: Arm | None) -> list[Upgrade]:
    names: dict[Part, str] = {
        "encoder": f"a better encoder ({TOLD[better]})" if better else "a better encoder",
        "codebook": "a finer code",
        "data": "twice the demonstrations",
    }
    if found.helps["codebook"] == 0.0 and found.gains["codebook"].value is None:
        names.pop("codebook")  # without a code there is none to refine
    counts = 100 * THRESHOLD[found.unit]
    return [Upgrade(name, _percent(found.gains[part]), counts, found.helps[part]) for part, name in names.items()]


def _percent(gain: Quantity) -> Quantity:
    """A share of the error as per cent of it."""
    if gain.unit != "share of the distortion" or gain.value is None:
        return gain
    ends = {name: None if (end := getattr(gain, name)) is None else 100 * end for name in ("value", "low", "high")}
    return replace(gain, unit="% of the policy's error", **ends)
