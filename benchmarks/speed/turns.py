"""One side's half of the benchmark: a process that waits for its turn, does one PPO iteration, and tells what it took.

Runs in either side's environment. The other half is in `duel.py`. Standard input brings one line per turn; its end
ends the process. Standard output carries one JSON object per line, and nothing else; what libraries print goes to
standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

MIB = 2**20
EOS_SHARE = 0.025
"""Probability of EOS at every step of an untrained policy: completions of up to 64 tokens have about 32 on average."""
LR = 1e-9
"""So small that the policy stays as it is: completions of a side that learns would grow short, and its iterations cheap."""


class Turns:
    """The connection to whoever gives the turns, and the clock of the present one."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._imported = memory("VmRSS")
        self.record: dict[str, Any] = {}
        self._phase, self._since = "", 0.0

    def ready(self, **facts: Any) -> None:
        """Tell that the models stand ready. Call `Turns()` after the imports: the memory that they take is not counted."""
        self._tell({"ready": True, "imports_mib": self._imported, "models_mib": memory("VmRSS"), **facts})

    def wait(self, phase: str) -> None:
        """Wait for the next turn, then start its clock with this phase; the process ends when no turn comes."""
        if not sys.stdin.readline():
            os._exit(0)
        self.record = {"cpu": -time.process_time()}
        self._phase, self._since = phase, time.perf_counter()

    def begin(self, phase: str) -> None:
        """End the present phase and begin another, unless it is the present one already."""
        if phase == self._phase:
            return
        now = time.perf_counter()
        self.record[self._phase] = self.record.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def done(self, **facts: Any) -> None:
        """End the turn and tell it: seconds by phase, `total`, seconds of processor time, memory in MiB, and `facts`."""
        self.begin("")
        phases = {name: value for name, value in self.record.items() if name != "cpu"}
        peak = memory("VmHWM")
        self._tell(
            {
                **phases,
                "total": sum(phases.values()),
                "cpu": self.record["cpu"] + time.process_time(),
                "peak_mib": peak,
                "net_mib": peak - self._imported,
                **facts,
            }
        )

    def _tell(self, record: dict[str, Any]) -> None:
        self._out.write(json.dumps(record) + "\n")


def memory(entry: str) -> float:
    """Return an entry of this process's status in MiB: VmRSS is what it holds, VmHWM the most that it ever held."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def eos_bias(vocabulary: int, eos: int) -> Any:
    """Return a bias of the output layer that gives EOS the share `EOS_SHARE` among logits near 0."""
    import math

    import torch

    bias = torch.zeros(vocabulary)
    bias[eos] = math.log(EOS_SHARE * vocabulary / (1 - EOS_SHARE))
    return bias
