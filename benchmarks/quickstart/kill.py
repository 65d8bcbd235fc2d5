"""Kill `align` of a finished quickstart with -9 at random moments, start it again, and compare with the undisturbed run.

    python benchmarks/quickstart/kill.py RUN [--kills 10] [--seed 0]
RUN is the folder of a finished run. The work is done in a temporary store; RUN is only read. Exit status 1 when a byte differs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AFTER = ("align", "evaluate", "report")
"""The steps that are not copied: `align` is what the kills are for, and the others come after it."""
WORST_SECONDS = 12.0
"""A kill comes at a random moment up to so long after the start."""


def main() -> int:
    """Return 0 when the killed runs end in the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    done, same = killed_run(args.run, args.kills, args.seed)
    print(json.dumps({"kills": done, "bit_identical": same}))
    return 0 if same else 1


def killed_run(run: Path, kills: int, seed: int) -> tuple[int, bool]:
    """Return how many kills hit `align` while it ran, and whether it ended in the bytes of the undisturbed run."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        copy_inputs(run, Path(folder) / "artifacts")
        command = [sys.executable, "-m", "heedful.apps.cli", "run", str(run / "recipe.toml")]
        command += ["--until", "align", "--out", str(Path(folder) / "killed")]
        killed = sum(start_and_kill(command, moments.uniform(4, WORST_SECONDS)) for _ in range(kills))
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return killed, files_of(Path(folder) / "killed" / "align") == files_of(run / "align")


def files_of(artifact: Path) -> dict[str, str]:
    """Return name to sha256 of every file of an artifact, as its manifest has them."""
    files: dict[str, str] = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))["files"]
    return files


def copy_inputs(run: Path, store: Path) -> None:
    """Copy what `align` is made from into a fresh store."""
    store.mkdir()
    for step in run.iterdir():
        if step.name in AFTER or not (step / "manifest.json").is_file():
            continue
        source = step.resolve()
        shutil.copytree(source, store / source.name)


def start_and_kill(command: list[str], seconds: float) -> bool:
    """Start the command and kill it after a while; False where it was done before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while time.monotonic() - started < seconds and process.poll() is None:
        time.sleep(0.05)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


if __name__ == "__main__":
    sys.exit(main())
