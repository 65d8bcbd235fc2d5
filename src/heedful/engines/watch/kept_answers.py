"""Answers of each rollout, kept so that what a run did to them can be looked at afterwards: `answers.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence

from heedful.engines.rollout import Answers
from heedful.records.artifacts import Workspace
from heedful.records.files import sync, whole_file
from heedful.records.types import Completion, PromptRecord

ANSWERS = "answers.jsonl"
MOST_ROWS = 256
"""Answers kept of one iteration; the first ones, which are to prompts in random order."""


class AnswerLog:
    """answers.jsonl of a run in the making: one completion per line, its `meta` with `iteration` and `score`."""

    def __init__(self, out: Workspace) -> None:
        self._path = out.path / ANSWERS

    def write(self, iteration: int, prompts: Sequence[PromptRecord], answers: Answers) -> None:
        """Append the answers of a rollout, on disk before this returns."""
        rows = zip(prompts, answers.completions, answers.scores, strict=True)
        with self._path.open("ab") as stream:
            for row, (prompt, completion, score) in list(enumerate(rows))[:MOST_ROWS]:
                kept = Completion(
                    id=f"{iteration}/{row}",
                    prompt_id=prompt.id,
                    prompt=prompt.prompt,
                    completion=completion,
                    meta={"iteration": iteration, "score": score},
                )
                stream.write(kept.model_dump_json().encode() + b"\n")
        sync(self._path)

    def truncate(self, iterations: int) -> None:
        """Keep the answers of the first `iterations` iterations: those up to the checkpoint that a run goes on from."""
        if not self._path.is_file():
            return
        # what a kill left of an unfinished line is no answer
        lines = self._path.read_bytes().split(b"\n")[:-1]
        kept = [line for line in lines if _iteration(line) < iterations]
        with whole_file(self._path) as stream:
            stream.writelines(line + b"\n" for line in kept)


def _iteration(line: bytes) -> int:
    found = Completion.model_validate_json(line).meta["iteration"]
    assert isinstance(found, int)
    return found
