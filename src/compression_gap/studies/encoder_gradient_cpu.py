"""The paper's second experiment in small: does success follow the measured quality of the encoder, and whose more?

Command: cgap run encoder_gradient_cpu
Cost:    about two hours on two cores without a GPU (3.9 of one core); run it again to go on after a stop
Expect:  at 10 mm Diffusion follows the encoder from 8 to 71 % and OAT stops at 42 to 44 % (docs/reproduce.md); no
         verdict, because some arms are labelled undertrained. All settings were fixed here before the first run.

Five encoders of one architecture see the built-in suite's pictures; they differ in nothing but how long they were
pretrained. Their quality is not assumed but measured: the pose error of the task's block on held-out frames, whose
halvings are the axis of every chart. Methods, data and budgets are the tabletop study's, with fewer seeds and steps.
"""

from compression_gap.encoders.supervised import Supervised
from compression_gap.pipeline.cell import Grid, Sight
from compression_gap.rollout import Rollouts
from compression_gap.studies import tabletop
from compression_gap.training import Training

STEPS = 10_000


def sight(steps: int, batch: int) -> Sight:
    """An encoder pretrained for that many steps."""
    training = Training(steps, batch=batch, learning_rate=3e-3, schedule="cosine")
    return Sight(f"{steps} steps", Supervised(steps=steps), training)


def grid() -> Grid:
    """Two methods, five encoders, three seeds."""
    methods = (tabletop.DIFFUSION, tabletop.oat("OAT 8x1000", (8, 5, 5, 5)))
    methods = tuple(method.replace(training__steps=STEPS) for method in methods)
    base = tabletop.grid().base
    rungs = (sight(160, 32), sight(240, 32), sight(700, 64), sight(2000, 64), sight(6000, 64))
    return Grid(
        name="encoder_gradient_cpu",
        question="Does success rise with the quality of the encoder, and does a fixed codebook flatten the rise?",
        base=base.replace(method=methods[0].replace(decodings=("greedy",)), sight=rungs[0]),
        methods=tuple(method.replace(decodings=("greedy",)) for method in methods),
        sights=rungs,
        seeds=(0, 1, 2),
        weak=rungs[0].name,
        strong=rungs[-1].name,
        development=Rollouts("development", episodes=100, execute=4),
        tolerance_mm=10.0,
    )
