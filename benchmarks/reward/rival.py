"""The rival's half of the part `hh`: TRL's RewardTrainer on the same tokens, backbone, epochs and batches; in its own environment.

    work/trl116/bin/python benchmarks/reward/rival.py --pairs work/hh-0.json --out rows/hh-0-trl.json

`--pairs` holds the token ids of both sides of every pair, as our backbone reads them, and the encoder's folder. Nothing of TRL is
changed; gradient checkpointing, its default, is off, because it costs time and this model needs none.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    given = json.loads(args.pairs.read_text(encoding="utf-8"))
    found = run(given)
    beside = args.out.with_suffix(".tmp")
    beside.write_text(json.dumps(found), encoding="utf-8")
    beside.replace(args.out)


def run(given: dict[str, Any]) -> dict[str, Any]:
    """Return prompts and scores of the held-out pairs, seconds and peak memory."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        model = AutoModelForSequenceClassification.from_pretrained(given["encoder"], num_labels=1)
        tokenizer = AutoTokenizer.from_pretrained(given["encoder"])
        config = RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=given["pairs"],
            num_train_epochs=given["epochs"],
            learning_rate=given["lr"],
            lr_scheduler_type="linear",
            warmup_steps=0,
            weight_decay=0.0,
            max_length=None,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=given["seed"],
        )
        ids = {f"{side}_ids": [pair[side] for pair in given["train"]] for side in ("chosen", "rejected")}
        trainer = RewardTrainer(
            model=model, args=config, train_dataset=Dataset.from_dict(ids), processing_class=tokenizer
        )
        trainer.train()
        trainer.save_model(folder)
        cost = {"seconds": time.perf_counter() - started, "peak_mib": peak_mib(), "imports_mib": before}
    model.eval()
    sides = [
        scores(model, [pair[side] for pair in given["test"]], tokenizer.pad_token_id) for side in ("chosen", "rejected")
    ]
    rows = zip(given["test"], *sides, strict=True)
    return {"scores": [(pair["prompt"], chosen, rejected) for pair, chosen, rejected in rows], **cost}


def scores(model: Any, texts: list[list[int]], pad: int) -> list[float]:
    """Return the reward of each text, in batches of one length each."""
    import torch

    found = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with torch.no_grad():
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            width = max(len(texts[i]) for i in part)
            ids = torch.tensor([texts[i] + [pad] * (width - len(texts[i])) for i in part])
            mask = torch.tensor([[1] * len(texts[i]) + [0] * (width - len(texts[i])) for i in part])
            logits = model(input_ids=ids, attention_mask=mask).logits[:, 0]
            for i, value in zip(part, logits.tolist(), strict=True):
                found[i] = value
    return found


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
