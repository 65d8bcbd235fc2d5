"""What both sides of the learning check share: the settings, and the record of a run. Runs in either side's environment."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

ROWS, MINIBATCHES, EPOCHS = 64, 4, 4
CLIP, VALUE_CLIP, VALUE_WEIGHT = 0.2, 0.2, 0.1
GAMMA, LAMBDA, TEMPERATURE = 1.0, 0.95, 1.0
KL_COEF, MISSING_EOS = 0.05, 1.0
RESPONSE = 56
EVERY = 3
"""Iterations between two checkpoints."""
LOG = "log.jsonl"


def arguments(about: str | None) -> argparse.Namespace:
    """Return the settings of one run of one side."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--every", type=int, default=EVERY)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--max-grad-norm", type=float, help="ours alone")
    parser.add_argument("--kl-estimator", choices=["k1", "exact"], default="k1", help="ours alone")
    parser.add_argument("--value-weight", type=float, default=VALUE_WEIGHT, help="ours alone")
    return parser.parse_args()


def prompts(models: Path, part: str) -> list[dict[str, Any]]:
    """Return the prompts of a part, each as `text` and `tokens`."""
    found: list[dict[str, Any]] = json.loads((models / "prompts.json").read_text(encoding="utf-8"))[part]
    return found


def checkpoint(folder: Path, iteration: int) -> Path:
    """Return where the weights after an iteration lie."""
    return folder / f"{iteration}.pt"


class Course:
    """The clock of a run, which stands still while weights are written, and its log."""

    def __init__(self, folder: Path, *, every: int, last: int, rows: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._every, self._last, self._rows = folder, every, last, rows
        self._iteration, self._seconds, self._since = 0, 0.0, 0.0
        (folder / LOG).write_text("", encoding="utf-8")

    def start(self) -> None:
        """Let the clock run."""
        self._since = time.perf_counter()

    def stop(self, model: Any, **facts: float) -> None:
        """Stop the clock at the end of an iteration; keep the model's weights where it is one of `every`, or the last."""
        import torch

        self._seconds += time.perf_counter() - self._since
        self._iteration += 1
        kept = self._iteration % self._every == 0 or self._iteration == self._last
        if kept:
            torch.save(model.state_dict(), checkpoint(self._folder, self._iteration))
        line = {
            "iteration": self._iteration,
            "episodes": self._iteration * self._rows,
            "seconds": self._seconds,
            "kept": kept,
            **facts,
        }
        with (self._folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
