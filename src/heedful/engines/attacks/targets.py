"""Whom an attack asks: a model on this machine, in its own format of prompts, or one behind a server, as a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from heedful.engines.answering import answer, stored_decoding
from heedful.engines.map import map_shards
from heedful.errors import DataError
from heedful.models.policy import LanguagePolicy
from heedful.records.artifacts import Workspace
from heedful.records.types import Completion, PromptRecord, Unanswered

Answer = Completion | Unanswered


class Target(Protocol):
    """Whoever is asked."""

    def answers(
        self, prompts: Sequence[PromptRecord], out: Workspace, *, name: str, shard_rows: int
    ) -> Iterator[Answer]:
        """Yield every answer to every prompt, in order, or why there is none; each from (seed, prompt's id, k) alone.

        Args:
            prompts: what is asked.
            out: keeps what was answered until the stage is finished.
            name: tells the askings of one stage apart.
            shard_rows: prompts that are answered together.
        """
        ...

    def figures(self, name: str) -> dict[str, JsonValue]:
        """Return what a server took, under names that begin with `name`."""
        ...

    def facts(self) -> dict[str, JsonValue]:
        """Return what a model on this machine came down to for want of memory."""
        ...


class LocalTarget:
    """A model on this machine. A prompt that does not fit its context is skipped; any other that it cannot read is refused.

    Args:
        policy: the model.
        name: what skips call it.
        source: goes into the answers' `source`.
        num_completions: per prompt.
        max_new_tokens: EOS included.
        seed: of all draws.
    """

    def __init__(
        self, policy: LanguagePolicy, *, name: str, source: str, num_completions: int, max_new_tokens: int, seed: int
    ) -> None:
        self._policy, self._name, self._source = policy, name, source
        self._number, self._room, self._seed = num_completions, max_new_tokens, seed
        self._decoded_rows: int | None = None

    def answers(
        self, prompts: Sequence[PromptRecord], out: Workspace, *, name: str, shard_rows: int
    ) -> Iterator[Answer]:
        """Yield the answers; finished shards of an earlier try are not made again."""
        skipped = self._too_long(prompts)
        decoding = stored_decoding(out)

        def shard(rows: Sequence[PromptRecord]) -> list[Completion]:
            return answer(
                self._policy,
                rows,
                num_completions=self._number,
                max_new_tokens=self._room,
                seed=self._seed,
                source=self._source,
                decoding=decoding,
            )

        fitting = [prompt for prompt in prompts if prompt.id not in skipped]
        written = map_shards(fitting, shard, Completion, out, name=name, shard_rows=shard_rows)
        for prompt in prompts:
            for k in range(self._number):
                yield unanswered(prompt, k, skipped[prompt.id], self._name) if prompt.id in skipped else next(written)
        self._decoded_rows = decoding.cells

    def figures(self, name: str) -> dict[str, JsonValue]:
        """Return nothing: a model on this machine asks nobody."""
        return {}

    def facts(self) -> dict[str, JsonValue]:
        """Return how many rows were decoded together at last."""
        return {"decoded_rows": self._decoded_rows}

    def _too_long(self, prompts: Sequence[PromptRecord]) -> Mapping[str, str]:
        """Return why, by the ids of prompts that do not fit the context with an answer.

        Raises:
            DataError: a prompt cannot be read at all; names it.
        """
        renderer = self._policy.renderer
        context, endless = renderer.max_positions, renderer.without_limit()
        found = {}
        for prompt in prompts:
            try:
                tokens = len(endless.prompt_ids(prompt.prompt))
            except DataError as error:
                raise DataError(f"prompt '{prompt.id}': {error}") from None
            if context is not None and tokens + self._room > context:
                found[prompt.id] = (
                    f"context: {tokens} tokens and {self._room} to follow, the model's context is {context}"
                )
        return found


def unanswered(prompt: PromptRecord, k: int, why: str, by: str) -> Unanswered:
    """Return the record of an answer that is not there."""
    return Unanswered(id=f"{prompt.id}/{k}", prompt_id=prompt.id, prompt=prompt.prompt, index=k, skipped=why, by=by)
