"""What a process does with the memory that tensors give back: it keeps it for the next ones."""

import ctypes

# names and numbers of the parameters in glibc's malloc.h, and the largest values that it takes for them
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_TRIM, LARGEST_MMAP = 2**31 - 1, 32 * 2**20


def keep_freed_memory() -> None:
    """Tells the C library to keep what is freed, which by default goes back to the system as soon as it is large.

    A training step frees all its tensors, and the next one would fetch them from the system anew, page by page: with
    4096 codes that is a quarter of its time (`python benchmarks/training.py`). Numbers do not change, and a process
    needs no more memory than it once needed. Other C libraries than glibc are left alone.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    library.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP)
    library.mallopt(M_TRIM_THRESHOLD, LARGEST_TRIM)
