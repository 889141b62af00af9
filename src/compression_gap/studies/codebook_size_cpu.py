"""The paper's third experiment on the built-in suite: does what an encoder buys grow with the codebook?

Command: cgap run codebook_size_cpu
Cost:    6 hours on two cores without a GPU by --dry-run; measured 6.3 hours of one core where MKL used AVX-512
         (docs/reproduce.md); run it again to go on after a stop
Expect:  at 10 mm the gain from weak to strong grows with the codebook, from 11 points with 81 codes to 21 with 4096,
         where Diffusion gains 25: 0.19 points [0.05, 0.34] for every nominal bit, in log-odds unresolved. The policies
         over 81 and 1000 codes are still a little undertrained on the true state. Codebooks, seeds and tolerance were
         fixed here before the first run.

Five codebooks of 81 to 4096 codes, all with eight tokens of four latent dimensions, so that nothing but the levels of
their quantizer changes (the paper's largest codebook has a fifth dimension). The encoder gain, from the weak encoder to
the strong one and from the weak one to the true state, is set against the nominal bits, the bits that are realised on
held-out demonstrations, and the success of the expert's own chunks replayed through the code. Everything else is the
study tabletop's: its data, encoders, training, tolerance and seeds, of which these are the first three. Diffusion is
the method without a code.
"""

from dataclasses import replace

from compression_gap.pipeline.cell import Grid, Method
from compression_gap.studies import tabletop

LEVELS = ((3, 3, 3, 3), (4, 4, 4, 4), (5, 5, 5, 5), (8, 5, 5, 5), (8, 8, 8, 8))
CODES = (81, 256, 625, 1000, 4096)


def oat(codes: int, levels: tuple[int, ...]) -> Method:
    """The tabletop study's OAT with another codebook, judged by its likeliest tokens only."""
    return tabletop.oat(f"OAT 8x{codes}", levels).replace(decodings=("greedy",))


def grid() -> Grid:
    """Diffusion and five codebooks, three sights, three seeds."""
    return replace(
        tabletop.grid(),
        name="codebook_size_cpu",
        question="Does a larger codebook let more of a better encoder through?",
        methods=(tabletop.DIFFUSION, *map(oat, CODES, LEVELS)),
        seeds=(0, 1, 2),
    )
