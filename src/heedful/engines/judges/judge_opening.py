"""From settings to a judge: a language model or a preference model on this machine, or a server with its book of answers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.judges.client_opening import open_client, server_of
from heedful.engines.judges.judge_client import Usage
from heedful.engines.judges.judge_scores import PreferenceJudge
from heedful.engines.judges.judge_server import Asking, ServerJudge
from heedful.engines.judging import Judge
from heedful.records.artifacts import Artifact, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heedful.stages.judges import JudgeGroup, ServerGroup

REWARD_MODEL = "reward.json"
"""What a folder of a reward model holds, and one of a language model does not."""


class Opened:
    """A judge, and what its answers took.

    Args:
        judge: answers comparisons.
        usage: of a server; None for a model on this machine.
        prices: of a million prompt tokens, and of a million that the judge writes.
    """

    def __init__(
        self,
        judge: Judge | PreferenceJudge,
        usage: Usage | None = None,
        prices: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.judge = judge
        self._usage, self._prices = usage, prices

    @property
    def remembers(self) -> bool:
        """True where each answer is on disk as soon as it is given."""
        return self._usage is not None

    def figures(self) -> dict[str, JsonValue]:
        """Return requests, tokens and cost of a server; nothing for a model on this machine."""
        return {} if self._usage is None else self._usage.figures("judge", *self._prices)


@contextmanager
def open_judge(group: JudgeGroup, inputs: Mapping[str, Artifact], out: Workspace) -> Iterator[Opened]:
    """Open the judge of a stage, and close its connections behind it."""
    if group.server is not None:
        with _server(group, group.server, out) as opened:
            yield opened
    else:
        source = preference_source(group, inputs, out.base)
        yield Opened(_local(group, inputs, out) if source is None else _preferring(source, group, inputs))


def preference_source(group: JudgeGroup, inputs: Mapping[str, Artifact], base: Path) -> Path | None:
    """Return the folder of the reward model that judges; None where a language model does.

    Raises:
        ModelError: the judge's folder is not there.
    """
    if group.server is not None:
        return None
    folder = Path(_source(group, inputs, base))
    return folder if (folder / REWARD_MODEL).is_file() else None


@contextmanager
def _server(group: JudgeGroup, settings: ServerGroup, out: Workspace) -> Iterator[Opened]:
    asking = Asking(
        model=settings.model,
        api=settings.api,
        top_logprobs=settings.top_logprobs,
        votes=settings.votes,
        thought_tokens=group.thought_tokens,
        concurrency=settings.concurrency,
    )
    with open_client(settings, "judge.server", out) as client:
        judge = ServerJudge(client, server_of(settings), asking)
        yield Opened(judge, client.usage, (settings.price_in, settings.price_out))


def _local(group: JudgeGroup, inputs: Mapping[str, Artifact], out: Workspace) -> Judge:
    # torch is needed for a model on this machine only
    from heedful.engines.judges.judge_local import LocalJudge
    from heedful.models.opening import open_generator

    source = _source(group, inputs, out.base)
    name, version = _identity(source, group, inputs)
    return LocalJudge(
        open_generator(source, precision=group.precision),
        name=name,
        version=version,
        batch_rows=group.batch_rows,
        thought_tokens=group.thought_tokens,
    )


def _preferring(source: Path, group: JudgeGroup, inputs: Mapping[str, Artifact]) -> PreferenceJudge:
    from heedful.models.reward import load_reward_model

    name, version = _identity(source, group, inputs)
    return PreferenceJudge(load_reward_model(source), name=name, version=version)


def _source(group: JudgeGroup, inputs: Mapping[str, Artifact], base: Path) -> str | Path:
    """Return the model that judges on this machine: the folder or hub name that is set, else that of the input."""
    from heedful.models.folders import resolve_source

    return resolve_source(group.model, base) if group.model else inputs["judge"].path / "model"


def _identity(source: str | Path, group: JudgeGroup, inputs: Mapping[str, Artifact]) -> tuple[str, str]:
    """Return what labels call a judge on this machine, and the digest of what decides its answers."""
    from heedful.models.folders import source_digest

    if group.model:
        return group.model, source_digest(source)[:20]
    return str(inputs["judge"].stage), inputs["judge"].content_digest[:20]
