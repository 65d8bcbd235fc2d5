"""Our numbers for encoder-decoders, which TRL cannot run: a T5 of 60M parameters, and the published lab setting with one of 250M.

The lab: batch 16, minibatches of 4, one epoch, LoRA of rank 32 on the queries and values of flan-t5-base, 100 to 400
new tokens, 92 s per PPO step on 8 virtual cores. Here the weights are random (time does not ask for their values), the
lengths are evenly spread over 100 to 400, prompts have 60 to 260 tokens, and the reward model is a T5 of the policy's
own size.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import NO_TARGET, row
from benchmarks.speed.duel import Side, duel, values

COMMAND = "make bench-speed ARGS='--only t5'"
OURS = "ours"
LAB_LOW, LAB_HIGH = 100, 400
LAYERS = {"t5-60m": ["q", "k", "v", "o", "wi", "wo"], "t5-250m": ["q", "v"]}
FIGURES = (
    ("total", "s per PPO step"),
    ("generation", "s"),
    ("score", "s"),
    ("update", "s"),
    ("net_mib", "MiB"),
    ("peak_mib", "MiB"),
    ("response_tokens", "tokens"),
    ("prompt_tokens", "tokens"),
)


@dataclass(frozen=True)
class Setting:
    """One line: a name, a size of `models.py`, options of `ours.py`, and how many undisturbed steps at least."""

    name: str
    size: str
    options: tuple[str, ...]
    rows: int
    wanted: int


def settings() -> list[Setting]:
    """Return the lines, cheap ones first."""
    plain = ("--epochs", "1", "--rows", "64")
    lab = ("--epochs", "1", "--rows", "16", "--lengths", str(LAB_LOW), str(LAB_HIGH), "--response", str(LAB_HIGH))
    lora = {size: ("--method", "lora", "--targets", *layers) for size, layers in LAYERS.items()}
    small = [
        Setting(f"t5-60m-{method}-{precision}", "t5-60m", (*plain, "--precision", precision, *more), 64, 5)
        for precision in ("bf16", "fp32")
        for method, more in (("lora", lora["t5-60m"]), ("full", ()))
    ]
    return small + [
        Setting(f"t5-250m-lab-{p}", "t5-250m", (*lab, "--precision", p, *lora["t5-250m"], "--r", "32"), 16, 3)
        for p in ("bf16", "fp32")
    ]


def measure(side: Callable[..., Side], rows: Path, setting: Setting, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run one line; return its rows.

    Raises:
        SystemExit: too few undisturbed steps; what was done is kept.
    """
    wanted = min(setting.wanted, args.wanted)
    path = rows / f"{setting.name}.jsonl"
    records = duel([side(setting.size, *setting.options)], path, wanted=wanted, turns=min(args.turns, 4 * wanted + 4))
    count = len(values(records, OURS, "total"))
    if count < wanted:
        raise SystemExit(f"{setting.name}: {count} of {wanted} steps were undisturbed; they are kept, try again later")
    found = []
    for figure, unit in FIGURES:
        seen = values(records, OURS, figure)
        name = f"{setting.name}, batch {setting.rows}: {figure}"
        found.append(row(name, statistics.median(seen), min(seen), max(seen), unit, NO_TARGET, count, COMMAND))
    mean = statistics.median(values(records, OURS, "response_tokens")) / setting.rows
    name = f"{setting.name}, batch {setting.rows}: response tokens per row, mean"
    return [*found, row(name, mean, None, None, "tokens", NO_TARGET, count, COMMAND)]
