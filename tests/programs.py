"""Programs of the system that some tests need: skipped with one loud line where they are missing, and failed where CI is set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from typing import NoReturn

import pytest


def require(program: str, what: str, package: str) -> str:
    """Return the path of a program.

    Args:
        program: its name on PATH.
        what: the tests that need it, as the line says it.
        package: where Debian has it.
    """
    found = shutil.which(program)
    if found is None:
        skip_loudly(f"{what}, because there is none (apt-get install {package})")
    return found


def skip_loudly(missing: str) -> NoReturn:
    """Skip with one line; fail where CI is set, as what is skipped counts as failed there."""
    message = f"SKIPPED: {missing}"
    if os.environ.get("CI"):
        pytest.fail(f"{message}; CI is set: what is skipped counts as failed")
    warnings.warn(message, stacklevel=3)
    pytest.skip(message)


def require_tracing() -> str:
    """Return strace's path; skip where this machine does not let us look into processes that run, which nobody can install."""
    strace = require("strace", "the tests that trace a process", "strace")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watching = subprocess.Popen([strace, "-p", str(process.pid)], stderr=subprocess.PIPE, text=True)
        assert watching.stderr is not None
        said = watching.stderr.readline()
        process.communicate(b"\n")
        watching.communicate()
    if "attached" not in said:
        warnings.warn(f"SKIPPED: the tests that trace a process: {said.strip()}", stacklevel=2)
        pytest.skip(f"tracing is not allowed here: {said.strip()}")
    return strace
