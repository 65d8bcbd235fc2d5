"""The most memory that this process has held, as a whole and since a given moment."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_before_restart = 0


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held so far; bytes."""
    return max(_before_restart, peak_since_restart())


def restart_peak() -> None:
    """Count `peak_since_restart` from here on. Where the system cannot, it goes on from the start of the process."""
    global _before_restart
    _before_restart = peak_memory_bytes()
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def resident_bytes() -> int:
    """Return the memory that this process holds now; 0 where the system does not say."""
    return _status("VmRSS") or 0


def peak_since_restart() -> int:
    """Return the most memory held since `restart_peak`; bytes."""
    marked = _status("VmHWM")
    if marked is not None:
        return marked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status(name: str) -> int | None:
    """Return a line of Linux's account of this process in bytes; None elsewhere."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return None if found is None else int(found.split()[1]) * 1024
