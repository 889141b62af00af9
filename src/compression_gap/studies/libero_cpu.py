"""The paper's factorial on four real tasks of libero_10, at a size that two cores finish in a few hours.

Command: cgap run libero_cpu              (needs the extra `libero` and the system package libosmesa6)
Cost:    6 hours on two cores without a GPU (11 hours of one core); run it again to go on after a stop
Expect:  no gap is resolved. Diffusion succeeds in half of the episodes with the true state and in a quarter with either
         encoder, not told apart from blind; the expert's chunks through 8x1000 codes succeed in 83 %, through 8x81 in
         52 %. Some arms are overfitted (docs/reproduce.md, where the settings come from).

The tasks are 2 (stove and moka pot), 4 (two mugs on two plates), 6 (mug on the plate, pudding beside it) and 8 (both
moka pots on the stove). One policy does all four and is told which. The encoders are trained on frames of other
episodes than the policy's, for two budgets; the blind arm sees nothing and tells what can be had without seeing. The
tokenizers learn from the policy's demonstrations, 120 a task.
"""

from compression_gap.encoders.blind import Blind
from compression_gap.encoders.state import State
from compression_gap.encoders.supervised import Supervised
from compression_gap.pipeline.cell import Cell, Data, Grid, Method, Sight
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import Rollouts
from compression_gap.suites.libero.suite import Libero
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training

OCTAVES = 3  # the objects of a task stand within 5 cm, in rooms of a metre
DIFFUSION = Method(
    "Diffusion", Diffusion.sized("S").replace(octaves=OCTAVES), Training(10_000, batch=128, learning_rate=2e-3)
)


def oat(name: str, levels: tuple[int, ...]) -> Method:
    """OAT with 8 tokens of a codebook whose latent width stays at four, so that only its size changes."""
    return Method(
        name,
        Autoregressive.sized("S").replace(octaves=OCTAVES),
        Training(4000, batch=128, learning_rate=2e-3),
        tokenizer=Oat.small().replace(levels=levels),
        tokenizer_training=Training(6000, batch=64, learning_rate=4e-3, schedule="cosine"),
    )


WEAK = Sight("weak", Supervised(steps=300), Training(300, batch=32, learning_rate=3e-3, schedule="cosine"))
STRONG = Sight("strong", Supervised(steps=3000), Training(3000, batch=64, learning_rate=3e-3, schedule="cosine"))
STATE = Sight("state", State())
BLIND = Sight("blind", Blind())


def grid() -> Grid:
    """Three methods, four sights, three seeds."""
    base = Cell(
        suite=Libero(suite="libero_10", tasks=(2, 4, 6, 8), noise=0.08),
        data=Data(120, stride=4, encoder_episodes=40, encoder_stride=6, protocol="random_demonstrations"),
        method=DIFFUSION,
        sight=STATE,
        rollouts=Rollouts("test", episodes=10, execute=8),
    )
    return Grid(
        name="libero_cpu",
        question="On real LIBERO tasks, does a better encoder buy Diffusion more than it buys a fixed codebook?",
        base=base,
        methods=(DIFFUSION, oat("OAT 8x1000", (8, 5, 5, 5)), oat("OAT 8x81", (3, 3, 3, 3))),
        sights=(WEAK, STRONG, STATE, BLIND),
        seeds=(0, 1, 2),
        weak="weak",
        strong="strong",
        state="state",
        development=Rollouts("development", episodes=10, execute=8),
    )
