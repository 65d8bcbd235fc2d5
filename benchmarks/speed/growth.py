"""How time and memory of one iteration grow with response length, batch and model size, against what the arithmetic says.

Each point is a process of its own, since the most that a process ever held cannot be taken back. Completions have full length here:
EOS has no share of its own, so a batch of R rows and T new tokens holds about R x T decisions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.results import NO_TARGET, row
from benchmarks.speed.ceilings import Shape
from benchmarks.speed.duel import Record, Side, duel, values

COMMAND = "make bench-speed ARGS='--only growth'"
EPOCHS, ROWS, RESPONSE = 1, 32, 64
"""What is held while something else grows."""
LENGTHS = (32, 64, 128, 256, 512, 1024)
BATCHES = (16, 32, 64, 128, 256, 512)
SIZES = ("1m", "4m", "small", "40m", "base")
FORWARDS = 4
"""Without gradients: generation, policy, reference, reward model."""
OURS = "ours"


@dataclass(frozen=True)
class Axis:
    """What grows: `points` are (label, size, rows, response)."""

    name: str
    unit: str
    points: Sequence[tuple[float, str, int, int]]


def axes(shapes: dict[str, Shape]) -> list[Axis]:
    """Return the three axes."""
    return [
        Axis("response length", "new tokens", [(n, "small", ROWS, n) for n in LENGTHS]),
        Axis("batch", "rows", [(n, "small", n, RESPONSE) for n in BATCHES]),
        Axis("model size", "parameters", [(shapes[name].weights, name, ROWS, RESPONSE) for name in SIZES]),
    ]


def operations(shape: Shape, record: Record) -> float:
    """Return the floating-point operations of one iteration: linear layers, attention, and the head at decisions."""
    prompts, decisions, rows = record["prompt_tokens"], record["response_tokens"], record["rows"]
    tokens = prompts + decisions
    # Causal attention: each token meets on average half of its row, in two products of the model's width.
    attention = 2 * 2 * shape.layers * shape.width * tokens * (tokens / rows) / 2
    layers = 2 * (shape.weights - shape.width * shape.vocabulary) * tokens + attention
    head = 2 * shape.width * shape.vocabulary * decisions
    passes = FORWARDS + 3 * EPOCHS
    return passes * layers + (passes - 1) * head  # the reward model has no head to speak of


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Return the slope of log y on log x, with a 95 % interval from leaving out one point at a time (jackknife)."""
    across, up = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    slope = float(np.polyfit(across, up, 1)[0])
    left_out = [np.polyfit(np.delete(across, i), np.delete(up, i), 1)[0] for i in range(len(across))]
    n = len(left_out)
    error = float(np.sqrt((n - 1) / n * np.sum((np.asarray(left_out) - np.mean(left_out)) ** 2)))
    return slope, slope - 1.96 * error, slope + 1.96 * error


def measure(
    side: Callable[..., Side], rows: Path, axis: Axis, *, wanted: int, turns: int
) -> list[tuple[float, list[Record]]]:
    """Run each point of an axis; return (place on the axis, undisturbed iterations)."""
    found = []
    for place, size, batch, response in axis.points:
        options = ["--rows", str(batch), "--response", str(response), "--epochs", str(EPOCHS), "--full-length"]
        path = rows / f"growth-{size}-{batch}-{response}.jsonl"
        records = duel([side(size, *options)], path, wanted=wanted, turns=turns)
        kept = [{**record, "rows": batch} for record in records if record["counts"]]
        if not kept:
            raise SystemExit(f"growth, {axis.name} {place:g}: no undisturbed iteration; try in a quieter hour")
        found.append((place, kept))
    return found


def figures(axis: Axis, shapes: dict[str, Shape], found: list[tuple[float, list[Record]]]) -> list[dict[str, Any]]:
    """Return the rows of one axis: exponents of time and memory, and the levels behind them."""
    sizes = [size for _, size, _, _ in axis.points]
    seconds = [statistics.median(values(records, OURS, "total")) for _, records in found]
    memory = [statistics.median(values(records, OURS, "net_mib")) for _, records in found]
    work = [operations(shapes[size], records[0]) for size, (_, records) in zip(sizes, found, strict=True)]
    count = min(len(records) for _, records in found)
    places = [place for place, _ in found]
    rows = [
        row(
            f"growth with {axis.name}: time against floating-point operations",
            *exponent(work, seconds),
            "exponent",
            "<= 1.0",
            count,
            COMMAND,
        ),
        row(
            f"growth with {axis.name}: net peak memory", *exponent(places, memory), "exponent", "<= 1.0", count, COMMAND
        ),
    ]
    for place, took, held, done in zip(places, seconds, memory, work, strict=True):
        at = f"growth, {axis.name} {place:g} {axis.unit}"
        rows.append(row(f"{at}: an iteration", took, None, None, "s", NO_TARGET, count, COMMAND))
        rows.append(row(f"{at}: net peak memory", held, None, None, "MiB", NO_TARGET, count, COMMAND))
        rows.append(row(f"{at}: rate", done / took / 1e9, None, None, "GFLOP/s", NO_TARGET, count, COMMAND))
    return rows


def plot(measured: Sequence[tuple[Axis, list[tuple[float, list[Record]]]]], path: Path) -> None:
    """Draw time and memory of the three axes on logarithmic scales, each with a line of slope 1 through its first point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, len(measured), squeeze=False)
    for column, (axis, found) in enumerate(measured):
        places = [place for place, _ in found]
        for line, (name, label) in enumerate((("total", "seconds per iteration"), ("net_mib", "net peak memory, MiB"))):
            panel = panels[line][column]
            medians = [statistics.median(values(records, OURS, name)) for _, records in found]
            panel.loglog(places, medians, "o-", color="#1f5fa8", label="measured")
            panel.loglog(places, [medians[0] * p / places[0] for p in places], ":", color="#888888", label="slope 1")
            panel.set_xlabel(f"{axis.name}, {axis.unit}")
            panel.set_ylabel(label)
            panel.grid(True, which="both", alpha=0.2)
    panels[0][0].legend(frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})
