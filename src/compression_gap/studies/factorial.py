"""The paper's first experiment, literally: does OAT pass on what SigLIP sees beyond ResNet-18, as Diffusion does?

Command: cgap run factorial --device cuda            (needs the extras `libero` and `vision`, and SigLIP's weights)
Cost:    816 jobs, 19 GB of disk; 33,000 hours of a laptop's core, so a machine with GPUs: 40 agents are trained for
         142,000 steps, eight of them for twice as many, and judged 56 times
Expect:  as published (arXiv 2604.03191, table 1: peak success in %, 500 rollouts, one seed a cell)

                        ResNet-18   SigLIP    gain
         Diffusion M         36.4     57.6   +21.2
         OAT M               53.8     57.4    +3.6
         Diffusion L         44.0     70.0   +26.0
         OAT L               48.0     58.4   +10.4

Where this departs from the paper: five seeds instead of one, the last averaged weights instead of the best of six
evaluations on the test rollouts, float32 instead of bfloat16, and demonstrations by scripted experts instead of people.
Their first 35 of 50 start from initial states that the policies are also judged from; the tasks that have no
script yet fail with a message that lists those that have one.
"""

from typing import Literal

from compression_gap.encoders.pretrained import Pretrained
from compression_gap.encoders.resnet import ResNet18
from compression_gap.pipeline.cell import Cell, Data, Grid, Method, Sight
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import Rollouts
from compression_gap.suites.libero.suite import Libero
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training

# 300 epochs: 500 demonstrations of about 270 steps are 135,000 windows, of which nine in ten are trained on, so an
# epoch has about 475 batches of 256. The paper tells neither the length of the warm-up nor the tokenizer's epochs.
TRAINING = Training(steps=142_000, batch=256, learning_rate=5e-5, encoder_learning_rate=1e-5, warmup=1000)
TOKENIZER_TRAINING = TRAINING.replace(encoder_learning_rate=None)


def diffusion(size: Literal["M", "L"]) -> Method:
    """Diffusion Policy of size M or L."""
    return Method(f"Diffusion {size}", Diffusion.sized(size), TRAINING)


def oat(size: Literal["M", "L"]) -> Method:
    """OAT of size M or L; both use the same tokenizer."""
    return Method(
        f"OAT {size}",
        Autoregressive.sized(size),
        TRAINING,
        tokenizer=Oat(),
        tokenizer_training=TOKENIZER_TRAINING,
        decodings=("sampled",),
    )


METHODS = (diffusion("M"), oat("M"), diffusion("L"), oat("L"))
SIGHTS = (Sight("ResNet-18", ResNet18()), Sight("SigLIP", Pretrained()))


def grid() -> Grid:
    """Four methods, two sights, five seeds."""
    base = Cell(
        suite=Libero(suite="libero_10", tasks=tuple(range(10)), image_size=128, rendering="reference"),
        data=Data(episodes=50),
        method=METHODS[0],
        sight=SIGHTS[0],
        rollouts=Rollouts("fixed", episodes=50, execute=16),
        horizon=32,
        history=2,
    )
    return Grid(
        name="factorial",
        question="Does a fixed codebook keep a stronger encoder from helping, on LIBERO-10 as published?",
        base=base,
        methods=METHODS,
        sights=SIGHTS,
        seeds=(0, 1, 2, 3, 4),
        weak="ResNet-18",
        strong="SigLIP",
        development=Rollouts("development", episodes=10, execute=16),
    )
