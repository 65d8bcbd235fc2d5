"""Prompts in, completion records out: what `sample`, `evaluate` and `try` share."""

from __future__ import annotations

from collections.abc import Sequence

from heedful.engines.generation import Sampled, sample
from heedful.engines.rollout import evaluate_in_parts
from heedful.models.policy import LanguagePolicy, Reference
from heedful.models.trunks import PromptTokens
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, PromptRecord

FORWARD_CELLS = 16_384


def answer(
    policy: LanguagePolicy,
    prompts: Sequence[PromptRecord],
    *,
    num_completions: int,
    max_new_tokens: int,
    seed: int,
    source: str | None = None,
    batch_rows: int = 128,
    reference: Reference | None = None,
) -> list[Completion]:
    """Return `num_completions` answers to each prompt, prompt by prompt.

    The k-th answer to a prompt depends on the seed, the prompt's id and k alone. With a `reference`, each record's
    `meta` also tells `kl`: the exact KL to it along the completion, in nats.
    """
    rows = [(prompt, k) for prompt in prompts for k in range(num_completions)]
    context = policy.tokens([prompt.prompt for prompt, _ in rows], room=max_new_tokens)
    seeds = [derive_seed(seed, "answer", prompt.id, k) for prompt, k in rows]
    drawn = sample(policy, context, seeds, max_new_tokens=max_new_tokens, batch_rows=batch_rows)
    kl = [] if reference is None else _sequence_kl(policy, reference, context, drawn)
    return [
        Completion(
            id=f"{prompt.id}/{k}",
            prompt_id=prompt.id,
            prompt=prompt.prompt,
            completion=policy.renderer.completion_text(drawn.actions[i][drawn.mask[i]].tolist()),
            index=k,
            finished=not bool(drawn.truncated[i]),
            num_tokens=int(drawn.mask[i].sum()),
            source=source,
            meta=prompt.meta if reference is None else prompt.meta | {"kl": kl[i]},
        )
        for i, (prompt, k) in enumerate(rows)
    ]


def _sequence_kl(policy: LanguagePolicy, reference: Reference, context: PromptTokens, drawn: Sampled) -> list[float]:
    beside = evaluate_in_parts(policy, reference, context, drawn, FORWARD_CELLS)
    return [float(kl) for kl in beside.exact_kl.sum(1)]
