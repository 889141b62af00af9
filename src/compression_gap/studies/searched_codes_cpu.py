"""Do policies fail to predict a code, or are its codes badly chosen? The built-in suite, codes guessed and searched.

Command: cgap run searched_codes_cpu
Cost:    2 to 4 hours on two cores, less than half of it after codebook_size_cpu; run it again to go on after a stop
Expect:  with searched codes 26, 43 and 92 % within 10 mm (weak, strong, true state) where guessed ones leave 18, 29 and
         65; the gap to Diffusion, +14 [6, 21], is no longer resolved: +8 [-3, 19]. The true state was known of two
         seeds before this was written down, the rest was not.

In codebook_size_cpu the expert's chunks lose nothing through the code of 81 ids, and the policy over it a third of its
success. What that policy learns from are the codes that the encoder guesses at once. Here one method has the same
codebook, whose codes are searched (`Oat.search`): every digit moves where the code then reads the chunk back better.
Nothing else differs, and everything else is codebook_size_cpu's: data, encoders, training, tolerance and seeds.
"""

from dataclasses import replace

from compression_gap.pipeline.cell import Grid
from compression_gap.studies import codebook_size_cpu, tabletop
from compression_gap.tokenizers.oat import Oat

LEVELS = (3, 3, 3, 3)
GUESSED = codebook_size_cpu.oat(81, LEVELS)
SEARCHED = GUESSED.replace(name="OAT 8x81, searched", tokenizer=Oat.small().replace(levels=LEVELS, search=1))


def grid() -> Grid:
    """Diffusion and one codebook twice, three sights, three seeds."""
    return replace(
        codebook_size_cpu.grid(),
        name="searched_codes_cpu",
        question="Does a code that is searched let more of a better encoder through than one that is guessed?",
        methods=(tabletop.DIFFUSION, GUESSED, SEARCHED),
    )
