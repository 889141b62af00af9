"""Which kind of code lets a better encoder through? Bins, FAST and OAT beside Diffusion, on the built-in suite.

Command: cgap run codes_cpu
Cost:    4 to 6 hours on two cores, 2 to 3 of them after searched_codes_cpu; run it again to go on after a stop
Expect:  not known: it has not been run to its end. On the true state policies of seed 0 succeeded in 89 % over bins and
         in 99 over FAST within 10 mm, where OAT's guessed codes left 71 (8x81); tried before this was written down.

The OAT paper (arXiv 2602.04215) reports bins and FAST far below its own codes on LIBERO. Here all codes have the same
policy, training, data, encoders, tolerance and seeds, those of codebook_size_cpu: 256 bins for every action value, FAST
with the published scale and a vocabulary of its own, and OAT's 8 tokens of 1000 codes guessed, and of 81 searched.
"""

from dataclasses import replace

from compression_gap.pipeline.cell import Grid
from compression_gap.studies import codebook_size_cpu, searched_codes_cpu, tabletop
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.fast import Fast

GUESSED = codebook_size_cpu.oat(1000, (8, 5, 5, 5))


def fitted(name: str, tokenizer: TokenizerSpec):
    """The same policy over a code that has nothing to train."""
    return GUESSED.replace(name=name, tokenizer=tokenizer, tokenizer_training=None)


def grid() -> Grid:
    """Diffusion and four codes, three sights, three seeds."""
    return replace(
        codebook_size_cpu.grid(),
        name="codes_cpu",
        question="Which kind of code lets more of a better encoder through?",
        methods=(
            tabletop.DIFFUSION,
            fitted("Bins 256", Binning()),
            fitted("FAST", Fast()),
            GUESSED,
            searched_codes_cpu.SEARCHED,
        ),
    )
