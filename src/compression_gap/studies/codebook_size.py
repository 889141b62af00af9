"""The paper's third experiment, literally: does a larger codebook let more of a better encoder through?

Command: cgap run codebook_size --device cuda        (needs the extras `libero` and `vision`, and SigLIP's weights)
Cost:    928 jobs, 18 GB of disk; 29,000 hours of a laptop's core, half of it if the factorial was run in the same
         store; so a machine with GPUs
Expect:  as published (arXiv 2604.03191, table 3: peak success in %, 500 rollouts, one seed a cell)

                                  bits a chunk   ResNet-18   SigLIP    gain
         OAT M, 1000 [8,5,5,5]            79.7        53.8     57.4    +3.6
         OAT M, 1920 [8,8,6,5]            87.3        42.6     57.8   +15.2
         OAT M, 4375 [7,5,5,5,5]          96.8        54.6     58.6    +4.0

The published gains do not rise with the codebook, and rest on one seed. The largest codebook is also the only one with
five latent dimensions, so its size is not all that is different; and three codebooks are too few for a line. With five
of one latent width, codebook_size_cpu asks the same question on the built-in suite. Settings and departures from the
paper are the factorial's, whose Diffusion M and OAT M (1000 codes) are found if it was run in the same store.
"""

from dataclasses import replace

from compression_gap.pipeline.cell import Grid, Method
from compression_gap.studies import factorial

LEVELS = ((8, 5, 5, 5), (8, 8, 6, 5), (7, 5, 5, 5, 5))
CODES = (1000, 1920, 4375)


def oat(codes: int, levels: tuple[int, ...]) -> Method:
    """OAT of size M with another codebook."""
    return factorial.oat("M").replace(name=f"OAT M 8x{codes}", tokenizer__levels=levels)


def grid() -> Grid:
    """Diffusion and three codebooks, two sights, five seeds."""
    return replace(
        factorial.grid(),
        name="codebook_size",
        question="Does a larger codebook let more of a better encoder through, as published?",
        methods=(factorial.diffusion("M"), *map(oat, CODES, LEVELS)),
    )
