"""`cgap audit`: where the bottleneck of somebody's own data is, how sure that is, and what an upgrade will buy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from compression_gap import config
from compression_gap.commands.answer import Answer, finish, report_path, show_failures
from compression_gap.commands.audit_data import Source, dataset_of, naming
from compression_gap.commands.audit_plan import BUDGETS, AuditPlan, TokenizerPlan, audit_plan, own_arm
from compression_gap.commands.audit_verdict import verdicts_of
from compression_gap.data.trajectories import Chunking
from compression_gap.measures.code_lengths import CodeLengths, difference, information
from compression_gap.measures.quantity import (
    BITS,
    DEMONSTRATIONS,
    IGNORED,
    Quantity,
    mean_over_demonstrations,
    tightest,
)
from compression_gap.measures.rate_distortion import Spectrum, gaussian_distortion, gaussian_rate
from compression_gap.pipeline.job import Job, with_needs
from compression_gap.pipeline.jobs import SUMMARY, AuditHead
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.pipeline.run import Outcome
from compression_gap.report.audit import render
from compression_gap.report.audit_content import ArmRow, AuditContent, CodeRow, HeadRow, quantity
from compression_gap.report.audit_terminal import summary
from compression_gap.store import Store, write_text
from compression_gap.verdict.offline import not_learned

CURVE_BITS = np.geomspace(0.3, 5000, 300)


@dataclass(frozen=True)
class Asked:
    """What is audited, as it was typed."""

    source: Source
    tokenizers: Sequence[str]
    budget: str
    horizon: int
    stride: int

    @property
    def command(self) -> str:
        """As it would be typed again."""
        words = ["cgap", "audit", *self.source.words, "--budget", self.budget]
        words += ["--horizon", str(self.horizon), "--stride", str(self.stride)]
        return shlex.join([*words, *(word for name in self.tokenizers for word in ("--tokenizer", name))])


def audit(asked: Asked, root: Path, workers: int, device: str, *, quiet: bool) -> Answer:
    """Audits a dataset within a budget.

    A tokenizer that fails is told in its place; the rest is measured. Raises FileNotFoundError or ValueError, before
    anything is measured, naming file, field and cure for whatever is wrong with the data or what was typed.
    """
    store = Store(root)
    prepared = dataset_of(asked.source, store, workers, device, asked.stride, command="cgap audit", quiet=quiet)
    budget = BUDGETS[asked.budget]
    chunking = Chunking(asked.horizon, asked.stride, budget.most)
    with naming(asked.source.name):  # before a tokenizer is built for a horizon that no demonstration has
        audited = Audited.of(prepared, chunking, store)
    plan = audit_plan(prepared, audited, chunking, asked.tokenizers, budget)
    outcome = finish(plan.jobs, store, workers, device, quiet=quiet)
    if not store.has(plan.ledger):
        return _nothing(outcome)
    content = content_of(plan, asked, audited, store, outcome)
    page = report_path(store, "audit", asked.source.name, plan.jobs)
    write_text(page, render(content))
    failed = sum(row.failed is not None for row in content.codes) + len(content.failures)
    data = {**content.to_json(), "report": str(page), "failed": failed, "seconds": round(outcome.seconds, 1)}

    def tell(console: Console) -> None:
        for line in summary(content, str(page)):
            console.print(Text(line), soft_wrap=True)

    return Answer(data, tell, failed=bool(outcome.failed))


def _nothing(outcome: Outcome) -> Answer:
    data = {"failed": len(outcome.failed) + len(outcome.blocked), "errors": list(outcome.failed.values())}

    def tell(console: Console) -> None:
        show_failures(outcome, console)

    return Answer(data, tell, failed=True)


def content_of(plan: AuditPlan, asked: Asked, audited: Audited, store: Store, outcome: Outcome) -> AuditContent:
    """What finished jobs say, in one place."""
    told = _summary(store, plan.ledger)
    spectrum = Spectrum(np.array(told["variances"]), (), 0)
    held = quantity(told["held"])
    assert held is not None, "the ledger always has it"
    points = _denoised(plan, store)
    continuous = _heads(plan.continuous, store)
    codes = tuple(_code(one, continuous, store, outcome, spectrum, points) for one in plan.tokenizers)
    arms = tuple(_arm(arm, told["arms"][arm], plan, store) for arm in TOLD if arm in told["arms"])
    verdicts = verdicts_of(plan, codes, audited, store)
    of_codes = {job.digest for one in plan.tokenizers for job in with_needs(one.jobs)}  # these are told beside the code
    total = spectrum.total
    curve = gaussian_distortion(spectrum, CURVE_BITS).values / total
    return AuditContent(
        name=asked.source.name,
        source=told["source"],
        notes=tuple(told["notes"]),
        budget=plan.budget.name,
        left_out=plan.left_out,
        unknown=_unknown(told),
        steps=told["steps"],
        demonstrations=told["demonstrations"],
        tasks=told["tasks"],
        chunks=told["chunks"],
        chunks_there=told["chunks_there"],
        test_chunks=told["test_chunks"],
        test_demonstrations=told["test_demonstrations"],
        divisions=len(plan.chunkings),
        horizon=plan.chunkings[0].horizon,
        stride=told["stride"],
        sigma=told["sigma"],
        actions=tuple(name for name in told["names"] if name not in told["left_out"]),
        actions_left_out=tuple(told["left_out"]),
        held=held,
        gripper=quantity(_gripper(plan, store).get("held")),
        arms=arms,
        codes=codes,
        continuous=continuous,
        verdicts=verdicts,
        failures=tuple(f"{job.title}: {why}" for job, why in outcome.failed.items() if job.digest not in of_codes),
        curve=tuple(zip(CURVE_BITS.tolist(), curve.tolist(), strict=True)),
        denoised_curve=tuple((bits, error / total) for bits, error in points),
        command=asked.command,
    )


def _arm(arm: Arm, row: dict[str, Any], plan: AuditPlan, store: Store) -> ArmRow:
    linear, left = quantity(row["told"]), quantity(row["left"])
    assert linear is not None, "the ledger always has it"
    assert left is not None, "the ledger always has it"
    job = plan.bits.get(arm)
    found = _summary(store, job) if job is not None and store.has(job) else {}
    certain, beyond = plan.certified.get(arm), quantity(found.get("beyond"))
    if beyond is not None and found["interface"] == "none":
        beyond = Quantity(None, "estimate", BITS, DEMONSTRATIONS, note=IGNORED)
    return ArmRow(
        arm=arm,
        words=TOLD[arm],
        told=linear,
        left=left,
        beyond=quantity(row["beyond"]),
        denoised=quantity(found.get("told")),
        denoised_beyond=beyond,
        converged=found.get("converged"),
        certified=quantity(_summary(store, certain)) if certain is not None and store.has(certain) else None,
        gripper=quantity(_gripper(plan, store).get("arms", {}).get(arm)),
    )


def _gripper(plan: AuditPlan, store: Store) -> dict[str, Any]:
    """What was measured of gripper commands; nothing where that was not asked for or has failed."""
    return _summary(store, plan.gripper) if plan.gripper is not None and store.has(plan.gripper) else {}


def _denoised(plan: AuditPlan, store: Store) -> list[tuple[float, float]]:
    """Bits and squared errors that a denoiser reaches, from coarse to fine; none where none was trained."""
    job = next((one.denoisers for one in plan.bits.values() if store.has(one.denoisers)), None)
    if job is None:
        return []
    told = _summary(store, job)
    return list(zip(told["bits"], told["distortion"], strict=True))


def _code(
    plan: TokenizerPlan,
    continuous: Sequence[HeadRow],
    store: Store,
    outcome: Outcome,
    spectrum: Spectrum,
    points: list[tuple[float, float]],
) -> CodeRow:
    """What was measured of a tokenizer, or why it was not."""
    spec = config.to_json(plan.spec)
    errors = {job.digest: error for job, error in outcome.failed.items()}
    reasons = [errors[job.digest] for job in with_needs(plan.jobs) if job.digest in errors]
    if not store.has(plan.code):
        return CodeRow(plan.name, spec, failed=reasons[0] if reasons else "not measured")
    told = _summary(store, plan.code)
    code, squared, heads = quantity(told["rate"]), told.get("squared_error"), _heads(plan.heads, store)
    alone = _written_alone(plan.heads.get("nothing"), store)
    if alone is not None and code is not None:
        code = tightest([code, alone])
    needed = excess = None
    if squared and code is not None and code.value is not None:
        reached = [rate for rate, error in points if error <= squared]
        bits = min([float(gaussian_rate(spectrum, np.array([squared])).values[0]), *reached])
        needed = tightest([code, Quantity(bits, "upper bound", BITS, DEMONSTRATIONS)])  # this code does it with its own
        excess = Quantity(code.value - (needed.value or 0.0), "estimate", BITS, DEMONSTRATIONS)
    return CodeRow(
        name=plan.name,
        spec=spec,
        failed=told["failure"] if not told.get("error") else reasons[0] if reasons else None,
        nominal=quantity(told["nominal"]),
        code=code,
        certified=quantity(told["certified"]),
        error=quantity(told.get("error")),
        mm=quantity(told.get("mm")),
        degrees=quantity(told.get("degrees")),
        switched=quantity(told.get("switched")),
        needed=needed,
        excess=excess,
        prefixes=tuple(told.get("prefixes", ())),
        lost=told["unwritten"] + told["unreadable"],
        heads=if_learned([head for head in heads if head.arm != "nothing"], continuous),
    )


def _written_alone(job: AuditHead | None, store: Store) -> Quantity | None:
    """Bits of the code that was fitted on the first division, as a head writes it there that is told nothing."""
    if job is None or not store.has(job):
        return None
    found = job.load(store)
    if found.bits is None:
        return None
    first = np.ones(len(found.rows), dtype=bool) if found.division is None else found.division == 0
    return mean_over_demonstrations(found.bits[-1][:, first], found.demonstration[first], kind="upper bound")


def if_learned(heads: Sequence[HeadRow], continuous: Sequence[HeadRow]) -> tuple[HeadRow, ...]:
    """The heads, without what they tell about a code that they have not learned to predict, or tell more of it than one
    that has not: of that only their own lengths of the code are bounds."""
    why = {head.arm: _unlearned(head, continuous) for head in heads}
    own = why.get(own_arm(list(why)))
    rows = []
    for head in heads:
        if (unlearned := why[head.arm]) is not None and head.told is not None:
            head = replace(head, told=unlearned, saturation=replace(unlearned, unit="share"))
        if (either := unlearned or own) is not None and head.more is not None:
            head = replace(head, more=either)
        rows.append(head)
    return tuple(rows)


def _unlearned(head: HeadRow, continuous: Sequence[HeadRow]) -> Quantity | None:
    """No number, and why; None if the head has learned to predict its code, or that is not known."""
    free, read_back = next((one.error.value for one in continuous if one.arm == head.arm), None), head.read_back
    if free is None or read_back is None or read_back.value is None or head.error.value is None:
        return None
    why = not_learned(head.error.value, free, read_back.value)
    return None if why is None else Quantity(None, "estimate", BITS, DEMONSTRATIONS, note=f"not learned: {why}")


def _heads(jobs: dict[Arm, AuditHead], store: Store) -> tuple[HeadRow, ...]:
    """Policy heads that were finished. What an arm tells about a code is its length when nothing is told, less what the
    arm leaves open."""
    rows = []
    alone, own = _lengths(jobs.get("nothing"), store), own_arm(list(jobs))
    own_lengths = _lengths(jobs.get(own), store, whole=True)
    for arm, job in jobs.items():
        if not store.has(job):
            continue
        told = _summary(store, job)
        error, given = quantity(told["error"]), _lengths(job, store)
        assert error is not None, "every head has it"
        found = information(alone, given) if arm != "nothing" and alone is not None and given is not None else None
        lengths = _lengths(job, store, whole=True) if arm not in ("nothing", own) else None
        rows.append(
            HeadRow(
                arm=arm,
                words=TOLD[arm],
                error=error,
                left=quantity(told["left"]),
                told=found.bits if found else None,
                saturation=found.saturation if found else None,
                more=difference(lengths, own_lengths).bits if lengths is not None and own_lengths is not None else None,
                read_back=quantity(told["read_back"]),
                aims={kind: Quantity(**aim) for kind, aim in told["aims"].items()},
                curve=tuple((int(count), float(error)) for count, error in told["curve"]),
            )
        )
    return tuple(rows)


def _lengths(job: AuditHead | None, store: Store, *, whole: bool = False) -> CodeLengths | None:
    """Lengths of codes as a head has them along the learning curve, or at its end; None without a code or a curve."""
    if job is None or not store.has(job) or not (whole or 0.5 in job.training.fractions):
        return None
    found = job.load(store)
    if found.bits is None:
        return None
    part = slice(-1, None) if whole else slice(None)
    return CodeLengths(found.fractions[part], found.bits[part, ..., None], found.demonstration)


def _unknown(told: dict[str, Any]) -> tuple[str, ...]:
    """What nobody can know from these demonstrations."""
    lines = ["success: how much of the error a task forgives takes a simulator or a robot (cgap run, with rollouts)"]
    if told["features"] is None:
        lines.append("the encoder: there are no features (--features FILE, or --encoder where there are pictures)")
    if "state" not in told["arms"]:
        lines.append("what a perfect encoder would tell: the true state is not recorded")
    if not told["units"]:
        lines.append("errors in mm: the size of an action of 1 is not recorded")
    return tuple(lines)


def _summary(store: Store, job: Job) -> dict[str, Any]:
    return json.loads((store.folder(job) / SUMMARY).read_text())
