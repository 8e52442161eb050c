"""Memory that a step frees is kept for the next one, on a CPU."""

import ctypes
import sys

# mallopt(3): the size from which an array is mapped by itself, and what may lie free at the heap's end.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees instead of handing it back; tells whether that could be set.

    glibc maps arrays above 32 MB anew each time, and the kernel then clears every page at its first use: a
    third of a step's time with a vocabulary of 30,522. Peak memory stays what it is, for a step needs the
    same arrays as the one before. Other allocators are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_INT) and mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT))
