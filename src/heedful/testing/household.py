"""Completions without a model: demonstrations of the household world with a small model's slips, in the place of samples."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from heedful.records.types import Completion
from heedful.worlds import get_world

ANOTHERS, BROKEN_OFF = 0.5, 0.05
"""How often the answer belongs to another prompt, and how often it breaks off after three words: about as the quickstart's model,
of whose samples gold holds 6 % for nonsense."""


def household_samples(seed: int = 0, *, prompts: int = 200, each: int = 4) -> list[Completion]:
    """Return `each` answers to each of the first prompts that are to be labeled, as if a small model had written them."""
    files: Any = get_world("household").generate(seed)
    texts: dict[str, list[str]] = defaultdict(list)
    for demonstration in files["train.demonstrations"]:
        texts[demonstration.prompt].append(demonstration.completion)
    asked = [prompt for prompt in files["train.prompts"] if prompt.meta["labeled"]][:prompts]
    rng = np.random.default_rng(seed)
    return [
        Completion(
            id=f"{prompt.id}/{k}",
            prompt_id=prompt.id,
            prompt=prompt.prompt,
            completion=_slipped(texts[prompt.prompt][k], texts[asked[rng.integers(len(asked))].prompt][k], rng),
            index=k,
        )
        for prompt in asked
        for k in range(each)
    ]


def _slipped(own: str, anothers: str, rng: np.random.Generator) -> str:
    text = anothers if rng.random() < ANOTHERS else own
    return " ".join(text.split()[:3]) if rng.random() < BROKEN_OFF else text
