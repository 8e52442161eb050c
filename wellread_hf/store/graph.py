"""Carries out stages: what is done is skipped, what is half done goes on from its last checkpoint."""

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wellread_hf import __version__
from wellread_hf.errors import (
    BusyError,
    DiskFullError,
    StoreError,
    WellreadError,
    cause,
    is_disk_full,
    library_errors_as,
)
from wellread_hf.store.places import check_unchanged
from wellread_hf.store.progress import is_main_process, log, say
from wellread_hf.store.records import INVOKED_AS, MEMORY, StageRecord, outputs_of
from wellread_hf.store.signals import end_if_asked, signals_heard
from wellread_hf.store.stage import Stage, in_order

_DISTRIBUTIONS = ("torch", "transformers", "datasets", "accelerate", "tokenizers")


def check(stages: Sequence[Stage]) -> Mapping[str, Any]:
    """Looks at the folders and inputs of all stages that are not done, before anything runs; returns nothing.

    Raises:
        WellreadError: Whatever is found.
    """
    to_do = [stage for stage in stages if stage.state != "done"]
    # Outputs that no stage to do reads may have been deleted.
    read = {needed.digest: needed for stage in to_do for needed in stage.after if needed.state == "done"}
    for needed in read.values():
        needed.record.check_outputs(needed.folder)
    for stage in to_do:
        _check_folder(stage.folder)
        stage.check()
    return {}


def _check_folder(folder: Path) -> None:
    """Refuses a folder that cannot be made or written to."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    remedy = "give another `running.runs`, or a shorter name"
    with library_errors_as(StoreError, f"{folder} cannot be made", remedy), suppress(FileNotFoundError):
        # Raises where a file is in the way, or the name is too long.
        (there / folder.name).stat()
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"{folder} cannot be made: {there} is not writable; {remedy}")


def carry_out(stages: Sequence[Stage]) -> None:
    """Finishes the stages and all that they need; a line at each one's start and end.

    Raises:
        WellreadError: Whatever a stage refuses; what was finished before stays.
        Terminated: A signal asks for the end.
    """
    with signals_heard():
        _carry_out(stages)


def _carry_out(stages: Sequence[Stage]) -> None:
    ordered, wanted = in_order(stages), {stage.digest for stage in stages}
    left = sum(stage.state != "done" for stage in ordered)
    # Setting up processes loads torch, which takes seconds; a rerun with nothing to do is over before that.
    if left:
        log(f"{left} of {len(ordered)} stages to do")
    state = processes() if left else None
    if state is not None:
        on_main_process(lambda: check(ordered))
    for stage in ordered:
        end_if_asked()
        if state is None or stage.state == "done":
            # What is only needed was looked at by `check`, as far as it will be read.
            if stage.digest in wanted:
                stage.record.check_outputs(stage.folder)
            _clean_up(stage)
            log(f"{stage.kind} {stage.name}: done already in {stage.folder}")
            continue
        with disk_errors_reported(stage.folder):
            if state.is_main_process:
                stage.folder.mkdir(parents=True, exist_ok=True)
            alone = state.is_main_process and not stage.shared
            with _removed_if_empty(stage.folder), _locked(stage.folder, alone):
                # Another run may have finished it between our plan and our lock.
                done = [stage.state == "done"]
                # All processes must go the same way, and only the main one holds the lock.
                if state.num_processes > 1:
                    from accelerate.utils import broadcast_object_list

                    broadcast_object_list(done)
                if not done[0]:
                    _carry_out_one(stage, state)
        state.wait_for_everyone()


def processes() -> Any:
    """Sets up the processes of a launch once, before any library does it in its own way."""
    import torch
    from accelerate import PartialState
    from transformers.utils.logging import disable_progress_bar

    # Our own bars cover everything that takes long; a bar for writing one file would break them.
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    # With cpu=True accelerate joins processes without an accelerator over gloo; without it each stays alone.
    cpu = not torch.accelerator.is_available() or os.environ.get("ACCELERATE_USE_CPU") == "True"
    # Waiting for a solo stage of hours is no time-out.
    return PartialState(cpu=cpu, timeout=timedelta(days=30))


def _carry_out_one(stage: Stage, state: Any) -> None:
    log(f"{stage.kind} {stage.name}: starts in {stage.folder}")
    started = time.monotonic()
    on_main_process(lambda: _check_unchanged(stage))
    state.wait_for_everyone()
    outcome = on_main_process(lambda: stage.work(stage)) if stage.solo else stage.work(stage)
    state.wait_for_everyone()
    try:
        on_main_process(lambda: _check_unchanged(stage))
    except WellreadError:
        # Checkpoints too may be of both contents.
        shutil.rmtree(stage.folder, ignore_errors=True)
        raise
    # Of several runs that shared the work, one may have finished it already.
    if state.is_main_process and stage.state != "done":
        for sentence in outcome.get("warnings", ()):
            say(f"warning: {sentence}")
        # A stage that was resumed counts what it had taken before as well.
        seconds = max(time.monotonic() - started, outcome.get("seconds_training", 0.0))
        _record(stage, outcome, seconds)
        log(f"{stage.kind} {stage.name}: done in {seconds:.1f} s in {stage.folder}")
    # Also what this run left there after another one had finished.
    _clean_up(stage)


def _check_unchanged(stage: Stage) -> Mapping[str, Any]:
    for location in stage.reads:
        check_unchanged(location, stage.root / MEMORY)
    return {}


def _clean_up(stage: Stage) -> None:
    """Removes what is of no use once there is a record; a kill before this costs disk, not work."""
    if is_main_process():
        shutil.rmtree(stage.folder / "checkpoints", ignore_errors=True)


def on_main_process(work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Lets the main process work while the others wait; they end with it if it is refused.

    Returns:
        What `work` returned, to the main process; nothing to the others.
    """
    from accelerate.utils import broadcast_object_list

    state = processes()
    if state.num_processes == 1:
        return work()
    outcome: Mapping[str, Any] = {}
    refused: list[WellreadError | None] = [None]
    if state.is_main_process:
        try:
            outcome = work()
        except WellreadError as error:
            refused = [error]
    broadcast_object_list(refused)
    if refused[0] is not None:
        # The main process reports the reason; the others would repeat it.
        raise refused[0] if state.is_main_process else SystemExit(refused[0].status)
    return outcome


def _record(stage: Stage, outcome: Mapping[str, Any], seconds: float) -> None:
    StageRecord(
        kind=stage.kind,
        name=stage.name,
        digest=stage.digest,
        settings=stage.identity,
        inputs={needed.folder.name: needed.digest for needed in stage.after},
        outcome=outcome,
        seconds=seconds,
        versions=versions(),
        processes=processes().num_processes,
        device=str(processes().device),
        # The name of the program is enough; its folder is private.
        command=shlex.join(
            Path(word).name if place == 0 else word for place, word in enumerate(INVOKED_AS.get())
        ),
        version=stage.version,
        outputs=outputs_of(stage.folder),
    ).write(stage.folder)


@contextmanager
def _locked(folder: Path, holds: bool) -> Iterator[None]:
    """Keeps a second run out of a stage's folder; the lock goes with the process, even a killed one."""
    if not holds:
        yield
        return
    holder, lock = folder / ".worker", FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = holder.read_text() if holder.is_file() else "another process"
        raise BusyError(f"{folder} is in use by {who}; wait for it, or end it, and run again") from None
    holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        # Removed while it is held: afterwards it might be another run's.
        (folder / ".lock").unlink(missing_ok=True)
        lock.release()


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Leaves no folder of what was refused before anything was written; others are not empty."""
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def disk_errors_reported(folder: Path) -> Iterator[None]:
    """Turns what is raised on a full disk, or by files that cannot be read or written, into one sentence."""
    try:
        yield
    except WellreadError:
        raise
    except Exception as error:
        # torch and safetensors wrap the system's error in their own, so its text is looked at too.
        full = is_disk_full(error) or "No space left" in str(error)
        if isinstance(error, OSError) and error.errno is not None and not full:
            raise StoreError(
                f"{folder}: a file cannot be read or written ({cause(error)}); check its path and "
                "rights, and run again"
            ) from error
        # Libraries may hide that the disk is full, so the room that is left is looked at too.
        there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        if full or shutil.disk_usage(there).free < 1 << 16:
            raise DiskFullError(
                f"the disk of {folder} is full; free some space and run again, the stage goes on from its "
                "last whole checkpoint"
            ) from error
        raise


def versions() -> dict[str, str]:
    """Returns the versions of packages that decide results, and the code's commit."""
    found = {"wellread_hf": __version__} | {name: version(name) for name in _DISTRIBUTIONS}
    # The code's commit, where it runs from a checkout.
    here = Path(__file__).parent
    answer = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found | ({"commit": answer.stdout.strip()} if answer.returncode == 0 else {})
