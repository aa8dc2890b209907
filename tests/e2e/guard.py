"""Ends what a run of tests has started and not ended, once the run itself is gone, however that came about.

Whatever the tests start inherits a mark in its environment. Beside them waits a process that has no such mark, whose input ends when
theirs does: then it kills whoever bears the mark, and removes the folders that it was told of.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "VIDIMUS_TESTS"
# Whoever is killed may have just started another one.
LOOKS_MAX = 20
PAUSE_SECONDS = 0.1

_guard: subprocess.Popen | None = None


def begin() -> None:
    """From here on, what this process starts ends with it."""
    global _guard
    mark = secrets.token_hex(8)
    _guard = subprocess.Popen([sys.executable, __file__, mark], stdin=subprocess.PIPE, start_new_session=True)
    os.environ[MARK] = mark


def remove_at_end(folder: Path) -> None:
    """Has a folder removed with what ran in it."""
    assert _guard is not None
    _guard.stdin.write(f"{folder}\n".encode())
    _guard.stdin.flush()


def marked(mark: str) -> list[int]:
    """The processes that bear a mark and have not ended."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        # Other users' are not told, and an ended one has nothing left.
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def main() -> None:
    mark = sys.argv[1]
    folders = [line.rstrip("\n") for line in sys.stdin]
    for _ in range(LOOKS_MAX):
        left = marked(mark)
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_SECONDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
