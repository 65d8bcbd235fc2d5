"""make bench-speed: PPO iterations beside TRL's, and how far from what the machine can do.

    python benchmarks/speed/run.py [--only small-full-fp32 ...] [--wanted 5] [--turns 25]
Models and the rival's environment lie in `work/`, every iteration in `rows/` (an interrupted part goes on there; delete its files
to measure anew), the figures in `results.json`.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.results import NO_TARGET, publish, row  # noqa: E402
from benchmarks.speed import ceilings, growth, t5  # noqa: E402
from benchmarks.speed.duel import TURNS, WANTED, Record, Side, duel, judged, kept, ratio_of_medians, values  # noqa: E402
from benchmarks.speed.environment import rival_python  # noqa: E402
from benchmarks.speed.learning import learning  # noqa: E402

WORK, ROWS = HERE / "work", HERE / "rows"
COMMAND = "make bench-speed"
RATIO_BAR = 0.01
"""The rival may only be run in a setting whose ratio is on average this near to 1 before the first step."""
RIVAL_SETTINGS = [(precision, attention) for precision in ("amp", "bf16", "fp32") for attention in ("sdpa", "eager")]
HOPELESS = 1.5
"""A setting whose first iteration takes so many times as long as the best of another is not the best."""
OURS, RIVAL = "ours", "trl"
Rows = list[dict[str, Any]]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Measure what is asked for, part by part; each part's rows are written as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--wanted", type=int, default=WANTED, help="undisturbed iterations per side")
    parser.add_argument("--turns", type=int, default=TURNS, help="iterations per side at most")
    args = parser.parse_args()
    for name in args.only:
        found = PARTS[name](args)
        publish(HERE / "results.json", name, found)


def models(size: str) -> Path:
    """Return the folder of a size, built where it is not there yet."""
    command = [sys.executable, str(HERE / "models.py"), "--out", str(WORK / "models"), "--sizes", size]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return WORK / "models" / size


def ours(size: str, *options: str) -> Side:
    """Return our side with options of `ours.py`."""
    return Side(OURS, [sys.executable, str(HERE / "ours.py"), "--models", str(models(size)), *options])


def rival(size: str, *options: str) -> Side:
    """Return the rival's side with options of `rival.py`."""
    python = rival_python(WORK / "trl112")
    return Side(RIVAL, [str(python), str(HERE / "rival.py"), "--models", str(models(size)), *options])


def beside(
    args: argparse.Namespace,
    *,
    name: str,
    size: str,
    method: str,
    precision: str,
    epochs: int,
    time_bar: str,
    memory_bar: str,
    value: str = "shared",
    microbatch: int = 1024,
) -> Rows:
    """One line of the table: both sides in turns. `precision` "best" is each side's fastest that keeps the ratio at 1.

    `microbatch` is our tokens per forward: where memory is far below its bar, more of them are some percent faster.
    """
    shared = ["--method", method, "--epochs", str(epochs)]
    chosen = ("fp32", "sdpa") if precision == "fp32" else best_rival(args, size)
    mine = "fp32" if precision == "fp32" else "bf16"
    pair = [
        ours(size, *shared, "--precision", mine, "--value", value, "--microbatch", str(microbatch)),
        rival(size, *shared, "--precision", chosen[0], "--attention", chosen[1]),
    ]
    records = duel(pair, ROWS / f"{name}.jsonl", wanted=args.wanted, turns=args.turns)
    counted = min(len(values(records, side, "total")) for side in (OURS, RIVAL))
    if counted < args.wanted:
        raise SystemExit(
            f"{name}: {counted} of {args.wanted} iterations were undisturbed; they are kept, try again later"
        )
    label = f"{name}, ours {mine}, TRL {chosen[0]} with {chosen[1]}"
    return [*compared(records, label, time_bar, memory_bar), *levels(records, label)]


def compared(records: Sequence[Record], label: str, time_bar: str, memory_bar: str) -> Rows:
    """The two ratios of one line."""
    counted = min(len(values(records, side, "total")) for side in (OURS, RIVAL))
    rows = []
    for figure, unit, bar, above, below in (
        ("total", "time, TRL / ours", time_bar, RIVAL, OURS),
        ("net_mib", "net peak memory, ours / TRL", memory_bar, OURS, RIVAL),
        ("peak_mib", "total peak memory, ours / TRL", NO_TARGET, OURS, RIVAL),
    ):
        found = ratio_of_medians(values(records, above, figure), values(records, below, figure))
        rows.append(row(label, *found, unit, bar if counted >= WANTED else NO_TARGET, counted, COMMAND))
    return rows


def levels(records: Sequence[Record], label: str) -> Rows:
    """The medians behind the ratios, with the lowest and highest iteration."""
    rows = []
    for side in (OURS, RIVAL):
        for figure, unit in (
            ("generation", "s"),
            ("score", "s"),
            ("update", "s"),
            ("total", "s"),
            ("net_mib", "MiB"),
            ("peak_mib", "MiB"),
            ("response_tokens", "tokens"),
            ("ratio_error", "|ratio - 1|"),
        ):
            found = values(records, side, figure)
            if found:
                middle, count = statistics.median(found), len(found)
                rows.append(
                    row(f"{label}: {side} {figure}", middle, min(found), max(found), unit, NO_TARGET, count, COMMAND)
                )
    return rows


def best_rival(args: argparse.Namespace, size: str) -> tuple[str, str]:
    """Return the rival's fastest (precision, attention) whose ratio error is small; tried once per size, on full fine-tuning.

    A setting whose ratio is off, or whose first iteration is already much slower than another's best, is not tried further.
    """
    found: dict[tuple[str, str], float] = {}
    for precision, attention in RIVAL_SETTINGS:
        path = ROWS / f"tuning-{size}-{precision}-{attention}.jsonl"
        options = ["--method", "full", "--epochs", "1", "--precision", precision, "--attention", attention]
        side = rival(size, *options)
        first = (kept(path) or duel([side], path, turns=1))[0]
        error = first["ratio_mean_error"]
        hopeless = error >= RATIO_BAR or first["total"] > HOPELESS * min(found.values(), default=math.inf)
        records = [] if hopeless else duel([side], path, wanted=min(2, args.wanted), turns=min(6, args.turns))
        times = values(records, RIVAL, "total")
        told = f"{times} s" if times else f"{first['total']:.1f} s at first, not tried further"
        print(f"TRL {size} {precision} {attention}: {told}, ratio off by {error:.1e} on average", flush=True)
        if times:
            found[precision, attention] = min(times)
    if not found:
        raise SystemExit(f"TRL, {size}: no undisturbed iteration in any setting; try in a quieter hour")
    return min(found, key=lambda setting: found[setting])


def memory_of_state(args: argparse.Namespace) -> Rows:
    """Bytes of policy and reference, LoRA on a base that both share, against two copies; counted, not estimated."""
    from benchmarks.speed import ours as side

    rows = []
    for size in ("small", "base"):
        namespace = argparse.Namespace(
            models=models(size),
            method="lora",
            precision="fp32",
            value="shared",
            full_length=False,
            r=side.R,
            targets=side.TARGETS,
        )
        policy, _ = side.open_sides(namespace)
        storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in policy.model.parameters()}
        base = [p for name, p in policy.model.named_parameters() if "lora_" not in name]
        again = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in base}
        one, copies = sum(storages.values()), sum(storages.values()) + sum(again.values())
        figure = f"model state with adapter-off reference, {size}"
        rows.append(row(figure, one / copies, None, None, "of two copies", "<= 0.55", 1, COMMAND))
    return rows


def ceiling(args: argparse.Namespace) -> Rows:
    """Rates of the machine at our shapes, and how much of them update and generation reach in the parts that were run."""
    from transformers import AutoConfig

    speed = ceilings.bandwidth()
    rows = [row("memory bandwidth, a copy", speed / 1e9, None, None, "GB/s", NO_TARGET, ceilings.REPEATS, COMMAND)]
    for size, part in (("small", "small-full-fp32"), ("small", "small-full-best"), ("base", "base-full")):
        path = ROWS / f"{part}.jsonl"
        if not path.is_file():
            continue
        shape = ceilings.Shape.of(AutoConfig.from_pretrained(str(models(size) / "policy")))
        precision = "fp32" if part.endswith("fp32") else "bf16"
        records = judged(kept(path))
        rows += used(records, shape, part, precision, 1 if size == "base" else 4, speed)
    return rows


def growing(args: argparse.Namespace) -> Rows:
    """How time and memory grow; the picture lies beside the figures."""
    from transformers import AutoConfig

    shapes = {
        name: ceilings.Shape.of(AutoConfig.from_pretrained(str(models(name) / "policy"))) for name in growth.SIZES
    }
    wanted, measured = min(3, args.wanted), []
    for axis in growth.axes(shapes):
        found = growth.measure(ours, ROWS, axis, wanted=wanted, turns=min(8, args.turns))
        measured.append((axis, found))
    growth.plot(measured, HERE / "growth.svg")
    return [one for axis, found in measured for one in growth.figures(axis, shapes, found)]


def encoder_decoders(args: argparse.Namespace) -> Rows:
    """Seconds and memory of T5 policies; ours alone."""
    return [one for setting in t5.settings() for one in t5.measure(ours, ROWS, setting, args)]


def used(
    records: Sequence[Record], shape: ceilings.Shape, part: str, precision: str, epochs: int, speed: float
) -> Rows:
    """The shares of one part."""
    dtype = DTYPES[precision]
    prompts, decisions, steps, updates, decoding = (
        statistics.median(values(records, OURS, name))
        for name in ("prompt_tokens", "response_tokens", "longest", "update", "generation")
    )
    minibatch = int(prompts + decisions) // 4
    alone = ceilings.update_time(
        shape,
        tokens=int(prompts + decisions),
        decisions=int(decisions),
        rows=minibatch,
        epochs=epochs,
        dtype=dtype,
    )
    prefill = prompts / minibatch * ceilings.forward_time(shape, minibatch, dtype)
    alive = max(1, int(decisions / steps))
    head = ceilings.product_time(alive, shape.width, shape.vocabulary, dtype)
    products = steps * (ceilings.forward_time(shape, alive, dtype) + head)
    reads = steps * shape.weights * dtype.itemsize / speed
    count = len(values(records, OURS, "update"))
    figures = (
        ("matmul rate at an update's shapes", ceilings.rate(shape, minibatch, dtype) / 1e9, "GFLOP/s", NO_TARGET),
        ("update: its matmuls alone", alone / updates, "of the update", ">= 0.5" if part == "base-full" else NO_TARGET),
        ("generation: its matmuls alone", (prefill + products) / decoding, "of the generation", NO_TARGET),
        (
            "decode: the greater of reading the weights and its matmuls",
            max(reads, products) / max(decoding - prefill, 1e-9),
            "of the decoding",
            ">= 0.5" if part == "base-full" else NO_TARGET,
        ),
    )
    return [
        row(f"{part} {precision}, {name}", v, None, None, unit, bar, count, COMMAND) for name, v, unit, bar in figures
    ]


LINES: dict[str, dict[str, Any]] = {
    "small-full-fp32": {
        "method": "full",
        "precision": "fp32",
        "time_bar": ">= 3.0",
        "memory_bar": "<= 0.45",
        "microbatch": 2048,
    },
    "small-full-best": {
        "method": "full",
        "precision": "best",
        "time_bar": ">= 3.0",
        "memory_bar": "<= 0.55",
        "microbatch": 2048,
    },
    "small-lora-best": {"method": "lora", "precision": "best", "time_bar": ">= 4.0", "memory_bar": "<= 0.40"},
    "base-full": {"method": "full", "precision": "best", "time_bar": ">= 2.5", "memory_bar": "<= 0.50"},
    "base-lora": {"method": "lora", "precision": "best", "time_bar": ">= 4.0", "memory_bar": "<= 0.35"},
    "small-full-separate-value": {
        "method": "full",
        "precision": "fp32",
        "time_bar": ">= 1.5",
        "memory_bar": "<= 0.6",
        "value": "separate",
    },
}
PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    name: functools.partial(
        beside, name=name, size=name.partition("-")[0], epochs=1 if name.startswith("base") else 4, **line
    )
    for name, line in LINES.items()
} | {
    "memory-of-state": memory_of_state,
    "ceilings": ceiling,
    "growth": growing,
    "learning": learning,
    "t5": encoder_decoders,
}


if __name__ == "__main__":
    main()
