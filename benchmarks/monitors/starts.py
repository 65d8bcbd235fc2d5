"""Where the runs of one seed start: a small policy, its prompts, and reward models of right and of partly flipped labels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.monitors import scorers

from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Preference
from heedful.stages import reward
from heedful.testing.artifacts import artifact_of, run_stage

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.get("HEED_BENCH_WORK", HERE / "work"))
LORA = {"r": 64, "alpha": 64.0}
NUM_TUNE = 40
"""Prompts whose pairs are held out of the reward model's training."""


def start(seed: int) -> dict[str, Artifact]:
    """Return the inputs `policy` and `prompts` of every run of this seed."""
    folder = _begun(seed)
    return {"policy": Artifact.open(folder / "sft"), "prompts": Artifact.open(folder / "world")}


def _begun(seed: int) -> Path:
    folder = WORK / "starts" / str(seed)
    if not (folder / "run.json").is_file():
        command = [sys.executable, "-m", "heedful.apps.cli", "run", str(HERE / "start.toml")]
        subprocess.run([*command, "--set", f"seed={seed}", "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


def reward_model(
    seed: int, *, flipped: float = 0.0, prompts: int | None = None, combine: str | None = None
) -> Artifact:
    """Return a reward model on pairs of the policy's own samples, labeled by gold, a share of the labels turned round.

    `prompts` is the number of prompts whose pairs it learns from; None takes all but those held out. With `combine` it is an
    ensemble of five adapters, of the width of the matrices they change, so that each can learn what one model can.
    """
    made = WORK / "rewards" / f"{seed}-{flipped:g}-{prompts or 'all'}{f'-{combine}' if combine else ''}"
    if not made.exists():
        store = WORK / "artifacts" / made.name
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir(parents=True)
        made.parent.mkdir(exist_ok=True)
        made.symlink_to(_trained(store, seed, flipped, prompts, combine).path)
    return Artifact.open(made)


def _trained(store: Path, seed: int, flipped: float, prompts: int | None, combine: str | None) -> Artifact:
    samples = Artifact.open(_begun(seed) / "sample")
    train, tune = _pairs(samples, seed, flipped, prompts)
    preferences = artifact_of(store, "data", train__preferences=train, tune__preferences=tune)
    config = reward.Config(
        backbone={"pooling": "mean"},
        optimizer={"lr": 2e-3, "weight_decay": 0.1, "schedule": "linear"},
        epochs=4,
        minibatch_rows=64,
        microbatch_tokens=16384,
        **({} if combine is None else {"ensemble": {"combine": combine}, "lora": LORA}),
    )
    inputs = {"preferences": preferences, "policy": start(seed)["policy"], "samples": samples}
    return run_stage(reward, config, inputs, store, seed=derive_seed(seed, "reward"))


def _pairs(
    samples: Artifact, seed: int, flipped: float, prompts: int | None
) -> tuple[list[Preference], list[Preference]]:
    rng = np.random.default_rng(derive_seed(seed, "flipped"))
    texts: dict[str, list[Completion]] = defaultdict(list)
    for row in samples.records("completions", Completion):
        texts[row.prompt_id].append(row)
    pairs = {name: _of_prompt(rows, rng, flipped) for name, rows in texts.items()}
    names = sorted(pairs)
    held = [pair for name in names[:NUM_TUNE] for pair in pairs[name]]
    learned = names[NUM_TUNE:][:prompts]
    return [pair for name in learned for pair in pairs[name]], held


def _of_prompt(rows: list[Completion], rng: np.random.Generator, flipped: float) -> list[Preference]:
    """All pairs of a prompt's completions that gold tells apart."""
    values = scorers.gold([row.prompt for row in rows], [row.completion for row in rows])
    found: list[Any] = []
    for i, one in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            if values[i] == values[j] or one.completion == other.completion:
                continue
            first = (values[i] > values[j]) != (rng.random() < flipped)
            better, worse = (one, other) if first else (other, one)
            found.append(
                Preference(
                    prompt=one.prompt, chosen=better.completion, rejected=worse.completion, task_id=one.prompt_id
                )
            )
    return found
