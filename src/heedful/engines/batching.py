"""Many callers, one scorer: what waits is scored together, in the order in which it came."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from heedful.engines.scored import score_all
from heedful.models.roles import Scorer
from heedful.records.types import Prompt


@dataclass(frozen=True)
class _Job:
    prompts: list[Prompt]
    completions: list[str]
    scores: Future[list[float]] = field(default_factory=Future)


class Batcher:
    """One thread that scores for all callers; a caller alone is served at once, those that queue up share a batch.

    A score may depend on its batch by rounding, so a single caller who asks one request after the other gets the same numbers
    each time.

    Args:
        scorer: judges text.
        batch_rows: a batch takes further requests until it has so many rows; one request is never split.
    """

    def __init__(self, scorer: Scorer, batch_rows: int) -> None:
        self.scorer = scorer
        self.batch_rows = batch_rows
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Future[list[float]]:
        """Return the scores to come; an error of the scorer is raised where they are read."""
        job = _Job(list(prompts), list(completions))
        self._jobs.put(job)
        return job.scores

    def close(self) -> None:
        """Finish what was asked for, then stop."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, ended = self._with_waiting(job)
            self._score([each for each in batch if each.scores.set_running_or_notify_cancel()])
            if ended:
                return

    def _with_waiting(self, first: _Job) -> tuple[list[_Job], bool]:
        batch, rows = [first], len(first.completions)
        while rows < self.batch_rows:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
            rows += len(job.completions)
        return batch, False

    def _score(self, batch: Sequence[_Job]) -> None:
        if not batch:
            return
        try:
            scores = score_all(
                self.scorer,
                [prompt for job in batch for prompt in job.prompts],
                [text for job in batch for text in job.completions],
            )
        except Exception as error:  # whatever it is belongs to those who asked
            self._failed(batch, error)
            return
        start = 0
        for job in batch:
            job.scores.set_result(scores[start : start + len(job.completions)])
            start += len(job.completions)

    def _failed(self, batch: Sequence[_Job], error: Exception) -> None:
        """One caller's text must not spoil the others' scores: each is tried alone."""
        if len(batch) == 1:
            batch[0].scores.set_exception(error)
            return
        for job in batch:
            self._score([job])
