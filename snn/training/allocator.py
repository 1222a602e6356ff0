"""Settings of glibc's allocator: freed memory stays with the process.

Training allocates and frees the same tensors at every step. By default glibc returns large
blocks to the system at once, and new empty pages cost more than most operations on them
(about 0.4 ms per MB).
"""

import ctypes
import functools
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_NEVER = 2**31 - 1


@functools.cache
def keep_memory() -> bool:
    """Make this process keep freed memory; return whether the C library supports it.

    For processes that only train: they hold their peak memory until they end.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_MMAP_THRESHOLD, _NEVER) == 1
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER) == 1 and kept)
