"""The paper's second experiment, literally: does success follow the encoder for Diffusion, and not for OAT?

Command: cgap run encoder_gradient --device cuda     (needs the extras `libero` and `vision`, and the models' weights)
Cost:    as the factorial's half of size M with two more encoders, whose features are computed once: days of a GPU
Expect:  as published (arXiv 2604.03191, table 2: peak success in %, 500 rollouts, one seed a cell)

                        ResNet-18   SigLIP   SigLIP 2   DINOv2
         Diffusion M         36.4     57.6       62.8     63.8
         OAT M               53.8     57.4       44.2     51.0

The paper orders its encoders by reputation, and so does this study: three are frozen and one learns along. The
quality of frozen ones is measured by `cgap encoders libero_10 --encoder pretrained:model=...`. Settings and
departures from the paper are the factorial's; encoder_gradient_cpu asks the same question on the built-in suite, of
encoders that are measured.
"""

from dataclasses import replace

from compression_gap.encoders.paper import NAMES, literal
from compression_gap.pipeline.cell import Grid, Sight
from compression_gap.studies import factorial

SIGHTS = tuple(Sight(name, literal(name)) for name in NAMES)


def grid() -> Grid:
    """Two methods of size M, four sights, five seeds."""
    return replace(
        factorial.grid(),
        name="encoder_gradient",
        question="Does success follow the encoder, and does a fixed codebook keep it from following, as published?",
        methods=(factorial.diffusion("M"), factorial.oat("M")),
        sights=SIGHTS,
        weak="ResNet-18",
        strong="DINOv2",
    )
