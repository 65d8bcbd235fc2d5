"""The rival's environment, made once: TRL 1.12.0 with the newest transformers that it works with."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

WHEELS = ["torch==2.13.0", "transformers==5.23.0", "trl==1.12.0", "peft", "datasets", "psutil"]
DONE = "installed.txt"


def rival_python(folder: Path) -> Path:
    """Return the interpreter of the rival's environment in `folder`; install it where it is not there yet."""
    python = folder / "bin" / "python"
    done = folder / DONE
    if not done.is_file() or done.read_text(encoding="utf-8").split() != WHEELS:
        print(f"installing {' '.join(WHEELS)} into {folder}", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *WHEELS], check=True)
        done.write_text("\n".join(WHEELS) + "\n", encoding="utf-8")
    return python
