"""The peak of the process can be counted anew, and the peak of its whole life is not forgotten by that."""

import subprocess
import sys

import pytest

COUNTED = """
from heedful.records.peak_memory import peak_memory_bytes, peak_since_restart, resident_bytes, restart_peak
MIB = 2**20
block = bytearray(b"x" * (300 * MIB))
del block
restart_peak()
whole, small = peak_memory_bytes(), peak_since_restart()
block = bytearray(b"x" * (100 * MIB))
print((whole - small) // MIB, (peak_since_restart() - small) // MIB, (peak_memory_bytes() - whole) // MIB, resident_bytes() // MIB)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets the peak be counted anew")
def test_the_peak_is_counted_anew() -> None:
    """300 MiB (twice while it is made) were held before, 100 MiB (twice) after."""
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, timeout=60, check=True)
    before, after, forgotten, now = map(int, done.stdout.split())
    assert 290 <= before <= 620
    assert 95 <= after <= 210
    assert forgotten == 0
    assert 100 <= now < 300
