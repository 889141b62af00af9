"""Are the verdicts right, and the predictions? Pipelines in which every upgrade is really made.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py folder [development] [held-out] [confirmation] [joint] [scarce]
        [few] [scarce-again] [few-again] [scarce-last] [few-last]

For 300 pipelines (`testing/pipelines.py`), what an audit sees of each is gathered, policies are trained and judged for
the truth, and ladders are rolled out (`testing/upgrades.py`). Each of these is a file in the folder, so a killed run
goes on where it was: most of an hour on one core.

The first six sets are drawn from different values of every factor, and each pipeline has a map of its own: who looks
up a pipeline's nearest neighbour in the development set finds little, and that is printed too. Rules were tuned on the
development set, the held-out set was looked at, the rules were tuned again on both, and the confirmation set was looked
at once, after all of that. The joint set was drawn after that for the joint verdict, whose rule was written down before
it was looked at, once. The scarce set, of wide states and few demonstrations, was drawn because few truths of the
others are that more data help and nothing else does. Since it was looked at, heads test on several divisions of few
demonstrations, and predictions of what more data bring are larger and less sure; the set of few was drawn after that.
Since that was looked at, intervals are for other divisions too. Both were drawn again after that. Since those were
looked at, intervals are wider where demonstrations are few, and more of them are never said not to help. Both were
drawn a last time after that, and looked at once. What looks found is in docs/measurement.md. No pipeline is dropped.

**Truth.** An upgrade (encoder: a quarter of the noise; codebook: twice the tokens; data: twice the demonstrations)
is made, four policies are trained before and after it, and judged on 2,000 fresh cases. It *helps* if the 95 % interval
of its gain for other training seeds lies above 5 points, does not if it lies below, and is unresolved otherwise; in
distortion the same with a tenth of the distortion before. The label is `none: saturated` where no upgrade helps, the
name of the part where one alone helps, `several` where two or three do; a pipeline whose label an unresolved upgrade
could change is unresolved.

**Scores**, in points and in distortion: the share of right labels among resolved pipelines where the verdict commits
(asked: 90 %), the share of resolved pipelines in which it commits (60 %), the share of true gains, unresolved ones
included, in the 90 % intervals (80 to 97 %), and the mean absolute error of predicted gains over that of predicting no
change (at most 0.5). All of it once more as an audit of 2 or 10 minutes does it: with one seed of the heads, and none
retrained through the larger code, whose gain follows from reconstruction errors alone. The paper's reading is scored
beside it: nominal bits below I(Z; A) is codebook-bound, else encoder-bound. So is the choice of the better of these two
upgrades, where one gains more than 5 points and the interval of their difference excludes 0.

**Ladders** of four seeds on 300 initial states are scored on the same truths, alone and joined with the predicted gains
(`verdict/joint.py`). As a ladder alone names the largest of several losses, one of several upgrades that help is right
too if it surely gains the most.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from calibration_scores import UNITS, Case, online, scores, table

from compression_gap.data.split import divisions, turned
from compression_gap.seeds import seed_of
from compression_gap.testing.pipelines import CONFIRMATION, COUNT, DEVELOPMENT, FEW, HELD_OUT, JOINT, SCARCE, World
from compression_gap.testing.upgrades import codes_of, judge, rungs
from compression_gap.verdict.heads import Code, Executed, HeadTraining, retrain_heads

SETS = {
    "development": DEVELOPMENT,
    "held-out": HELD_OUT,
    "confirmation": CONFIRMATION,
    "joint": JOINT,
    "scarce": SCARCE,
    "few": FEW,
    "scarce-again": SCARCE,
    "few-again": FEW,
    "scarce-last": SCARCE,
    "few-last": FEW,
}
SMALL = {"steps": 160, "batch": 96, "width": 32, "learning_rate": 2e-2, "seeds": (0, 1)}
CURVE, WHOLE = HeadTraining(**SMALL), HeadTraining(**SMALL, fractions=(1.0,))
REPLAYS = 600  # from which the distortion-success curve is made


def quiet(fraction, text):
    """Nobody looks."""


def audited(pipeline):
    """What an audit sees of a pipeline: its demonstrations, a better encoder's features and a larger code."""
    world = World(pipeline)
    cases, codes = world.cases("demonstrations", pipeline.demonstrations), codes_of(world)

    def chunk(values):
        return values.unflatten(1, (pipeline.steps, pipeline.actions))

    def executed(upgrade, code, training):
        features = world.features(cases, pipeline.upgraded(upgrade).noise if upgrade else pipeline.noise)
        written = code and Code(code.encode(cases.shown), pipeline.values, None, lambda ids: chunk(code.decode(ids)))
        numbers, parts = cases.demonstration.numpy(), []
        for turn in range(divisions(pipeline.demonstrations)):
            order = torch.from_numpy(turned(numbers, turn))
            with tempfile.TemporaryDirectory() as folder:
                found = retrain_heads(features, chunk(cases.shown), written, order, training, Path(folder), quiet)
            parts.append(replace(found, demonstration=numbers[found.rows]))
        return Executed.joined(parts)

    own = executed(None, codes["own"], CURVE)
    arms = {
        "own": own,
        "encoder": executed("encoder", codes["own"], WHOLE),
        "codebook": executed(None, codes["larger"], WHOLE),
        "regression": executed(None, None, WHOLE),
    }
    seen = {f"{name} errors": arm.errors for name, arm in arms.items()}
    seen |= {f"{name} bits": arm.bits for name, arm in arms.items() if arm.bits is not None}
    shown = cases.shown[own.rows]
    for name, code in codes.items():
        seen[f"{name} reconstruction"] = (code.decode(code.encode(shown)) - shown).square().mean(dim=1).numpy()
    seen["demonstration"] = own.demonstration
    if own.division is not None:
        seen["division"] = own.division
    left = arms["regression"].errors[-1].mean()
    seen["bits about actions"] = 0.5 * shown.shape[1] * np.log2(float(cases.shown.var(dim=0).mean()) / left)
    return seen | replays(world, cases, codes)


def replays(world, cases, codes):
    """The expert's chunks, executed with noise or as a code reads them: distortions, and whether they succeeded."""
    rng = np.random.default_rng(seed_of("replays", world.pipeline.name))
    draw = torch.Generator().manual_seed(seed_of("replay noise", world.pipeline.name))
    rows = torch.from_numpy(rng.integers(len(cases.shown), size=REPLAYS))
    shown = cases.shown[rows]
    size = torch.from_numpy(np.exp(rng.uniform(np.log(0.03), np.log(2), (REPLAYS, 1)))).float()
    noise = size * torch.randn(shown.shape, generator=draw)
    residual = codes["own"].decode(codes["own"].encode(shown)) - shown
    shaped = torch.from_numpy(rng.uniform(0, 2, (REPLAYS, 1))).float() * residual
    acted = shown + torch.where(torch.from_numpy(rng.random((REPLAYS, 1)) < 0.5), noise, shaped)
    likely = world.success((acted - cases.wanted[rows]).square().mean(dim=1)).numpy()
    return {
        "replayed distortion": (acted - shown).square().mean(dim=1).double().numpy(),
        "replayed success": (rng.random(REPLAYS) < likely).astype(float),
    }


def kept(path, make):
    """The arrays of a file, which is made if it is not there."""
    if not path.exists():
        began = time.process_time()
        beside = path.with_suffix(".new.npz")
        np.savez(beside, **make())
        beside.replace(path)
        print(f"{path.stem}: {time.process_time() - began:.1f} s", flush=True)
    with np.load(path) as file:
        return dict(file)


def truth(pipeline):
    """What policies reach, as the pipeline is and with each upgrade, one number a training seed."""
    judged = judge(pipeline)
    reached = {f"true {what} success": policies.success for what, policies in judged.items()}
    return reached | {f"true {what} distortion": policies.distortion for what, policies in judged.items()}


def gather(pipeline, folder):
    """What is true of a pipeline, what rollouts of it show, and what an audit sees, each in a file of its own."""
    true = kept(folder / f"{pipeline.name}-truth.npz", lambda: truth(pipeline))
    rolled = kept(folder / f"{pipeline.name}-rungs.npz", lambda: rungs(pipeline))
    return true | rolled | kept(folder / f"{pipeline.name}-audit.npz", lambda: audited(pipeline))


def main(folder, names):
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    cases = {}
    for name in names:
        cases[name] = [Case(one, gather(one, folder)) for one in SETS[name].draw(name, COUNT)]
    for name in names:
        others = cases.get("development") if name != "development" else None
        for unit in UNITS:
            print(f"\n{name}: {len(cases[name])} pipelines\n\n{table(cases[name], unit)}\n")
            print(scores(cases[name], unit, others))
        print(f"\n{name}, from rollouts\n\n{online(cases[name])}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(SETS))
