"""From settings to whom an attack asks, and to who writes new prompts for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heedful.engines.attacks.server_target import ServerTarget
from heedful.engines.attacks.targets import LocalTarget, Target
from heedful.engines.judges.text_server import open_text_server
from heedful.models.folders import resolve_source, source_digest
from heedful.models.opening import open_generator
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed

if TYPE_CHECKING:
    from heedful.stages.red_team import Config
    from heedful.stages.writers import WriterGroup

Inputs = Mapping[str, Artifact]


@dataclass(frozen=True)
class _Asking:
    """How much is asked of whom: the input's role, the settings' place, answers per prompt, tokens, and the seed of all draws."""

    role: str
    place: str
    num_completions: int
    max_new_tokens: int
    seed: int
    lists: bool = False


def open_target(config: Config, inputs: Inputs, out: Workspace, *, seed: int) -> AbstractContextManager[Target]:
    """Open the model that is attacked, and close its connections behind it."""
    asking = _Asking("target", "target", config.num_completions, config.max_new_tokens, seed)
    return _open(config.target, asking, inputs, out)


def open_lister(config: Config, inputs: Inputs, out: Workspace, *, seed: int) -> AbstractContextManager[Target]:
    """Open the model that writes new prompts, and close its connections behind it."""
    seed = derive_seed(seed, "lists")
    asking = _Asking("generator", "generate.writer", 1, config.generate.max_new_tokens, seed, lists=True)
    return _open(config.generate.writer, asking, inputs, out)


@contextmanager
def _open(group: WriterGroup, asking: _Asking, inputs: Inputs, out: Workspace) -> Iterator[Target]:
    if group.server is None:
        yield _local(group, asking, inputs, out)
        return
    opening = open_text_server(
        group.server,
        f"{asking.place}.server",
        out,
        temperature=group.temperature,
        max_new_tokens=asking.max_new_tokens,
    )
    with opening as server:
        yield ServerTarget(server, num_completions=asking.num_completions, seed=asking.seed, lists=asking.lists)


def _local(group: WriterGroup, asking: _Asking, inputs: Inputs, out: Workspace) -> LocalTarget:
    folder: str | Path = resolve_source(group.model, out.base) if group.model else inputs[asking.role].path / "model"
    return LocalTarget(
        open_generator(folder, temperature=group.temperature, precision=group.precision),
        name=group.model or inputs[asking.role].stage,
        source=source_digest(folder)[:20] if group.model else inputs[asking.role].digest,
        num_completions=asking.num_completions,
        max_new_tokens=asking.max_new_tokens,
        seed=asking.seed,
    )
