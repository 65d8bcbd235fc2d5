"""One prompt, two answers: the model before and the model after, with the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from heedful.engines.aligned import aligned_in
from heedful.engines.answering import answer
from heedful.models.opening import open_generator
from heedful.models.policy import LanguagePolicy
from heedful.records.types import Prompt, PromptRecord


def side_by_side(
    run: Path, prompt: Prompt, *, num_completions: int = 1, max_new_tokens: int | None = None, seed: int = 0
) -> Iterator[dict[str, str]]:
    """Yield pairs of answers, `before` and `after`; models stay loaded for the next prompt.

    Args:
        run: a run's folder.
        prompt: text or a chat that ends with the user's turn.
        num_completions: pairs.
        max_new_tokens: by default as many as in training.
        seed: both models draw with the same random numbers.

    Raises:
        ArtifactError: the run has no aligned model.
        DataError: the prompt is too long for a model.
    """
    before, after, limit = _opened(run.resolve())
    asked = [PromptRecord(id="typed", prompt=prompt)]
    sides = [
        answer(policy, asked, num_completions=num_completions, max_new_tokens=max_new_tokens or limit, seed=seed)
        for policy in (before, after)
    ]
    for first, second in zip(*sides, strict=True):
        yield {"before": first.completion, "after": second.completion}


@lru_cache(maxsize=1)
def _opened(run: Path) -> tuple[LanguagePolicy, LanguagePolicy, int]:
    found = aligned_in(run)
    temperature = float(found.rollout["temperature"])
    before, after = (
        open_generator(artifact.file("model"), temperature=temperature) for artifact in (found.before, found.after)
    )
    return before, after, int(found.rollout["max_new_tokens"])
