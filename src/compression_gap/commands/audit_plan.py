"""What an audit does within its budget: from a dataset to its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compression_gap import plugins
from compression_gap.commands import typed
from compression_gap.data.split import divisions
from compression_gap.data.trajectories import Chunking
from compression_gap.measures.contrastive import Contrast
from compression_gap.measures.encoder_probe import Probing
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.job import Job
from compression_gap.pipeline.jobs import (
    ActionLedger,
    ArmBits,
    AuditDenoisers,
    AuditHead,
    AuditTokenizer,
    CertifiedBits,
    CodeAudit,
    GripperBits,
)
from compression_gap.pipeline.jobs.audited import Arm, Audited
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.training import Training
from compression_gap.verdict.head_learning import HeadTraining


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
    gripper: TokenProbing | None
    """Of gripper commands, where the dataset names grippers; None: none are probed."""
    contrast: Contrast | None
    """Of critics that certify bits; None: none are trained."""
    heads: HeadTraining
    """Of policy heads over codes that are told id by id (bins, FAST)."""
    digit_heads: HeadTraining
    """Of policy heads over codes that are told digit by digit (OAT, QueST): a step of theirs costs a fraction, and with
    as few of them they have not learned their code."""
    regression: HeadTraining
    """Of policy heads without a code: their steps cost a fraction, and with too few of them encoders look alike."""
    head_arms: tuple[Arm, ...]
    """What heads without a code are told, where it is there."""
    controls: tuple[Arm, ...]
    left_out: tuple[str, ...]
    """What a larger budget would add."""


LEARNED = "tokenizers that have to be learned (OAT)"
FEWEST_STEPS = 300
"""Of what is trained anew for every division of few demonstrations, which share a budget's steps."""
CODE_ARMS: tuple[Arm, ...] = ("nothing", "features", "candidate", "state")
"""What heads over codes are told, where it is there."""
QUICK = Budget(
    name="2m",
    most=25_000,
    tokenizers=("binning", "fast"),
    training_steps=300,
    probing=None,
    gripper=None,
    contrast=None,
    heads=HeadTraining(steps=200, seeds=(0,), fractions=(0.5, 1.0), judged=600),
    digit_heads=HeadTraining(steps=400, seeds=(0,), fractions=(0.5, 1.0), judged=600),
    regression=HeadTraining(steps=400, batch=256, seeds=(0,), fractions=(0.5, 1.0), judged=2000),
    head_arms=("features", "candidate", "state"),
    controls=(),
    left_out=(
        "bits by denoising, which also find what is not linear; certain bits; bits of gripper commands",
        "heads over bins and FAST that are whole policies; the learning curve at a quarter of the demonstrations",
        LEARNED,
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
    gripper=TokenProbing(steps=200, width=32, seeds=(0,), fractions=(0.5, 1.0)),
    contrast=Contrast(),
    heads=HeadTraining(steps=400, seeds=(0,), judged=2000),
    digit_heads=HeadTraining(steps=1600, seeds=(0,), judged=2000),
    regression=HeadTraining(steps=1200, batch=256, seeds=(0,), judged=2000),
    head_arms=("features", "candidate", "known", "state", "shuffled"),
    controls=("shuffled",),
    left_out=(
        "heads over bins and FAST that are whole policies; longer training of tokenizers and probes",
        "three probe seeds",
        "the arm of random numbers",
    ),
)
LONG = Budget(
    name="1h",
    most=100_000,
    tokenizers=("binning", "fast", "oat"),
    training_steps=8000,
    probing=Probing(),
    gripper=TokenProbing(),
    contrast=Contrast(steps=1200, most=8192),
    heads=HeadTraining(steps=1600, learning_rate=2e-3, layers=2, fractions=(0.5, 1.0), judged=2000),
    digit_heads=HeadTraining(steps=3200),
    regression=HeadTraining(steps=3200, batch=256),
    head_arms=("features", "candidate", "known", "state", "shuffled", "random"),
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
    chunkings: tuple[Chunking, ...]
    """One for each division of the demonstrations; all but policy heads and their codes are of the first."""
    ledger: ActionLedger
    tokenizers: tuple[TokenizerPlan, ...]
    named: bool
    """Whether the tokenizers were named by the user."""
    bits: dict[Arm, ArmBits]
    """By denoising; empty where the budget has none."""
    gripper: GripperBits | None
    """None where the budget or the dataset has none."""
    certified: dict[Arm, CertifiedBits]
    """Of what the policy has and might have; empty where the budget has none."""
    continuous: dict[Arm, AuditHead]
    """Heads without a code."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """What a larger budget would add; who names tokenizers leaves them out himself."""
        return tuple(line for line in self.budget.left_out if not (self.named and line == LEARNED))

    @property
    def jobs(self) -> list[Job]:
        codes = [job for plan in self.tokenizers for job in plan.jobs]
        gripper = [self.gripper] if self.gripper else []
        bits = [*self.bits.values(), *gripper, *self.certified.values()]
        return [self.ledger, *self.continuous.values(), *codes, *bits]


def audit_plan(
    dataset: Dataset, audited: Audited, chunking: Chunking, names: Sequence[str], budget: Budget
) -> AuditPlan:
    """The jobs for a dataset whose chunks are there.

    Raises ValueError, before anything runs, for a tokenizer that is not there or does not fit.
    """
    given, arms = audited.trajectories, audited.arms
    shape = ChunkShape(chunking.horizon, len(given.names))
    controls, own = budget.controls if "features" in arms else (), own_arm(arms)
    demonstrations = int(audited.windows.rank.max()) + 1
    chunkings = tuple(chunking.replace(turn=turn) for turn in range(divisions(demonstrations)))
    ledger = ActionLedger(dataset, chunking, controls)

    def over_codes(spec: TokenizerSpec) -> HeadTraining:
        return budget.heads if spec.build(shape).digits is None else budget.digit_heads

    def heads(tokenizers: tuple[AuditTokenizer, ...]) -> dict[Arm, AuditHead]:
        there: tuple[Arm, ...] = ("nothing", *arms) if tokenizers else (*arms, *controls)
        asked = CODE_ARMS if tokenizers else budget.head_arms
        training = over_codes(tokenizers[0].tokenizer) if tokenizers else budget.regression
        training, found = training.replace(steps=shared(training.steps, len(chunkings))), {}
        for arm in there:
            if arm in (*asked, own):
                found[arm] = AuditHead(dataset, chunkings, arm, tokenizers, _along(training, arm, own))
        return found

    plans = []
    for name in names or [kind for kind in budget.tokenizers if kind in plugins.kinds("tokenizers")]:
        spec = typed.tokenizer(name, shape)
        if (same := next((one.name for one in plans if one.spec == spec), None)) is not None:
            raise ValueError(f"--tokenizer {name}: it is the same as {same}, so nothing is compared; leave one away")
        training = Training(
            shared(budget.training_steps, len(chunkings)), batch=64, learning_rate=2e-3, schedule="cosine"
        )
        jobs = tuple(AuditTokenizer(dataset, one, spec, training if spec.learned else None) for one in chunkings)
        plans.append(TokenizerPlan(name, spec, CodeAudit(jobs[0], ledger.sigma), heads(jobs)))
    bits: dict[Arm, ArmBits] = {}
    if budget.probing is not None and arms:
        denoisers = AuditDenoisers(dataset, chunking, budget.probing)
        known = ArmBits(denoisers, "known") if "known" in arms else None
        for arm in (*arms, *controls):
            bits[arm] = known if arm == "known" and known else ArmBits(denoisers, arm, known)
    gripper = None
    if budget.gripper is not None and given.gripper and arms:
        gripper = GripperBits(dataset, chunking, (*arms, *controls), budget.gripper)
    certified: dict[Arm, CertifiedBits] = {}
    if budget.contrast is not None:
        certified = {arm: CertifiedBits(dataset, chunking, arm, ledger.sigma, budget.contrast) for arm in arms}
    return AuditPlan(
        budget=budget,
        dataset=dataset,
        chunkings=chunkings,
        ledger=ledger,
        tokenizers=tuple(plans),
        named=bool(names),
        bits=bits,
        gripper=gripper,
        certified=certified,
        continuous=heads(()),
    )


def own_arm(arms: Sequence[str]) -> Arm:
    """What the policy is told as it is: its features, else what it knows without."""
    order: tuple[Arm, ...] = ("features", "known")
    for arm in order:
        if arm in arms:
            return arm
    return "nothing"


def shared(steps: int, divisions: int) -> int:
    """A budget's steps for each of so many divisions: together about as many as for one, or a few times that."""
    return min(steps, max(FEWEST_STEPS, steps // divisions))


def _along(training: HeadTraining, arm: Arm, own: Arm) -> HeadTraining:
    """Along the learning curve for the policy as it is; candidates learn once, from all demonstrations."""
    return training if arm in (own, "nothing") else training.replace(fractions=(1.0,))
