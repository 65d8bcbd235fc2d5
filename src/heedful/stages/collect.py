"""collect: what people, a panel of simulated labelers, or a file made elsewhere say of the completions: rankings, or thumbs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from heedful.errors import ConfigError, DataError
from heedful.feedback.exchange.exports import split_rulings
from heedful.feedback.exchange.ranking_files import Format, read_rankings
from heedful.feedback.exchange.simulated import Fault, Panel, SimulatedLabeler, SimulatedTask, agreement_with_utilities
from heedful.feedback.trust.quality import answers_by_task, by_task
from heedful.numerics.agreement import team_agreement
from heedful.numerics.rankings import MAX_ITEMS
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_file
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, LabeledText, Ranking
from heedful.stages.asking import PeopleGroup, check_people, existing, from_panel, from_people, newer_answers
from heedful.stages.groups import check_world
from heedful.stages.spec import InputSpec, StageConfig
from heedful.stages.thumbs import finish_thumbs

if TYPE_CHECKING:
    from heedful.worlds import World

VERSION = 2
USES_TORCH = False
INPUTS = {"completions": InputSpec(stages=("sample",))}


class PanelMember(StageConfig):
    """One simulated labeler."""

    name: str = Field(min_length=1, max_length=80)
    """As it appears in the records; up to 80 characters."""
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
    """Settings of `collect`. Give `people`, or `panel` and `world`, or `rankings`."""

    criterion: str = Field(min_length=1, max_length=500)
    """What "better" means, as labelers read it; up to 500 characters."""
    rankings: str | None = None
    """A file of rankings: JSON Lines, JSON or CSV, relative to the recipe; $NAME and ~ are expanded."""
    format: Format = "auto"
    """Whose file it is: `heedful`, `argilla` (records as JSON) or `label_studio` (JSON); `auto` looks."""
    panel: tuple[PanelMember, ...] = ()
    """Simulated labelers; they answer on the labeling site, as people do."""
    world: str | None = None
    """The generated world whose gold the simulated labelers see."""
    measure: str = "utility"
    """What of that gold they rank by; `household-requests` has `worth` too, how good an answer is by the principles."""
    people: PeopleGroup | None = None
    """People answer on the labeling site; `[collect.people]` alone takes all defaults."""
    overlap: int = Field(default=3, ge=1, le=100)
    """Answers per task, in labelers; from 3 on it can be said who of those who disagree is off."""


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError unless the rankings have one source."""
    given = [config.rankings is not None, bool(config.panel), config.people is not None]
    if sum(given) != 1:
        raise ConfigError("rankings: they come from one source; give `people`, `panel`, or `rankings` (a file)")
    if config.panel and config.world is None:
        raise ConfigError("world: it is not set; a panel needs a generated world, such as world = 'household'")
    if not config.panel and config.world is not None:
        raise ConfigError("world: it is for a panel only; take it out, or give `panel` in place of the other source")
    if config.rankings is None and config.format != "auto":
        raise ConfigError("format: it is for a file only; take it out, or give `rankings`")
    if config.world is not None:
        check_world(config.world)
        _check_measure(config)
    for member in config.panel:
        if not member.name.isprintable() or member.name != member.name.strip():
            raise ConfigError("panel: a name needs printable characters, with no blank at either end")
    if config.people is not None:
        check_people(config.people)


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digest of the rankings file or of the instructions, or the version of the world."""
    if config.rankings is not None:
        return {"rankings": sha256_file(existing(config.rankings, base))}
    if config.people is None:
        return {"world": f"{config.world} {_world(config).version}"}
    text = config.people.instructions
    return {} if text is None else {"instructions": sha256_file(existing(text, base))}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `rankings.jsonl` and `labelers.json` (planted faults, who is careful, agreement).

    Thumbs give `train.labeled.jsonl` and `tune.labeled.jsonl` in place of rankings.

    Raises:
        WaitingForPeople: answers are missing; once they are there, the same call goes on.
    """
    source = inputs["completions"]
    completions = source.records("completions", Completion)
    about: dict[str, JsonValue] = {"planted": {}, "careful": [], "agreement_with_gold": None}
    facts: dict[str, JsonValue] = {}
    if config.rankings is not None:
        path = existing(config.rankings, out.base)
        rankings = read_rankings(path, completions, criterion=config.criterion, format=config.format)
    elif config.people is not None:
        _check_sizes(completions, *_sizes(config.people.mode))
        records, facts = from_people(
            config.people, config.criterion, config.overlap, completions, source.content_digest, out
        )
        if config.people.mode == "thumbs":
            labels = [record for record in records if isinstance(record, LabeledText)]
            return finish_thumbs(labels, config.people.tune_fraction, out, facts, seed=derive_seed(seed, "collect"))
        rankings = [record for record in records if isinstance(record, Ranking)]
    else:
        tasks = _tasks(completions, _world(config), config.measure)
        members = tuple(SimulatedLabeler(**dict(member)) for member in config.panel)
        panel = Panel(tuple(tasks), members, derive_seed(seed, "collect"))
        rankings = from_panel(panel, config.criterion, config.overlap, out)
        about = _about_panel(panel, rankings)
    answers, _ = split_rulings(rankings)
    labelers = sorted({ranking.labeler for ranking in answers})
    about |= {"agreement": _agreement(answers, seed), "labelers": [*labelers]}
    out.write("rankings", rankings)
    out.write_json("labelers.json", about)
    counts: dict[str, JsonValue] = {"rankings": len(answers), "tasks": len({r.task_id for r in rankings})}
    return out.finish(metrics={**counts, "labelers": len(labelers)}, facts=facts)


def news(config: Config, artifact: Artifact, base: Path, place: str) -> str | None:
    """Return what people have answered since the artifact was made; None where nothing is new, or nobody was asked."""
    return None if config.people is None else newer_answers(config.people, artifact, base, place)


def feeds(config: Config) -> Collection[str]:
    """Return the roles that the artifact can fill."""
    thumbs = config.people is not None and config.people.mode == "thumbs"
    return ("collect", "labeled" if thumbs else "rankings")


def _sizes(mode: str) -> tuple[int, int]:
    """Return the fewest and the most completions that a task may have."""
    return {"pairwise": (2, 2), "thumbs": (1, MAX_ITEMS)}.get(mode, (2, MAX_ITEMS))


def _world(config: Config) -> World:
    from heedful.worlds import get_world

    return get_world(config.world or "")


def _check_measure(config: Config) -> None:
    known = _world(config).measures
    if config.measure not in known:
        raise ConfigError(
            f"measure: world '{config.world}' has {' and '.join(map(repr, known))}, got {config.measure!r}"
        )


def _tasks(completions: Sequence[Completion], world: World, measure: str) -> list[SimulatedTask]:
    """Return one task per prompt, in order of appearance, with gold's measure as utilities."""
    worth = world.measures[measure]
    return [
        SimulatedTask(
            task_id=prompt_id,
            completions=tuple(group),
            utilities=tuple(worth(one.prompt, one.completion) for one in group),
            fails=tuple(world.is_fail(one.prompt, one.completion) for one in group),
        )
        for prompt_id, group in _check_sizes(completions, 2, MAX_ITEMS).items()
    ]


def _check_sizes(completions: Sequence[Completion], fewest: int, most: int) -> dict[str, list[Completion]]:
    """Return the completions by prompt; DataError for a prompt with too few, or with more than can be compared."""
    groups: dict[str, list[Completion]] = defaultdict(list)
    for completion in completions:
        groups[completion.prompt_id].append(completion)
    for prompt_id, group in groups.items():
        if not fewest <= len(group) <= most:
            what = "a pair takes" if most == 2 else "a ranking takes" if fewest == 2 else "people judge"
            wanted = f"{what} {most}" if most == fewest else f"{what} {fewest} to {most}"
            problem = f"prompt '{prompt_id}' has {len(group)} completions; {wanted}"
            raise DataError(problem, field="completions", fix="set sample.num_completions accordingly")
    return groups


def _about_panel(panel: Panel, rankings: Sequence[Ranking]) -> dict[str, JsonValue]:
    """Return who is planted, who is careful, and how well the careful ones agree with gold and with each other."""
    careful = [member.name for member in panel.members if member.fault is None]
    theirs = [ranking for ranking in rankings if ranking.labeler in careful]
    utilities = {
        completion.id: utility
        for task in panel.tasks
        for completion, utility in zip(task.completions, task.utilities, strict=True)
    }
    gold = agreement_with_utilities(theirs, utilities, seed=panel.seed)
    return {
        "planted": {member.name: member.fault for member in panel.members if member.fault is not None},
        "careful": [*careful],
        "agreement_with_gold": gold.figures() if gold else None,
        "careful_agreement": _agreement(theirs, panel.seed),
    }


def _agreement(rankings: Sequence[Ranking], seed: int) -> dict[str, JsonValue] | None:
    """Return S2: the share of pairs ordered alike, of those that both labelers ordered."""
    found = team_agreement(answers_by_task(by_task(rankings)), "S2", seed=seed)
    return found.figures() if found else None
