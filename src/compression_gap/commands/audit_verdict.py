"""From retrained heads to verdicts: one for the policy through each code, and one for a policy without a code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compression_gap.commands.audit_plan import AuditPlan
from compression_gap.measures.quantity import Quantity
from compression_gap.pipeline.jobs import AuditHead
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.report.audit_content import NO_CODE, CodeRow, Upgrade, VerdictRow
from compression_gap.report.audit_words import briefly
from compression_gap.store import Store
from compression_gap.verdict.heads import Executed
from compression_gap.verdict.label import SURE
from compression_gap.verdict.offline import THRESHOLD, OfflineEvidence, OfflineVerdict, offline_verdict
from compression_gap.verdict.prediction import Arms, Part, Reconstruction

BETTER: tuple[Arm, ...] = ("candidate", "state")
"""What an encoder is compared with: the first that may help, of those that there are."""
FINER = 0.25
"""Squared error of the code that is judged for the own one's place, as a share of the own one's: where rounding is
fine, one more bit an action value leaves that much."""
SAME = "the candidate's features are those of the policy's own encoder, so nothing is compared"
NOT_BETTER = "the candidate's features are not better than the policy's own"
OTHERS = "which says nothing about other encoders"
BY_STATE = "so a better one is judged by the true state"


def verdicts_of(plan: AuditPlan, codes: Sequence[CodeRow], audited: Audited, store: Store) -> tuple[VerdictRow, ...]:
    """The verdicts that can be given: of the codes first, those that were named in their order, else the best first.

    Gains are shares of the policy's error, also where a suite could be simulated: points that are read off replays with
    noise come out far too small where a policy looks again (`benchmarks/spot_checks.py`).
    """
    free = _own(plan.continuous, store)
    same = audited.trajectories.candidate_is_own
    rows = []
    for one, row in zip(plan.tokenizers, codes, strict=True):
        if (own := _own(one.heads, store)) is not None:
            told = _row(row, own, one.heads, free, store, same=same)
            rows.append((float(own[1].errors[-1].mean()), told))
    if not plan.named:
        rows.sort(key=lambda pair: pair[0])
    found = [row for _, row in rows]
    if free is not None:
        row = CodeRow(NO_CODE, {})
        found.append(_row(row, free, plan.continuous, None, store, same=same))
    return tuple(found)


def _own(heads: dict[Arm, AuditHead], store: Store) -> tuple[Arm, Executed] | None:
    """The policy as it is: with its features, else with what it knows. None if that head failed: what another one does
    says nothing about this policy."""
    order: tuple[Arm, ...] = ("features", "known", "nothing")
    arm: Arm | None = next((arm for arm in order if arm in heads), None)
    return (arm, heads[arm].load(store)) if arm is not None and store.has(heads[arm]) else None


def _row(
    row: CodeRow,
    own: tuple[Arm, Executed],
    heads: dict[Arm, AuditHead],
    free: tuple[Arm, Executed] | None,
    store: Store,
    *,
    same: bool,
) -> VerdictRow:
    arm, executed = own
    read_back = heads[arm].reconstruction(store)
    # not the head without a code: that errs less because it need not choose one way
    codes = None if read_back is None else Reconstruction(read_back, FINER * read_back)
    evidence = OfflineEvidence(
        arms=Arms(executed),
        reconstruction=codes,
        variance=heads[arm].variance(store),
        entropy=row.code,
        nothing=heads[arm].nothing(store),
        without_code=free[1].errors[-1].mean(axis=0) if free and free[0] == arm else None,
    )
    tried: dict[Arm, OfflineVerdict] = {}
    for one in BETTER[1:] if same else BETTER:
        if one in heads and store.has(heads[one]):
            better = Arms(executed, encoder=heads[one].load(store))
            tried[one] = offline_verdict(replace(evidence, arms=better))
    found = next((one for one in tried.values() if not _surely_no_help(one)), None)
    found = found or (list(tried.values())[-1] if tried else offline_verdict(evidence))
    return VerdictRow(
        code=row.name,
        label=found.label,
        sentence="; ".join([_sentence(found), *_of_candidate(tried, same=same)]),
        leaning=found.leaning or "",
        probability=found.probability,
        evidence=tuple(_evidence(row, arm)),
        measured=found.evidence,
        settle=found.settle,
        upgrades=tuple(_upgrades(found, tried, through_code=row.name != NO_CODE)),
    )


def _sentence(found: OfflineVerdict) -> str:
    if found.label != "undetermined" or any(share is not None and share >= SURE for share in found.helps.values()):
        return found.reason
    return f"it cannot be told from this data: {found.reason}"


def _surely_no_help(found: OfflineVerdict) -> bool:
    """Whether the encoder that was tried does not help; not where that is not known."""
    chance = found.helps["encoder"]
    return chance is not None and chance <= 1 - SURE


def _of_candidate(tried: dict[Arm, OfflineVerdict], *, same: bool) -> list[str]:
    """What a candidate that does not help does not mean."""
    if same:
        return [f"{SAME}, {OTHERS}"]
    if "candidate" in tried and _surely_no_help(tried["candidate"]):
        return [f"{NOT_BETTER}, {BY_STATE if 'state' in tried else OTHERS}"]
    return []


def _evidence(row: CodeRow, arm: Arm) -> list[str]:
    """What the verdict stands on, in words."""
    heads = {head.arm: head for head in row.heads}
    if arm not in heads:
        return []
    head = heads[arm]
    return [
        f"the code itself errs by {briefly(head.read_back, 2, 100)} % of the variance, a policy told {TOLD[arm]} that "
        f"predicts it by {briefly(head.error, 1, 100)} %"
    ]


def _upgrades(found: OfflineVerdict, tried: dict[Arm, OfflineVerdict], *, through_code: bool) -> list[Upgrade]:
    """Every encoder that was tried, a finer code of what has one, and more demonstrations."""

    def upgrade(name: str, verdict: OfflineVerdict, part: Part) -> Upgrade:
        counts = 100 * THRESHOLD[verdict.unit]
        return Upgrade(name, _percent(verdict.gains[part]), counts, verdict.helps[part])

    better = [upgrade(f"a better encoder ({TOLD[arm]})", verdict, "encoder") for arm, verdict in tried.items()]
    finer = [upgrade("a code of a quarter of the error", found, "codebook")] if through_code else []
    more = upgrade("twice the demonstrations", found, "data")
    return [*(better or [upgrade("a better encoder", found, "encoder")]), *finer, more]


def _percent(gain: Quantity) -> Quantity:
    """A share of the error as per cent of it."""
    ends = {name: None if (end := getattr(gain, name)) is None else 100 * end for name in ("value", "low", "high")}
    return replace(gain, unit="% of the policy's error", **ends)
