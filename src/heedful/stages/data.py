"""data: prompts, demonstrations, pairs, rankings, labels and ratings, from files, the hub or a generated world, in splits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from heedful.errors import DataError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_file
from heedful.records.importing import Source, SplitBook, columns_problem, import_source, shares_problem
from heedful.records.paths import resolve
from heedful.stages.groups import check_world
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 1
USES_TORCH = False
INPUTS: dict[str, InputSpec] = {}

Split = Literal["train", "tune", "heldout"]


class SourceGroup(StageConfig):
    """One file or hub data set, and what its columns mean."""

    path: str | None = None
    """The file: JSON Lines (also .gz), JSON, CSV, TSV or Parquet; relative to the recipe's folder."""
    hub: str | None = None
    """A data set on the hub instead of a file, such as "knkarthick/dialogsum"."""
    subset: str | None = None
    """The hub data set's configuration, where it has several."""
    hub_folder: str | None = None
    """The hub data set's folder, such as "helpful-base", where its parts lie in folders."""
    hub_split: str = "train"
    """The hub data set's own split."""
    revision: str | None = None
    """The hub data set's commit; without one the newest is taken, and the digest cannot see it change."""
    format: Literal["auto", "jsonl", "json", "csv", "parquet", "trl", "hh"] = "auto"
    """How to read it; `auto` goes by the file's ending. `trl` and `hh` are the row formats of TRL and of Anthropic's dialogues."""
    kind: Literal["prompts", "demonstrations", "preferences", "labeled", "ratings", "rankings"] = "prompts"
    """What the rows are."""
    columns: dict[str, str] = {}
    """Our name to the file's column: prompt, completion, chosen, rejected, margin, label, rating, completions, ranking, id, group.
    The same name by default."""
    prompt_template: str | None = None
    """The prompt with `{column}` where a row's text goes, instead of a prompt column."""
    chat: bool = False
    """Make a text prompt a chat: the one turn of a user, or the turns of an `hh` dialogue."""
    split: Split | dict[Split, float] = "train"
    """Where the rows go; or shares such as { train = 0.9, tune = 0.1 }, decided by a hash of the prompt (or of `group`),
    the same for every seed."""
    where: dict[str, JsonValue] = {}
    """Only rows whose columns have these values; a list means any of its values."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows, after `where`."""
    wanted: list[JsonValue] | None = None
    """For `labeled`: the values of the label column that mean the wanted class; by default true."""
    wanted_below: float | None = None
    """For `labeled`: instead, label values below this number mean the wanted class."""
    empty: Literal["refuse", "drop"] = "refuse"
    """What happens to a row with an empty prompt or answer, or with two answers that are the same."""
    meta: list[str] | None = None
    """Columns to keep beside the record; by default all that are not used otherwise."""
    mark: dict[str, JsonValue] = {}
    """Values to put beside every record, such as { kind = "harmful" }; later stages choose by them (`where`)."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("either path or hub was expected, and not both")
        problem = shares_problem(self.split) or columns_problem(self.columns, self.kind, self.format)
        if problem is not None:
            raise ValueError(problem)
        if self.wanted is not None and self.wanted_below is not None:
            raise ValueError("wanted or wanted_below was expected, not both")
        return self


class Config(StageConfig):
    """Settings of `data`."""

    sources: list[SourceGroup] = []
    """Files and hub data sets; rows of the same kind and split are put together, in this order."""
    world: str | None = None
    """A generated world instead, such as "household"."""
    overlap: Literal["refuse", "drop"] = "refuse"
    """What happens when a prompt stands in two splits: an error, or its rows stay only in the split furthest from training
    (heldout before tune before train)."""

    @model_validator(mode="after")
    def _some_data(self) -> Self:
        if bool(self.sources) == (self.world is not None):
            raise ValueError("either a list of sources or a world was expected")
        return self


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where the world is unknown."""
    if config.world is not None:
        check_world(config.world)


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the sha256 of each file, the revision of each hub data set, the version of the world."""
    digests = {}
    for number, source in enumerate(config.sources):
        if source.path is not None:
            path = resolve(source.path, base)
            if not path.is_file():
                raise DataError(
                    "no such file", path=path, fix="check the path (relative ones start at the recipe's folder)"
                )
            digests[f"sources.{number}.{source.path}"] = sha256_file(path)
        else:
            digests[f"sources.{number}.{source.hub}"] = source.revision or "newest"
    if config.world is not None:
        from heedful.worlds import get_world

        digests["world"] = f"{config.world} {get_world(config.world).version}"
    return digests


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `<split>.<kind>.jsonl` for each split and kind that has rows."""
    if config.world is not None:
        return _from_world(config.world, out, seed)
    book = SplitBook()
    for group in config.sources:
        place = str(group.hub) if group.path is None else str(resolve(group.path, out.base))
        import_source(Source(place=place, **group.model_dump(exclude={"path"})), book)
    dropped = book.resolve_overlaps(drop=config.overlap == "drop")
    counts = {name: out.write(name, records) for name, records in book.files().items()}
    return out.finish(metrics={**counts}, facts={"dropped_for_overlap": dropped, "dropped_as_empty": book.empty})


def _from_world(name: str, out: Workspace, seed: int) -> Artifact:
    from heedful.worlds import get_world

    world = get_world(name)
    counts = {file: out.write(file, records) for file, records in world.generate(seed).items()}
    return out.finish(metrics={**counts}, facts={"title": world.title, "generated": True})
