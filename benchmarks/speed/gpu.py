"""PPO on a GPU, ours alone: bf16, Qwen2-shaped models with random weights, beside what the card can do.

    python benchmarks/speed/gpu.py [--only table largest] [--sizes 0.5b 1.5b] [--wanted 5]

`table` times iterations of full fine-tuning and of LoRA: seconds by phase, peak memory of torch's allocator, how much of the
generation the card needs to read weights, keys and values once per step (the bandwidth bound), and the model FLOP utilisation
of the update. `largest` looks for the deepest model of the 7B's width whose LoRA PPO fits: depth is doubled while an iteration
fits, then bisected; every try is a process of its own. Kernels are deterministic ones, as in every run. TRL is not run here.
`--device cpu --sizes tiny --family tiny` runs the same code anywhere; its figures say nothing. The file is not called cuda.py:
scripts beside it would import it in the place of NVIDIA's package `cuda`, and torch with it.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.results import NO_TARGET, publish, row  # noqa: E402
from benchmarks.speed import ceilings, ours  # noqa: E402
from benchmarks.speed.duel import WANTED  # noqa: E402
from benchmarks.speed.gpu_models import SIZES, Qwen, model_of, with_layers, words  # noqa: E402

from heedful.engines.memory import is_out_of_memory, release  # noqa: E402
from heedful.engines.ppo import update  # noqa: E402
from heedful.engines.seeding import num_threads, pin  # noqa: E402
from heedful.errors import ConfigError, HealthError  # noqa: E402
from heedful.models.placement import device  # noqa: E402
from heedful.models.trunks import PromptTokens  # noqa: E402
from heedful.records.peak_memory import peak_since_restart, restart_peak  # noqa: E402

COMMAND = "python benchmarks/speed/gpu.py"
BF16 = 2
"""Bytes."""
WARM_UP = 2
SQUARE = 8192
"""Rows and columns of the product that shows what the card's matmul can do."""
DOES_NOT_FIT = 3
"""Exit code of a try."""
GIB = 2**30
Figures = dict[str, float]


def main() -> None:
    """Measure what is asked for; each part's rows are written as soon as it is done."""
    args = arguments()
    os.environ["HEED_DEVICE"] = args.device
    try:
        where = device()
        pin(num_threads())
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    if args.layers:
        raise SystemExit(try_layers(args, where))
    card = torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"
    clock = Phases(where)
    ours.generation_is_told(clock)
    if "table" in args.only:
        for size in args.sizes:
            found = [one for method in ("full", "lora") for one in line(args, size, method, clock, card)]
            publish(args.out, f"gpu-{size}", found)
    if "largest" in args.only:
        publish(args.out, "gpu-largest", largest_rows(args, card))


def arguments() -> argparse.Namespace:
    """Return the settings; those that an iteration needs are named as in `ours.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=["table", "largest"], default=["table", "largest"])
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["0.5b", "1.5b"])
    parser.add_argument("--family", choices=list(SIZES), default="7b", help="whose width `largest` takes")
    parser.add_argument("--most-layers", type=int, default=512, help="where `largest` stops doubling")
    parser.add_argument("--layers", type=int, help="one try of `largest`; the exit code says whether it fits")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--wanted", type=int, default=WANTED, help="iterations that count")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--response", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--microbatch", type=int, default=16_384, help="tokens per forward")
    parser.add_argument("--square", type=int, default=SQUARE, help="of the matmul that counts as the card's best")
    parser.add_argument("--work", type=Path, default=HERE / "work" / "gpu")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    args = parser.parse_args()
    args.precision, args.value, args.r, args.targets = "bf16", "shared", ours.R, ours.TARGETS
    return args


class Phases:
    """Seconds by phase; each ends when the device has done what it was given."""

    def __init__(self, where: torch.device) -> None:
        self._where = where
        self.seconds: Figures = {}
        self._phase, self._since = "", 0.0

    def begin(self, phase: str) -> None:
        """End the present phase and begin another; "" begins none."""
        with torch.device(self._where):
            now = ceilings.now()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now


def iterations(
    args: argparse.Namespace, size: Qwen, reward: Qwen, method: str, clock: Phases
) -> Iterator[tuple[Figures, Tensor, Tensor]]:
    """Yield figures of one iteration after another, with the lengths [B] of its prompts and of its completions."""
    where = device()
    tokenizer, prompts = words(size, args.work)
    args.method = method
    policy, reference = ours.sides(model_of(size, len(tokenizer), where), tokenizer, args)
    scorer = ours.reward_of(model_of(reward, len(tokenizer), where), tokenizer, args.precision)
    made, optimizer, settings = ours.engines(args, policy, reference, scorer)
    for number, texts in enumerate(ours.batches(prompts, args.rows)):
        restart(where)
        clock.seconds = {}
        clock.begin("generation")
        table = made(texts, [number * args.rows + place for place in range(args.rows)])
        clock.begin("update")
        release()  # as `train` does between the two
        metrics = update(policy, optimizer, table, settings, seed=number)
        clock.begin("")
        told = {"total": sum(clock.seconds.values()), "peak_gib": peak(where) / GIB, "ratio": metrics["ratio_error"]}
        yield clock.seconds | told, cast(PromptTokens, table.context).lengths.cpu(), table.mask.sum(1).cpu()


def restart(where: torch.device) -> None:
    """Begin to look for the most memory that is held."""
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    restart_peak()


def peak(where: torch.device) -> int:
    """Return the most bytes that were held since `restart`: of torch's allocator on a GPU, else of the process."""
    return torch.cuda.max_memory_allocated(where) if where.type == "cuda" else peak_since_restart()


def line(args: argparse.Namespace, name: str, method: str, clock: Phases, card: str) -> list[dict[str, Any]]:
    """Time one line of the table; return its rows."""
    size = SIZES[name]
    with torch.device(device()):
        speed = ceilings.bandwidth()
        best = 2 * args.square**3 / ceilings.product_time(args.square, args.square, args.square, torch.bfloat16)
    records: list[Figures] = []
    for figures, prompts, completions in islice(
        iterations(args, size, size, method, clock), WARM_UP, WARM_UP + args.wanted
    ):
        reads = bytes_read(size, prompts, completions) / speed
        work = operations(size, prompts + completions, completions, epochs=args.epochs, lora=method == "lora")
        shares = {"reads": reads / figures["generation"], "mfu": work / figures["update"] / best}
        records.append(figures | shares | {"tokens": float(completions.sum())})
    gc.collect()
    release()
    label = f"{card}, {name}-{method} bf16, batch {args.rows}"
    half = ">= 0.5" if device().type == "cuda" else NO_TARGET
    shown = [
        ("generation", "generation", "s", NO_TARGET),
        ("score", "score", "s", NO_TARGET),
        ("update", "update", "s", NO_TARGET),
        ("total", "total", "s", NO_TARGET),
        ("peak memory", "peak_gib", "GiB", NO_TARGET),
        ("response tokens", "tokens", "tokens", NO_TARGET),
        ("ratio error", "ratio", "|ratio - 1|", NO_TARGET),
        ("decode: reading weights, keys and values once per step", "reads", "of the generation", half),
        ("update: model FLOP utilisation", "mfu", "of the card's best matmul", half),
    ]
    rows = [
        row(f"{label}: {what}", statistics.median(seen), min(seen), max(seen), unit, bar, len(seen), COMMAND)
        for what, key, unit, bar in shown
        for seen in [[record[key] for record in records]]
    ]
    ends = [("memory bandwidth, a copy", speed / 1e9, "GB/s"), ("matmul, bf16", best / 1e12, "TFLOP/s")]
    return rows + [
        row(f"{card}: {what}", value, None, None, unit, NO_TARGET, ceilings.REPEATS, COMMAND)
        for what, value, unit in ends
    ]


def shape_of(size: Qwen) -> ceilings.Shape:
    """Return the linear layers of a model."""
    keys = size.width // size.heads * size.key_heads
    return ceilings.Shape(size.vocabulary, size.width, size.inner, size.layers, size.width, keys)


def bytes_read(size: Qwen, prompts: Tensor, completions: Tensor) -> float:
    """Return the bytes that decoding must read: at each step all weights once, and of each row that runs what is cached of it.

    Args:
        prompts: lengths [B]. completions: lengths [B]; the first token of each comes from reading the prompt.
    """
    shape, steps = shape_of(size), (completions - 1).clamp(min=0)
    cells = int((steps * prompts + steps * (steps + 1) // 2).sum())
    return float(int(steps.max()) * shape.weights * BF16 + shape.cache_bytes(cells, BF16))


def operations(size: Qwen, lengths: Tensor, decisions: Tensor, *, epochs: int, lora: bool) -> float:
    """Return the floating-point operations of an update that the model asks for; what is computed twice to save memory counts once.

    A product takes two per weight and token forward, two for the gradient of its input, and two for that of its weights,
    which are frozen under LoRA. In attention a token meets on average half of its row, in two products, with gradients of both
    sides.

    Args:
        lengths: tokens per row [B]. decisions: of these, what reaches the head [B].
    """
    shape = shape_of(size)
    head = size.width * size.vocabulary
    products = (shape.weights - head) * int(lengths.sum()) + head * int(decisions.sum())
    attention = 3 * 2 * 2 * size.layers * size.width * int((lengths**2).sum()) / 2
    return epochs * ((4 if lora else 6) * products + attention)


def largest(fits: Callable[[int], bool], *, most: int) -> int:
    """Return the largest number up to `most` that fits: doubled from 1, then bisected; 0 where 1 does not.

    Less always fits where more does.
    """
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_rows(args: argparse.Namespace, card: str) -> list[dict[str, Any]]:
    """Look for the deepest model that fits; return its layers and parameters."""
    deepest = largest(lambda layers: tried(args, layers), most=args.most_layers)
    shape = shape_of(with_layers(SIZES[args.family], deepest))
    embedding = 0 if SIZES[args.family].tied else shape.width * shape.vocabulary
    label = f"{card}: largest model whose LoRA PPO fits, {args.family} in width, reward model {args.sizes[0]}"
    return [
        row(f"{label}: {what}", value, None, None, unit, NO_TARGET, 1, COMMAND)
        for what, value, unit in (
            ("layers", float(deepest), "layers"),
            ("weights", (shape.weights + embedding) / 1e9, "billion"),
        )
    ]


def tried(args: argparse.Namespace, layers: int) -> bool:
    """Return whether an iteration with so many layers fits, tried out in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--layers", str(layers)]
    for name in ("device", "family", "rows", "response", "epochs", "microbatch", "work"):
        command += [f"--{name}", str(getattr(args, name))]
    ended = subprocess.run([*command, "--sizes", args.sizes[0]], check=False)
    if ended.returncode not in (0, DOES_NOT_FIT):
        raise SystemExit(f"a try with {layers} layers ended with exit code {ended.returncode}; see above")
    print(f"{layers} layers: {'fits' if ended.returncode == 0 else 'does not fit'}", flush=True)
    return ended.returncode == 0


def try_layers(args: argparse.Namespace, where: torch.device) -> int:
    """Do one LoRA iteration; return the exit code that says whether it fitted, even with less held at once."""
    size = with_layers(SIZES[args.family], args.layers)
    try:
        next(iterations(args, size, SIZES[args.sizes[0]], "lora", Phases(where)))
    except (HealthError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) and "out of memory" not in str(error):
            raise
        return DOES_NOT_FIT
    return 0


if __name__ == "__main__":
    main()
