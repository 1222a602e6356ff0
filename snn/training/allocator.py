"""Memory that a process keeps: on Linux, glibc gives large tensors back as soon as they are freed.

Training takes and frees the same tensors at every step. Given back to the
system, each comes again as empty pages, which costs more than most operations
on them (about 0.4 ms per MB).
"""

import ctypes
import functools
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_NEVER = 2**31 - 1


@functools.cache
def keep_memory() -> bool:
    """From now on freed memory stays with this process, for its next tensors.

    For processes that train and little else: they hold their highest need
    until they end. False where the C library is not glibc; nothing changes then.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_MMAP_THRESHOLD, _NEVER) == 1
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER) == 1 and kept)
