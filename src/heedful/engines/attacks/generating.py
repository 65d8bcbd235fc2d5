"""New prompts for an attack: lists are gone on with until there are enough new ones, or enough was tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from heedful.engines.attacks.attack_opening import open_lister
from heedful.engines.attacks.proposing import GENERATED, ORIGIN, Collected, example_of, lists, read_items
from heedful.engines.attacks.targets import Target
from heedful.engines.progress import say
from heedful.engines.skipping import Skips
from heedful.errors import DataError, HealthError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.types import Completion, PromptRecord, Unanswered

if TYPE_CHECKING:
    from pydantic import JsonValue

    from heedful.stages.red_team import Config, GenerateGroup

STAGE = "red_team"
ROUND = 1024
"""Lists that are made at once."""
SHARD_LISTS = 32
"""Lists that are gone on with before it is asked whether there are enough; part of the contract with a killed run."""
LEAST_LISTS = 32
"""Lists after which the share of skipped ones is looked at: of few lists a share says little."""


@dataclass(frozen=True)
class Generated:
    """What came of it.

    Args:
        found: new prompts, in the order in which they came.
        duplicates: what was dropped, with the id of what it is `like` and its `similarity`.
        lists: texts that were gone on with.
        skips: those of them that were not.
        figures: what a server took.
    """

    found: list[PromptRecord]
    duplicates: list[PromptRecord]
    lists: int
    skips: Skips
    figures: dict[str, JsonValue] = field(default_factory=dict)


def new_prompts(
    config: Config, given: Sequence[PromptRecord], inputs: Mapping[str, Artifact], out: Workspace, *, seed: int
) -> Generated:
    """Return the new prompts that the settings ask for; none where they ask for none.

    Raises:
        HealthError: too many lists were skipped, or no list gave a new prompt.
        DataError: no given prompt can be an example.
    """
    group = config.generate
    skips = Skips(STAGE, "lists", config.max_skipped)
    if not group.num_prompts:
        return Generated([], [], 0, skips)
    known = [*given, *(PromptRecord(id=f"example-{i}", prompt=text) for i, text in enumerate(group.examples))]
    collected = Collected(known, group.num_prompts, group.max_similarity, {ORIGIN: GENERATED})
    asked = 0
    with open_lister(config, inputs, out, seed=seed) as writer:
        for written in _written(writer, group, _examples(group, known), out, seed=seed):
            if isinstance(written, Unanswered):
                skips.rows.append(written.model_copy(update={"prompt_id": None}))
            else:
                collected.add(read_items(written.completion, _number(written), ended=written.finished), attempt=asked)
            asked += 1
            if asked >= LEAST_LISTS:
                skips.check(asked)
            if collected.enough:
                break
        figures = writer.figures("writer")
    skips.check(asked)
    _tell(group, collected, asked)
    return Generated(collected.found, collected.duplicates, asked, skips, figures)


def _examples(group: GenerateGroup, known: Sequence[PromptRecord]) -> list[str]:
    """Return what lists are made of, each once, in order."""
    lines = (example_of(record.prompt) for record in known)
    found = list(dict.fromkeys(line for line in lines if line is not None))
    if not found and group.num_examples:
        raise DataError(
            f"none of {len(known)} given prompts is a single turn with a word in it, so none can be an example",
            fix="give generate.examples, or set generate.num_examples = 0",
        )
    return found


def _written(
    writer: Target, group: GenerateGroup, examples: Sequence[str], out: Workspace, *, seed: int
) -> Iterator[Completion | Unanswered]:
    """Yield what the writer makes of the lists, round by round, for as long as it is asked."""
    most = group.max_tries * group.num_prompts
    for start in range(0, most, ROUND):
        places = range(start, min(start + ROUND, most))
        rows = lists(group.title, examples, group.num_examples, places, seed=seed)
        yield from writer.answers(rows, out, name=f"lists-{start // ROUND:04d}", shard_rows=SHARD_LISTS)


def _number(written: Completion) -> int:
    """Return the number that the list ends with."""
    return int(str(written.prompt).rsplit("\n", 1)[-1].removesuffix("."))


def _tell(group: GenerateGroup, collected: Collected, asked: int) -> None:
    """Say what is missing; HealthError where all of it is."""
    found, dropped = len(collected.found), len(collected.duplicates)
    told = f"{asked} lists gave {found} new prompts of the {group.num_prompts} wanted; {dropped} near-duplicates were dropped"
    if not found:
        raise HealthError(
            f"{told}; choose a writer that can go on with a list, or raise generate.max_new_tokens or generate.max_similarity"
        )
    if found < group.num_prompts:
        say(f"{STAGE}: {told}")
