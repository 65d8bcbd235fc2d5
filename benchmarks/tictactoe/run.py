"""Tic-tac-toe against random moves, learned by the PPO core that also trains text: losses over 1,000 games, three seeds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.results import row, write  # noqa: E402
from benchmarks.tictactoe.recipe import trained  # noqa: E402

from heedful.engines.environments.tictactoe import play  # noqa: E402
from heedful.numerics.statistics import wilson_interval  # noqa: E402

SEEDS = (101, 102, 103)
GAMES = 1000
GAMES_SEED = 1234
COMMAND = "make bench-tictactoe"


def main() -> None:
    """Train with each seed, play the games; every seed's rows are written as soon as it is done."""
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for seed in SEEDS:
        new = figures(seed)
        rows += new
        write(Path(__file__).with_name("results.json"), rows)
        for row_ in new:
            print(
                f"{row_['name']}: {row_['value']:.4g} {row_['unit']} (target {row_['target']}, met: {row_['met']})",
                flush=True,
            )


def figures(seed: int) -> list[dict[str, object]]:
    """Return loss share and training time of one seed; the policy plays as it was trained, by drawing its moves."""
    started = time.perf_counter()
    policy = trained(seed)
    seconds = time.perf_counter() - started
    losses = int((play(policy, games=GAMES, seed=GAMES_SEED).scores < 0).sum())
    low, high = wilson_interval(losses, GAMES)
    return [
        row(f"loss_share, seed {seed}", losses / GAMES, low, high, "share of games", "<= 0.05", GAMES, COMMAND),
        row(f"training_seconds, seed {seed}", round(seconds, 1), None, None, "s", "<= 180", 1, COMMAND),
    ]


if __name__ == "__main__":
    main()
