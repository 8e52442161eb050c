"""Work shared out: each of many files is made by one of the processes that share a folder."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# Between two looks at files that other processes make: a file is the work of seconds at least.
_LOOK_AGAIN_SECONDS = 0.2


def claims(
    paths: Sequence[Path], is_whole: Callable[[Path], bool] = Path.is_file, wait: bool = True
) -> Iterator[tuple[int, bool]]:
    """Goes over files until all are there, and yields each once: to be made by the caller, or there already.

    A file that another process makes is looked at again after all others. A claim is a lock of the operating
    system's on a hidden file beside: it goes with its process, even a killed one, and with its machine where
    the folder is shared over a network. So what a lost process began is made by another one.

    Args:
        paths: The files. The caller makes each whole or not at all (`records.commit`), and before it asks
            for the next; an exception of the caller's gives the claim back.
        is_whole: Whether a file that is there can be taken as it is; others are made again.
        wait: Whether files that others are making are waited for, rather than left out.

    Yields:
        A file's index, and whether the caller has to make it.
    """
    left = list(range(len(paths)))
    while left:
        busy = []
        for index in left:
            path = paths[index]
            if path.is_file() and is_whole(path):
                yield index, False
                continue
            with claimed(path) as mine:
                if not mine:
                    busy.append(index)
                # Its last owner may have finished it between our look and our claim.
                elif path.is_file() and is_whole(path):
                    yield index, False
                else:
                    # What is damaged goes, and a claim's lock file is removed only when the file is whole.
                    path.unlink(missing_ok=True)
                    yield index, True
        if not wait:
            return
        if busy == left:
            time.sleep(_LOOK_AGAIN_SECONDS)
        left = busy


def is_claimed(path: Path) -> bool:
    """Returns whether another process makes a file."""
    with claimed(path) as mine:
        return not mine


def wait_for_any(paths: Collection[Path]) -> None:
    """Waits until one of the files that other processes make is there, or nobody's any more."""
    while not any(path.is_file() or not is_claimed(path) for path in paths):
        time.sleep(_LOOK_AGAIN_SECONDS)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Claims a file for the block, if no other process has."""
    # Another run that was refused may have removed an empty folder.
    path.parent.mkdir(parents=True, exist_ok=True)
    held = path.with_name(f".{path.name}.lock")
    lock = FileLock(held)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Not before the file is there: another process may wait with the same lock file open, and would hold
        # one that nobody else sees.
        if path.is_file():
            held.unlink(missing_ok=True)
        lock.release()
