"""Completions without a model: the household world's demonstrations in the place of samples."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from heedful.records.types import Completion
from heedful.worlds import get_world


def household_samples(seed: int = 0, *, prompts: int = 200, each: int = 4) -> list[Completion]:
    """Return the first `each` demonstrations of the first prompts that are to be labeled, as if a model had written them."""
    files: Any = get_world("household").generate(seed)
    texts: dict[str, list[str]] = defaultdict(list)
    for demonstration in files["train.demonstrations"]:
        texts[demonstration.prompt].append(demonstration.completion)
    asked = [prompt for prompt in files["train.prompts"] if prompt.meta["labeled"]][:prompts]
    return [
        Completion(
            id=f"{prompt.id}/{k}",
            prompt_id=prompt.id,
            prompt=prompt.prompt,
            completion=texts[prompt.prompt][k],
            index=k,
        )
        for prompt in asked
        for k in range(each)
    ]
