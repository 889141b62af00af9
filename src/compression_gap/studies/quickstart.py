"""The paper's question, end to end, in minutes: a demonstration of the program, not evidence.

Command: cgap run quickstart
Cost:    8 minutes on two cores, no GPU, no network
Expect:  a better encoder helps Diffusion and hardly OAT, whose arms have learned least; all are trained so shortly that
         they are labelled "undertrained", and then no verdict is drawn. studies/tabletop.py asks the same with care.
"""

from compression_gap.encoders.state import State
from compression_gap.encoders.supervised import Supervised
from compression_gap.pipeline.cell import Cell, Data, Grid, Method, Sight
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import Rollouts
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training

DIFFUSION = Method("Diffusion", Diffusion.sized("S"), Training(650, batch=128, learning_rate=1e-3))
OAT = Method(
    "OAT 8x1000",
    Autoregressive.sized("S"),
    Training(560, batch=64, learning_rate=1e-3),
    tokenizer=Oat.small(),
    tokenizer_training=Training(800, batch=64, learning_rate=4e-3, schedule="cosine"),
)

# mean error of the task's block on held-out frames: 8 to 12 mm, and 3 to 4 mm
WEAK = Sight("weak", Supervised(steps=240), Training(240, batch=32, learning_rate=3e-3, schedule="cosine"))
STRONG = Sight("strong", Supervised(steps=700), Training(700, batch=64, learning_rate=3e-3, schedule="cosine"))
STATE = Sight("state", State())


def grid() -> Grid:
    """Two methods, three sights, three seeds."""
    base = Cell(
        suite=Tabletop(),
        data=Data(episodes=800, stride=4, encoder_episodes=1000, encoder_stride=10),
        method=DIFFUSION,
        sight=STATE,
        rollouts=Rollouts("test", episodes=40, execute=4),
        horizon=8,
    )
    return Grid(
        name="quickstart",
        question="Does a better encoder buy Diffusion Policy more than it buys a policy with an 80-bit codebook?",
        base=base,
        methods=(DIFFUSION, OAT),
        sights=(WEAK, STRONG, STATE),
        seeds=(0, 1, 2),
        weak="weak",
        strong="strong",
        state="state",
        development=Rollouts("development", episodes=40, execute=4),
        tolerance_mm=15.0,
        probe_training=Training(300, batch=128, learning_rate=1e-3, schedule="cosine"),
        demonstrates_only=True,
    )
