"""What upgrades really buy on tabletop, where a policy looks again, and what is predicted before them:

    OMP_NUM_THREADS=1 python benchmarks/spot_checks.py [store]

Eight pipelines: Diffusion on 200 and on 400 demonstrations a task, seeing through the weak or the strong encoder of
`studies/quickstart.py` or the true state, and OAT with 81 and with 1,000 codes on 400 through the weak encoder. Every
upgrade is made, the next better encoder, twice the demonstrations and the next larger codebook, and policies of several
seeds (five of Diffusion, three of OAT, which trains longer) are rolled out before and after it. About two and a half
hours of one core; a killed run goes on where it was.

**Predicted** is what `cgap audit --budget 10m` predicts without a rollout, from heads that are retrained offline on the
pipeline's demonstrations: the share of the policy's error that goes away. Beside it are the points that replays of the
expert with white noise would make of the same errors. Nothing was tuned on these pipelines: rules, thresholds (a tenth
of the error, 5 points) and the tolerance of 15 mm are those of `verdict/` and of quickstart. Only the steps of heads
over OAT's codes were chosen here, by how well heads learn these codes, and not by what upgrades brought.

**Joint** is what both say together, where there is a ladder (`verdict/joint.py`).

**Truth** is as in `calibration.py`: an upgrade helps if the 95 % interval of its gain for other training seeds lies
above 5 points, does not if it lies below, and is unresolved otherwise.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from calibration_scores import label_of

from compression_gap.commands.answer import finish
from compression_gap.commands.audit_plan import BUDGETS
from compression_gap.commands.tolerance_rows import SHARES
from compression_gap.data.trajectories import Chunking
from compression_gap.pipeline.cell import Cell, Data, Method
from compression_gap.pipeline.jobs import (
    EPISODES,
    AuditHead,
    AuditTokenizer,
    ChunkNoise,
    Features,
    NoisyReplay,
    Replay,
    SuiteDataset,
)
from compression_gap.pipeline.plan import judged, trained_agent, trained_encoder
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import Rollouts
from compression_gap.statistics import Rung, bottleneck, ladder
from compression_gap.store import Store, default_root
from compression_gap.studies.quickstart import STATE, STRONG, WEAK
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.testing.upgrades import Gain, gain
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training
from compression_gap.verdict.joint import joint_verdict
from compression_gap.verdict.offline import OfflineEvidence, offline_verdict
from compression_gap.verdict.prediction import PARTS, Arms, Reconstruction, predict_gains
from compression_gap.verdict.success_curve import SuccessCurve

HORIZON, STRIDE = 8, 4
LARGEST = 800  # demonstrations a task
TOLERANCE = 15.0  # mm
ROLLOUTS = Rollouts("test", episodes=100, execute=4)
EXPERT = Replay(Tabletop(), None, HORIZON, ROLLOUTS)
REPLAYS = Rollouts("development", episodes=50, execute=4)
BUDGET = BUDGETS["10m"]
DIFFUSION = Method("Diffusion", Diffusion.sized("S"), Training(2000, batch=128, learning_rate=1e-3))


def oat(levels):
    """A codebook of 8 tokens as in `studies/tabletop.py`, trained for a sixth of the steps."""
    return Method(
        f"OAT 8x{np.prod(levels)}",
        Autoregressive.sized("S"),
        Training(2000, batch=128, learning_rate=2e-3),
        tokenizer=Oat.small().replace(levels=levels),
        tokenizer_training=Training(2000, batch=64, learning_rate=4e-3, schedule="cosine"),
    )


CODES = tuple(oat(levels) for levels in ((3, 3, 3, 3), (8, 5, 5, 5), (8, 8, 8, 8)))
SIGHTS = (WEAK, STRONG, STATE)
TOLD = dict(zip(SIGHTS, ("features", "candidate", "state"), strict=True))


@dataclass(frozen=True)
class Pipeline:
    """One policy, and its upgrades."""

    method: Method
    sight: object
    size: int
    """Demonstrations a task."""

    @property
    def name(self):
        return f"{self.method.name}, {self.sight.name}, {self.size}"

    @property
    def upgrades(self):
        """By what they are upgrades of; there is nothing better than the true state, or larger than no code."""
        found = {"data": Pipeline(self.method, self.sight, 2 * self.size)}
        if self.sight is not STATE:
            found["encoder"] = Pipeline(self.method, SIGHTS[SIGHTS.index(self.sight) + 1], self.size)
        if self.method.tokenizer is not None:
            found["codebook"] = Pipeline(CODES[CODES.index(self.method) + 1], self.sight, self.size)
        return found

    def agent(self, seed):
        """Its encoder has learned from demonstrations behind the largest collection, whatever its own is."""

        def cell(episodes):
            data = Data(episodes, stride=STRIDE, encoder_episodes=1000, encoder_stride=10)
            return Cell(Tabletop(), data, self.method, self.sight, ROLLOUTS, horizon=HORIZON, seed=seed)

        own, encoder = trained_agent(cell(self.size)), trained_encoder(cell(LARGEST))
        features = tuple(Features(self.sight.encoder, encoder, job.drawings) for job in own.features)
        return own.replace(encoder=encoder, features=features)

    def rollouts(self):
        """One a training seed."""
        seeds = range(5 if self.method is DIFFUSION else 3)
        return [job for seed in seeds for job in judged(self.agent(seed), ROLLOUTS, "greedy")]

    def head(self):
        """What would be executed, learned offline: all sights share a dataset, and so the code."""

        def dataset(sight, candidate=None):
            seen = Pipeline(DIFFUSION, sight, self.size).agent(0)
            return SuiteDataset(seen.demonstrations, sight.encoder, seen.encoder, seen.features, candidate)

        both, chunking, method = dataset(WEAK, dataset(STRONG)), Chunking(HORIZON, STRIDE), self.method
        codes, training = (), BUDGET.regression
        if method.tokenizer:
            codes = (AuditTokenizer(both, chunking, method.tokenizer, method.tokenizer_training),)
            training = BUDGET.digit_heads
        return AuditHead(both, (chunking,), TOLD[self.sight], codes, training)

    def replays(self):
        """The expert, with more and more white noise."""
        demonstrations = Pipeline(DIFFUSION, WEAK, self.size).agent(0).demonstrations
        noise = ChunkNoise(demonstrations, HORIZON, STRIDE, None)
        return [NoisyReplay(Tabletop(), noise, share, REPLAYS) for share in SHARES]


PIPELINES = (
    *(Pipeline(DIFFUSION, sight, size) for size in (200, 400) for sight in SIGHTS),
    *(Pipeline(code, WEAK, 400) for code in CODES[:2]),
)


def within(store, job):
    """Which episodes end within the tolerance."""
    return pl.read_parquet(store.folder(job) / EPISODES)["error_mm"].to_numpy() <= TOLERANCE


def truth(store, pipeline):
    """What each upgrade brings, in points; nothing where there is none to make."""

    def success(one):
        return np.array([100 * within(store, job).mean() for job in one.rollouts()])

    before = success(pipeline)
    made = {part: gain(before, success(one)) for part, one in pipeline.upgrades.items()}
    return {part: made.get(part, Gain(0.0, 0.0, 0.0)) for part in PARTS}


def predicted(store, pipeline):
    """The verdict of an audit, the gains that it stands on, and those in points that white noise lets expect."""
    upgrades, own = pipeline.upgrades, pipeline.head()
    heads = {part: upgrades[part].head() if part in upgrades else None for part in ("encoder", "codebook")}
    loaded = {part: job and job.load(store) for part, job in heads.items()}
    better = loaded["encoder"] or own.load(store)  # nothing is better than the true state
    arms = Arms(own.load(store), encoder=better, codebook=loaded["codebook"])
    codes = None
    if heads["codebook"] is not None:
        codes = Reconstruction(own.reconstruction(store), heads["codebook"].reconstruction(store))
    free = (
        None if codes is None else Pipeline(DIFFUSION, pipeline.sight, pipeline.size).head().load(store).errors[-1][0]
    )
    evidence = OfflineEvidence(arms, codes, own.variance(store), nothing=own.nothing(store), without_code=free)
    verdict = offline_verdict(evidence)
    replays = pipeline.replays()
    reached = [within(store, job) for job in replays]
    sizes = [np.full(len(one), job.share * own.variance(store)) for one, job in zip(reached, replays, strict=True)]
    curve = SuccessCurve.fit(np.concatenate(sizes), np.concatenate(reached))
    return verdict, predict_gains(arms, codes), predict_gains(arms, codes, curve, arms.own.demonstration)


def by_ladder(store, pipeline):
    """Where rollouts lose, between the expert, the true state and the policy as it is; None where that is not asked."""
    if pipeline.sight is STATE or pipeline.method.tokenizer is not None:
        return None
    rungs = {"state": Pipeline(pipeline.method, STATE, pipeline.size), "policy": pipeline}
    rolled = {name: Rung(np.stack([within(store, job) for job in one.rollouts()])) for name, one in rungs.items()}
    expert = Rung(within(store, EXPERT)[None], trained=False)
    return ladder(expert=expert, replay=None, **rolled)


def main(store):
    every = [*PIPELINES, *(upgrade for one in PIPELINES for upgrade in one.upgrades.values())]
    jobs = [EXPERT, *(job for one in every for job in one.rollouts())]
    for one in PIPELINES:
        jobs += [one.head(), *(one.upgrades[part].head() for part in ("encoder", "codebook") if part in one.upgrades)]
        jobs += one.replays()
    if finish(list({job.digest: job for job in jobs}.values()), store, 2, "cpu", quiet=False).failed:
        raise SystemExit("not everything could be made")
    print("| pipeline | upgrade | measured, points | predicted, % of the error | points by white noise |")
    print("| --- | --- | --- | --- | --- |")
    labels = []
    for one in PIPELINES:
        true, (verdict, shares, points) = truth(store, one), predicted(store, one)
        lost = by_ladder(store, one)
        rolled = (bottleneck(lost).label.value, joint_verdict(verdict, lost).label) if lost else ("", "")
        labels.append((one.name, label_of(true, "points"), verdict.label, *rolled))
        for part in one.upgrades:
            real, share, noise = true[part], shares[part].quantity, points[part].quantity
            print(
                f"| {one.name} | {part} | {real.value:+.0f} [{real.low:+.0f}, {real.high:+.0f}] "
                f"| {100 * share.value:.0f} [{100 * share.low:.0f}, {100 * share.high:.0f}] "
                f"| {noise.value:.1f} [{noise.low:.1f}, {noise.high:.1f}] |"
            )
    print("\n| pipeline | truth | predicted without a rollout | the ladder, from rollouts | joint |")
    print("| --- | --- | --- | --- | --- |")
    for row in labels:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main(Store(Path(sys.argv[1]) if len(sys.argv) > 1 else default_root()))
