"""What an audit does within its budget: from a dataset to its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compression_gap import plugins
from compression_gap.commands import typed
from compression_gap.data.trajectories import Chunking, Trajectories
from compression_gap.measures.encoder_probe import Probing
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import (
    ActionLedger,
    ArmBits,
    AuditDenoisers,
    AuditHead,
    AuditTokenizer,
    CodeAudit,
)
from compression_gap.pipeline.jobs.audited import Arm, arms_of
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.training import Training
from compression_gap.verdict.heads import HeadTraining


@dataclass(frozen=True)
class Budget:
    """How much is done."""

    name: str
    most: int
    """Chunks."""
    tokenizers: tuple[str, ...]
    """Those that are measured if none is named."""
    training_steps: int
    """Of a tokenizer that is learned."""
    probing: Probing | None
    """Of denoisers; None: none are trained."""
    heads: HeadTraining
    """Of policy heads."""
    head_arms: tuple[Arm, ...]
    """What heads are told; the last that there is counts as the best."""
    controls: tuple[Arm, ...]
    left_out: tuple[str, ...]
    """What a larger budget would add."""


QUICK = Budget(
    name="2m",
    most=25_000,
    tokenizers=("binning", "fast"),
    training_steps=300,
    probing=None,
    heads=HeadTraining(steps=300, seeds=(0,), fractions=(0.5, 1.0)),
    head_arms=("features", "known"),
    controls=(),
    left_out=(
        "bits by denoising, which also find what is not linear",
        "learning curves over the number of demonstrations",
        "tokenizers that have to be learned (OAT)",
        "control arms: shuffled features, random numbers",
        "more than one probe seed",
    ),
)
MIDDLE = Budget(
    name="10m",
    most=25_000,
    tokenizers=("binning", "fast", "oat"),
    training_steps=2500,
    probing=Probing(steps=600, hastes=(0.0, 0.3), seeds=(0,)),
    heads=HeadTraining(seeds=(0,)),
    head_arms=("features", "known", "state", "shuffled"),
    controls=("shuffled",),
    left_out=("longer training of tokenizers and probes", "three probe seeds", "the arm of random numbers"),
)
LONG = Budget(
    name="1h",
    most=100_000,
    tokenizers=("binning", "fast", "oat"),
    training_steps=8000,
    probing=Probing(),
    heads=HeadTraining(steps=1600),
    head_arms=("features", "known", "state", "shuffled", "random"),
    controls=("shuffled", "random"),
    left_out=(),
)
BUDGETS = {budget.name: budget for budget in (QUICK, MIDDLE, LONG)}


@dataclass(frozen=True)
class TokenizerPlan:
    """What is done for one tokenizer."""

    name: str
    spec: TokenizerSpec
    code: CodeAudit
    heads: dict[Arm, AuditHead]

    @property
    def jobs(self) -> list[Job]:
        return [self.code, *self.heads.values()]


@dataclass(frozen=True)
class AuditPlan:
    """All jobs of an audit."""

    budget: Budget
    dataset: Dataset
    chunking: Chunking
    ledger: ActionLedger
    tokenizers: tuple[TokenizerPlan, ...]
    bits: dict[Arm, ArmBits]
    """By denoising; empty where the budget has none."""
    continuous: dict[Arm, AuditHead]
    """Heads without a code."""

    @property
    def jobs(self) -> list[Job]:
        codes = [job for plan in self.tokenizers for job in plan.jobs]
        return [self.ledger, *self.continuous.values(), *codes, *self.bits.values()]


def audit_plan(
    dataset: Dataset,
    given: Trajectories,
    names: Sequence[str],
    budget: Budget,
    horizon: int,
    stride: int,
) -> AuditPlan:
    """The jobs for a dataset.

    Raises ValueError, before anything runs, for a tokenizer that is not there or does not fit.
    """
    chunking = Chunking(horizon, stride, budget.most)
    shape, arms = ChunkShape(horizon, len(given.names)), arms_of(given)
    controls = budget.controls if "features" in arms else ()
    ledger = ActionLedger(dataset, chunking, controls)

    def heads(tokenizer: AuditTokenizer | None) -> dict[Arm, AuditHead]:
        told = [arm for arm in budget.head_arms if arm in (*arms, *controls)]
        if tokenizer is not None:
            told.insert(0, "nothing")
        return {arm: AuditHead(dataset, chunking, arm, tokenizer, budget.heads) for arm in told}

    plans = []
    for name in names or [kind for kind in budget.tokenizers if kind in plugins.kinds("tokenizers")]:
        spec = typed.part("tokenizers", name)
        assert isinstance(spec, TokenizerSpec), "the family says so"
        spec.build(shape)
        training = Training(budget.training_steps, batch=64, learning_rate=2e-3, schedule="cosine")
        job = AuditTokenizer(dataset, chunking, spec, training if spec.learned else None)
        plans.append(TokenizerPlan(name, spec, CodeAudit(job, ledger.sigma), heads(job)))
    bits: dict[Arm, ArmBits] = {}
    if budget.probing is not None and arms:
        denoisers = AuditDenoisers(dataset, chunking, budget.probing)
        known = ArmBits(denoisers, "known") if "known" in arms else None
        for arm in (*arms, *controls):
            bits[arm] = known if arm == "known" and known else ArmBits(denoisers, arm, known)
    return AuditPlan(budget, dataset, chunking, ledger, tuple(plans), bits, heads(None))
