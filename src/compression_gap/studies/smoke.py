"""Every kind of job once, at a size that learns nothing: is the machinery sound?

Command: cgap run smoke
Cost:    under a minute on two cores
Expect:  success near 0 everywhere and every arm undertrained; it is the tests' study, not evidence.
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

DIFFUSION = Method(
    "Diffusion", Diffusion(width=32, layers=1, heads=2, prediction="sample", inference_steps=4), Training(8, batch=16)
)
OAT = Method(
    "OAT 4x81",
    Autoregressive(width=32, layers=1, heads=2, head="digits"),
    Training(8, batch=16),
    tokenizer=Oat(tokens=4, levels=(3, 3, 3, 3), width=32, encoder_layers=1, decoder_layers=1, head_width=16),
    tokenizer_training=Training(8, batch=16),
    decodings=("greedy", "sampled"),
)
WEAK = Sight("weak", Supervised(steps=2), Training(2, batch=16, schedule="cosine"))
STRONG = Sight("strong", Supervised(steps=4), Training(4, batch=16, schedule="cosine"))
STATE = Sight("state", State())


def grid() -> Grid:
    """Two methods, three sights, two seeds."""
    base = Cell(
        suite=Tabletop(batch=16),
        data=Data(episodes=12, stride=8, encoder_episodes=12, encoder_stride=8),
        method=DIFFUSION,
        sight=STATE,
        rollouts=Rollouts("test", episodes=4, execute=16),
    )
    return Grid(
        name="smoke",
        question="Does every part of the program run?",
        base=base,
        methods=(DIFFUSION, OAT),
        sights=(WEAK, STRONG, STATE),
        seeds=(0, 1),
        weak="weak",
        strong="strong",
        state="state",
        development=Rollouts("development", episodes=4, execute=16),
        tolerance_mm=8.0,
        probe_training=Training(8, batch=16),
        demonstrates_only=True,
    )
