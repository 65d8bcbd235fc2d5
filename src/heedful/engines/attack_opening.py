"""From settings to whom an attack asks, and to who writes new prompts for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from heedful.engines.targets import LocalTarget, Target
from heedful.models.opening import open_generator
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed

if TYPE_CHECKING:
    from heedful.stages.red_team import Config, WriterGroup


@contextmanager
def open_target(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Iterator[Target]:
    """Open the model that is attacked, and close its connections behind it."""
    yield _local("target", config.target, inputs, config.num_completions, config.max_new_tokens, seed=seed)


@contextmanager
def open_writer(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Iterator[Target]:
    """Open the model that writes new prompts, and close its connections behind it."""
    group = config.generate
    yield _local("generator", group.writer, inputs, 1, group.max_new_tokens, seed=derive_seed(seed, "lists"))


def _local(
    role: str,
    group: WriterGroup,
    inputs: Mapping[str, Artifact],
    num_completions: int,
    max_new_tokens: int,
    *,
    seed: int,
) -> LocalTarget:
    artifact = inputs[role]
    return LocalTarget(
        open_generator(artifact.path / "model", temperature=group.temperature, precision=group.precision),
        name=artifact.stage,
        source=artifact.digest,
        num_completions=num_completions,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
