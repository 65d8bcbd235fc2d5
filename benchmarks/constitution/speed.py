"""Comparisons per second: our local judge beside one plain transformers forward per option, block by block in one run."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heedful.engines.judges.judge_local import LocalJudge
from heedful.engines.judging import Answered, Asked, Manner, Pair, prefixes, questions
from heedful.models.folders import source_digest
from heedful.models.opening import open_generator
from heedful.records.constitution import SHIPPED, read_constitution
from heedful.records.formats import from_hh
from heedful.records.layouts import ANSWERS

BLOCK = 64
"""Comparisons per turn of a side: as many as the stage gives to its judge at once."""
SEED = 11
RESAMPLES = 2000


def real_pairs(data: Path, count: int, longest: int) -> list[Pair]:
    """Return pairs of people's dialogues (hh_rlhf, harmless-base, test) of at most `longest` characters each."""
    path, found = data / "hh_rlhf" / "harmless-base.test.jsonl.gz", []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            one = from_hh(json.loads(line))
            texts = (one.chosen.strip(), one.rejected.strip())
            if texts[0] != texts[1] and len(str(one.prompt)) + sum(map(len, texts)) <= longest:
                found.append(Pair(str(number), one.prompt, (f"{number}/a", f"{number}/b"), texts))
            if len(found) == count:
                return found
    raise SystemExit(f"{path} has only {len(found)} such pairs; ask for fewer with --comparisons")


@torch.no_grad()
def plainly(policy: Any, asked: Sequence[Asked]) -> list[tuple[float, float]]:
    """Return the log-probs of both letters, each by a forward of its option's whole text, as one would write it in transformers."""
    tokenizer, model, found = policy.renderer.tokenizer, policy.bare, []
    for one in asked:
        texts = [tokenizer.bos_token + one.prefix + one.text + option for option in ANSWERS]
        wholes = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        letter = next(i for i, (a, b) in enumerate(zip(*wholes, strict=True)) if a != b)
        said = []
        for whole in wholes:
            logprobs = model(input_ids=torch.tensor([whole]), use_cache=False).logits[0].float().log_softmax(-1)
            said.append(float(logprobs[letter - 1, whole[letter]]))
        found.append((said[0], said[1]))
    return found


def race(model: Path, data: Path, comparisons: int) -> dict[str, Any]:
    """Return seconds per block of each side, and how far their probabilities are apart at most."""
    constitution = read_constitution(SHIPPED / "default.toml")
    policy = open_generator(model)
    judge = LocalJudge(policy, name=model.name, version=source_digest(model)[:20])
    manner = Manner(constitution.usable("comparison"), 1, "both", False, 5, 4, SEED)
    shared = prefixes(constitution, manner)
    put = [one.asked for pair in real_pairs(data, comparisons, 900) for one in questions(pair, manner, shared)]
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    apart = 0.0
    judge.answer(put[:2]), plainly(policy, put[:1])
    for start in range(0, len(put), 2 * BLOCK):
        part = put[start : start + 2 * BLOCK]
        began = time.perf_counter()
        ours = judge.answer(part)
        seconds["ours"].append(time.perf_counter() - began)
        began = time.perf_counter()
        plain = plainly(policy, part)
        seconds["plain"].append(time.perf_counter() - began)
        for one, other in zip(ours, plain, strict=True):
            assert isinstance(one, Answered)
            apart = max(apart, abs(one.p - Answered(logprobs=other).p))
    return {"seconds": seconds, "apart": apart, "questions": len(put)}


def ratio(seconds: dict[str, list[float]]) -> tuple[float, float | None, float | None]:
    """Return how many times as fast ours is, with the interval over resampled blocks, where there are several."""
    ours, plain = np.array(seconds["ours"]), np.array(seconds["plain"])
    value = float(plain.sum() / ours.sum())
    if len(ours) < 2:
        return value, None, None
    draws = np.random.default_rng(SEED).integers(0, len(ours), (RESAMPLES, len(ours)))
    low, high = np.quantile(plain[draws].sum(1) / ours[draws].sum(1), [0.025, 0.975])
    return value, float(low), float(high)
