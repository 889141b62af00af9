"""Workers keep the memory that tensors give back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from compression_gap.pipeline.allocator import keep_freed_memory

torch.set_num_threads(1)
keep_freed_memory()
rounds, tensors, pages = 20, 8, 5120  # 20 MB a tensor

def work():
    held = [torch.ones(pages * 1024) for _ in range(tensors)]
    while held:
        held.pop()

for _ in range(5):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(rounds):
    work()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (rounds * tensors * pages))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc")
def test_freed_memory_is_used_again():
    """In a process of its own: how much of the tensors' memory comes from the system (all of it, without the call)."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1
