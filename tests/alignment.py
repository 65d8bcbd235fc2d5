"""A small alignment run: artifacts to start from, a scorer in a file, and settings that take a second."""

import json
from pathlib import Path
from typing import Any

from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import PromptRecord
from heedful.stages import align
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_tokenizer
from heedful.testing.tiny import save_model

SCORERS = """
def letters(prompts, completions, **columns):
    return [sum(c.isascii() and c.islower() for c in text) / max(1, len(text)) for text in completions]

def broken(prompts, completions, **columns):
    return [None] * len(completions)
"""
SMALL: dict[str, Any] = {
    "iterations": 6,
    "checkpoint_every": 2,
    "policy": {"r": 4, "alpha": 8.0},
    "rollout": {"rows": 8, "max_new_tokens": 6},
    "ppo": {"minibatch_rows": 4, "num_epochs": 2},
    "optimizer": {"lr": 1e-2},
    "reward": {"function": "scorers.py:letters", "missing_eos_value": 0.0},
}
FIGURE = {"mean": 0.25, "low": 0.2, "high": 0.3}
SUMMARY = {
    "title": "Letters",
    "generated": True,
    "verdict": "It writes more letters.",
    "toxicity": {"by": "gold", "before": FIGURE, "after": FIGURE, "change": FIGURE},
    "kl": {"per_sequence": 1.5},
}
KINDS = {"causal": (byte_causal, {}), "encoder_decoder": (byte_encoder_decoder, {"targets": ["q", "v"]})}


def settings(**changes: Any) -> align.Config:
    merged = {
        name: {**value, **changes.get(name, {})} if isinstance(value, dict) else changes.get(name, value)
        for name, value in SMALL.items()
    }
    return align.Config(**{**changes, **merged})


def initial_policy(store: Path, model: Any = None, **facts: Any) -> Artifact:
    """An artifact as `sft` writes it, with an untrained model."""
    identity = Identity("sft", 1, {"model": None, **facts}, 0, versions={"heedful": "0"})
    with Workspace(store, identity.manifest()) as out:
        save_model(out.folder("model"), model or byte_causal(0), byte_tokenizer())
        return out.finish()


def inputs(store: Path, model: Any = None) -> dict[str, Artifact]:
    store.mkdir(parents=True, exist_ok=True)
    (store.parent / "scorers.py").write_text(SCORERS)
    prompts = [PromptRecord(id=f"p{i}", prompt=f"House {i}?") for i in range(12)]
    return {
        "policy": initial_policy(store, model),
        "prompts": artifact_of(store, "data", train__prompts=prompts),
    }


def aligned(store: Path, given: dict[str, Artifact], *, seed: int = 0, **changes: Any) -> Artifact:
    return run_stage(align, settings(**changes), given, store, seed=seed, base=store.parent)


def rows(artifact: Artifact) -> list[dict[str, Any]]:
    return [json.loads(line) for line in artifact.file("metrics.jsonl").read_text().splitlines()]


def run_folder(root: Path, kind: str = "causal", method: str = "lora") -> Path:
    """A run's folder as the runner leaves it: links, run.json, summary.json."""
    build, lora = KINDS[kind]
    given = inputs(root / "store", build(0))
    steps = {"data": given["prompts"], "sft": given["policy"]}
    steps["align"] = aligned(root / "store", given, iterations=2, policy={"method": method, **lora})
    run = root / "runs" / "letters"
    run.mkdir(parents=True)
    for name, artifact in steps.items():
        (run / name).symlink_to(artifact.path)
    (run / "run.json").write_text(json.dumps({"steps": [{"name": name} for name in steps]}))
    (run / "summary.json").write_text(json.dumps(SUMMARY))
    return run
