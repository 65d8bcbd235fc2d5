"""Prompts in, completion records out: what `sample`, `evaluate` and `try` share."""

from __future__ import annotations

import json
from collections.abc import Sequence

from heedful.engines.generation import Sampled, sample
from heedful.engines.memory import ForwardBudget, decoding_budget
from heedful.engines.rollout import evaluate_in_parts
from heedful.models.policy import LanguagePolicy, Reference
from heedful.models.trunks import PromptTokens
from heedful.records.artifacts import Workspace
from heedful.records.files import write_json
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, PromptRecord

FORWARD_CELLS = 16_384
BATCH_ROWS = 128


def stored_decoding(out: Workspace) -> ForwardBudget:
    """Return how many rows a stage decodes together; after a kill it is what an earlier try came down to for want of memory."""
    path = out.folder("parts") / "decoded_rows.json"
    rows = int(json.loads(path.read_text())) if path.is_file() else BATCH_ROWS
    return decoding_budget(rows, noted=lambda now: write_json(path, now))


def answer(
    policy: LanguagePolicy,
    prompts: Sequence[PromptRecord],
    *,
    num_completions: int,
    max_new_tokens: int,
    seed: int,
    source: str | None = None,
    decoding: ForwardBudget | None = None,
    reference: Reference | None = None,
) -> list[Completion]:
    """Return `num_completions` answers to each prompt, prompt by prompt.

    The k-th answer to a prompt depends on the seed, the prompt's id and k alone; `decoding` is how many are decoded together. With
    a `reference`, each record's `meta` also tells `kl`: the exact KL to it along the completion, in nats.
    """
    rows = [(prompt, k) for prompt in prompts for k in range(num_completions)]
    context = policy.tokens([prompt.prompt for prompt, _ in rows], room=max_new_tokens)
    seeds = [derive_seed(seed, "answer", prompt.id, k) for prompt, k in rows]
    drawn = sample(
        policy, context, seeds, max_new_tokens=max_new_tokens, budget=decoding or decoding_budget(BATCH_ROWS)
    )
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
