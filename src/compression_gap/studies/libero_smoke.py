"""Real LIBERO, thin but true: can both policies learn one long task from pictures, and how far does one get without?

Command: cgap run libero_smoke            (needs the extra `libero` and the system package libosmesa6)
Cost:    under an hour on two cores without a GPU
Expect:  Diffusion that sees at 7 or more of 15 and far above its blind arm; OAT low: it overfits on so few
         demonstrations. One seed and 15 episodes an arm: what is learned at all, not what is better.

The task is number 2 of libero_10: turn on the stove and put the moka pot on it. The expert starts twice from each of
the fixed initial states 0-34, and the policies are judged from the states 35-49, which no demonstration has seen.
"""

from compression_gap.encoders.blind import Blind
from compression_gap.encoders.convnet import ConvNet
from compression_gap.pipeline.cell import Cell, Data, Grid, Method, Sight
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.rollout import Rollouts
from compression_gap.suites.libero.suite import Libero
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training

# one action a token: on development states, four in a token succeeded half as often
DIFFUSION = Method("Diffusion", Diffusion.sized("S").replace(patch=1, noise_draws=4), Training(4000, batch=32))
OAT = Method(
    "OAT 8x1000",
    Autoregressive.sized("S"),
    Training(1500, batch=32),
    tokenizer=Oat.small(),
    tokenizer_training=Training(3000, batch=64, learning_rate=4e-3, schedule="cosine"),
)
BLIND = Sight("blind", Blind())
SEEING = Sight("seeing", ConvNet(shift=3))


def grid() -> Grid:
    """Two methods, seeing and blind, one seed."""
    base = Cell(
        suite=Libero(suite="libero_10", tasks=(2,)),
        data=Data(episodes=70, stride=3, tokenizer_episodes=100),
        method=DIFFUSION,
        sight=SEEING,
        rollouts=Rollouts("test", episodes=15, execute=8),
    )
    return Grid(
        name="libero_smoke",
        question="Do Diffusion and OAT learn a LIBERO task from pictures, and what is seeing worth to each?",
        base=base,
        methods=(DIFFUSION, OAT),
        sights=(BLIND, SEEING),
        seeds=(0,),
        weak="blind",
        strong="seeing",
        development=Rollouts("development", episodes=15, execute=8),
        demonstrates_only=True,
    )
