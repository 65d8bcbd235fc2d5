"""A rival's environment, made once: here TRL 1.12.0 with the newest transformers that it works with."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

WHEELS = ["torch==2.13.0", "transformers==5.23.0", "trl==1.12.0", "peft", "datasets", "psutil"]
DONE = "installed.txt"


def rival_python(folder: Path, wheels: Sequence[str] = WHEELS) -> Path:
    """Return the interpreter of the rival's environment in `folder`; install `wheels` where they are not there yet."""
    python = folder / "bin" / "python"
    done = folder / DONE
    if not done.is_file() or done.read_text(encoding="utf-8").split() != list(wheels):
        print(f"installing {' '.join(wheels)} into {folder}", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wheels], check=True)
        done.write_text("\n".join(wheels) + "\n", encoding="utf-8")
    return python
