"""The contracts as checks, for our own parts and for those of plugin authors.

Each check builds a part from its spec and raises AssertionError with the broken clause of the contract. A small spec
keeps a check below a few seconds:

    from compression_gap.testing import check_tokenizer

    def test_my_tokenizer():
        check_tokenizer(MyTokenizer(width=16), ChunkShape(horizon=8, actions=3))
"""

from compression_gap.testing.encoder import check_encoder
from compression_gap.testing.policy import check_policy
from compression_gap.testing.suite import check_suite
from compression_gap.testing.tokenizer import check_tokenizer

__all__ = ["check_encoder", "check_policy", "check_suite", "check_tokenizer"]
