"""collect: rankings of the completions, from a file made elsewhere or from a panel of simulated labelers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from heedful.errors import ConfigError, DataError
from heedful.feedback.quality import answers_by_task, by_task
from heedful.feedback.ranking_files import read_rankings
from heedful.feedback.simulated import Fault, SimulatedLabeler, SimulatedTask, agreement_with_utilities, rank_tasks
from heedful.numerics.agreement import team_agreement
from heedful.numerics.rankings import MAX_ITEMS
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_file
from heedful.records.paths import resolve
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Ranking
from heedful.stages.groups import check_world
from heedful.stages.spec import InputSpec, StageConfig

if TYPE_CHECKING:
    from heedful.worlds import World

VERSION = 1
USES_TORCH = False
INPUTS = {"completions": InputSpec(stages=("sample",))}


class PanelMember(StageConfig):
    """One simulated labeler."""

    name: str = Field(min_length=1)
    """As it appears in the records."""
    noise: float = Field(default=0.87, ge=0)
    """What the labeler adds to a completion's utility, in standard deviations of utility within a task; 0.87 gives about
    72 % agreement between two careful labelers where utilities are normal."""
    fault: Fault | None = None
    """A planted fault: reversed, random, as_displayed or length; none for a careful labeler."""
    tie_width: float = Field(default=0.15, ge=0)
    """Completions that look less than this apart are tied; same unit as noise."""
    marks_fails: bool = True
    """Whether nonsense gets an F (careful labelers only)."""


class Config(StageConfig):
    """Settings of `collect`. Give either `rankings`, or `panel` and `world`."""

    criterion: str = Field(min_length=1)
    """What "better" means, as labelers read it."""
    rankings: str | None = None
    """A file of rankings: JSON Lines or CSV, relative to the recipe; $NAME and ~ are expanded."""
    panel: tuple[PanelMember, ...] = ()
    """Simulated labelers."""
    world: str | None = None
    """The generated world whose gold utility the simulated labelers see."""
    overlap: int = Field(default=3, ge=1)
    """Answers per task, in labelers; from 3 on it can be said who of those who disagree is off."""


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError unless the rankings have one source."""
    if (config.rankings is None) == (not config.panel):
        raise ConfigError("rankings: they come from one source; give either `rankings` (a file) or `panel`")
    if config.panel and config.world is None:
        raise ConfigError("world: it is not set; a panel needs a generated world, such as world = 'household'")
    if config.rankings is not None and config.world is not None:
        raise ConfigError("world: it is for a panel only; take it out, or give `panel` in place of `rankings`")
    if config.world is not None:
        check_world(config.world)


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digest of the rankings file, or the version of the world."""
    if config.rankings is not None:
        return {"rankings": sha256_file(_rankings_path(config.rankings, base))}
    return {"world": f"{config.world} {_world(config).version}"}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `rankings.jsonl` and `labelers.json` (planted faults, who is careful, agreement)."""
    completions = inputs["completions"].records("completions", Completion)
    if config.rankings is not None:
        path = _rankings_path(config.rankings, out.base)
        rankings = read_rankings(path, completions, criterion=config.criterion)
        about: dict[str, JsonValue] = {"planted": {}, "careful": [], "agreement_with_gold": None}
    else:
        tasks = _tasks(completions, _world(config))
        panel = [SimulatedLabeler(**dict(member)) for member in config.panel]
        panel_seed = derive_seed(seed, "collect")
        rankings = rank_tasks(tasks, panel, overlap=config.overlap, criterion=config.criterion, seed=panel_seed)
        about = _about_panel(panel, tasks, rankings, panel_seed)
    about |= {"agreement": _agreement(rankings, seed), "labelers": [*sorted({r.labeler for r in rankings})]}
    out.write("rankings", rankings)
    out.write_json("labelers.json", about)
    counts: dict[str, JsonValue] = {"rankings": len(rankings), "tasks": len({r.task_id for r in rankings})}
    return out.finish(metrics={**counts, "labelers": len({r.labeler for r in rankings})})


def _rankings_path(text: str, base: Path) -> Path:
    path = resolve(text, base)
    if not path.is_file():
        raise DataError("no such file", path=path, fix="check the path (relative ones start at the recipe's folder)")
    return path


def _world(config: Config) -> World:
    from heedful.worlds import get_world

    return get_world(config.world or "")


def _tasks(completions: Sequence[Completion], world: World) -> list[SimulatedTask]:
    """Return one task per prompt, in order of appearance, with gold's utilities.

    Raises:
        DataError: a prompt with one completion, or with more than a consensus takes.
    """
    groups: dict[str, list[Completion]] = defaultdict(list)
    for completion in completions:
        groups[completion.prompt_id].append(completion)
    for prompt_id, group in groups.items():
        if not 2 <= len(group) <= MAX_ITEMS:
            problem = f"prompt '{prompt_id}' has {len(group)} completions; a ranking takes 2 to {MAX_ITEMS}"
            raise DataError(problem, field="completions", fix="set sample.num_completions accordingly")
    return [
        SimulatedTask(
            task_id=prompt_id,
            completions=tuple(group),
            utilities=tuple(world.utility(one.prompt, one.completion) for one in group),
            fails=tuple(world.is_fail(one.prompt, one.completion) for one in group),
        )
        for prompt_id, group in groups.items()
    ]


def _about_panel(
    panel: Sequence[SimulatedLabeler], tasks: Sequence[SimulatedTask], rankings: Sequence[Ranking], seed: int
) -> dict[str, JsonValue]:
    """Return who is planted, who is careful, and how well the careful ones agree with gold and with each other."""
    careful = [member.name for member in panel if member.fault is None]
    theirs = [ranking for ranking in rankings if ranking.labeler in careful]
    utilities = {
        completion.id: utility
        for task in tasks
        for completion, utility in zip(task.completions, task.utilities, strict=True)
    }
    gold = agreement_with_utilities(theirs, utilities, seed=seed)
    return {
        "planted": {member.name: member.fault for member in panel if member.fault is not None},
        "careful": [*careful],
        "agreement_with_gold": gold.figures() if gold else None,
        "careful_agreement": _agreement(theirs, seed),
    }


def _agreement(rankings: Sequence[Ranking], seed: int) -> dict[str, JsonValue] | None:
    """Return S2: the share of pairs ordered alike, of those that both labelers ordered."""
    found = team_agreement(answers_by_task(by_task(rankings)), "S2", seed=seed)
    return found.figures() if found else None
