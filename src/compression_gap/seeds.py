"""Where every seed comes from: a hash of what it is for, so that no two uses share their draws by accident."""

from __future__ import annotations

import hashlib


def seed_of(*parts: object) -> int:
    """A 63-bit seed from anything printable; equal parts, equal seed."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def episode_number(protocol: str, task: int, index: int) -> int:
    """The number of an episode in stamps and seeds: the same wherever the initial state is the same."""
    return seed_of(protocol, task, index)
