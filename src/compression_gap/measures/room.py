"""Whether the scores of codes fit into memory, asked before they are made: a process that is killed cannot say why."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from compression_gap.config import counted

LIMIT = Path("/sys/fs/cgroup/memory.max")
"""What a container may have, where there is one."""
BYTES, COPIES = 4, 2  # of a score, and of all scores: as they are, and as logarithms of probabilities
GIGABYTE = 1e9


def memory() -> float:
    """Bytes that this machine, or this container, has in all."""
    whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    told = LIMIT.read_text().strip() if LIMIT.is_file() else ""
    return min(whole, float(told)) if told.isdecimal() else whole


def check_room(vocab_size: int, tokens: int, scores: int, device: torch.device) -> None:
    """Raises ValueError where so many scores at once surely do not fit: those of some codes' tokens, one an id or a
    value of a digit. Memory of a GPU is not asked: there, what does not fit fails at once and says so."""
    needed, there = float(BYTES * COPIES * scores), memory()
    if device.type == "cpu" and needed > there:
        raise ValueError(
            f"the vocabulary of {vocab_size:,} ids is too large: scores of codes of {counted(tokens, 'token')} need at "
            f"least {needed / GIGABYTE:,.0f} GB, and there are {there / GIGABYTE:,.0f}; choose fewer ids (bins, levels "
            "or codes) or a smaller --horizon"
        )
