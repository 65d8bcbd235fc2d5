"""Alignment runs that do not end by themselves: killed with -9 in another process, or interrupted before an iteration."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.engines import aligning
from heedful.records.artifacts import Artifact

CHILD = """
import json, sys, time
from pathlib import Path
import torch
from heedful.engines import aligning
from heedful.records.artifacts import Artifact
from tests.alignment import aligned

torch.set_num_threads(int(sys.argv[4]))  # bits are promised for one number of threads
roll_out = aligning.AlignmentRun._roll_out

def slow(run, iteration):
    time.sleep(0.2)  # so that whoever kills comes in time on a busy machine too
    return roll_out(run, iteration)

aligning.AlignmentRun._roll_out = slow
store, policy, prompts = map(Path, sys.argv[1:4])
given = {"policy": Artifact.open(policy), "prompts": Artifact.open(prompts)}
aligned(store, given, **json.loads(sys.argv[5]))
"""


def killed(
    store: Path, given: Mapping[str, Artifact], changes: Mapping[str, Any], *, after_rows: int, pause: float = 0.0
) -> bool:
    """Run `aligned(store, given, **changes)` in another process and kill it; False where it was done before."""
    folders = [str(store), *(str(given[role].path) for role in ("policy", "prompts"))]
    command = [sys.executable, "-c", CHILD, *folders, str(torch.get_num_threads()), json.dumps(changes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while child.poll() is None and _logged(store) < after_rows:
            time.sleep(0.005)
        time.sleep(pause)
    finally:
        child.send_signal(signal.SIGKILL)
    return child.wait() == -signal.SIGKILL


def _logged(store: Path) -> int:
    logs = list(store.glob("*.work/metrics.jsonl"))
    return len(logs[0].read_bytes().splitlines()) if logs else 0


@contextlib.contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, before: int) -> Iterator[None]:
    """Let a run inside the block end with KeyboardInterrupt before its iteration `before`; it is an error where none does."""
    roll_out = aligning.AlignmentRun._roll_out

    def failing(run: aligning.AlignmentRun, iteration: int) -> Any:
        if iteration == before:
            raise KeyboardInterrupt
        return roll_out(run, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(aligning.AlignmentRun, "_roll_out", failing)
        with pytest.raises(KeyboardInterrupt):
            yield
