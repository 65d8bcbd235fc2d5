"""What `collect` asks of people and of simulated ones: its settings, the round on the store, and what has come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from heedful.errors import ConfigError, DataError, StoreUnavailable, WaitingForPeople
from heedful.feedback.exchange.simulated import Panel, assign
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_json
from heedful.records.paths import filled_in, resolve
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Ranking
from heedful.stages.spec import StageConfig

if TYPE_CHECKING:
    from heedful.feedback.setup.projects import NewProject
    from heedful.feedback.store.database import Database

DATABASE = "labels.sqlite"
"""Where people's answers are kept by default, beside the folder of artifacts."""
_ASKED = ("higher_is_better", "mode", "rating_max", "rating_min")
"""With another of these it is another round."""


class PeopleGroup(StageConfig):
    """A round on the labeling site: people answer there, and the run waits until enough have."""

    database: str | None = None
    """Where answers are kept: a file (relative to the recipe; $NAME and ~ are expanded) or postgresql://...; by default
    labels.sqlite beside the folder of artifacts. An address with a password belongs into a variable, such as $LABELS."""
    mode: Literal["ranking", "pairwise", "rating"] = "ranking"
    """What people do: rank 2 to 9 completions, choose the better of two, or rate each; equal ratings tie."""
    ties: Literal["allow", "discourage", "forbid"] = "discourage"
    """Whether two completions may have the same rank; `discourage` asks again when there are many."""
    title: str | None = Field(default=None, min_length=1, max_length=200)
    """What the round is called; by default as its criterion."""
    instructions: str | None = None
    """A Markdown file that everybody reads first, relative to the recipe; the shipped text by default."""
    content_warning: bool = False
    """Whether texts are blurred until somebody asks to see them."""
    higher_is_better: bool = True
    """False where a high rating is bad."""
    rating_min: int = 1
    """The lowest rating."""
    rating_max: int = 7
    """The highest rating."""
    gold_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of a labeler's tasks whose answer is known; managers make them on the site."""
    repeat_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of a labeler's tasks that they have answered before."""
    quota: float = Field(default=1.0, gt=0, le=1)
    """Share of tasks that must have all their answers before the run goes on."""
    snapshot: int = Field(default=1, ge=1)
    """Which taking of the answers this is: the next number takes those that have come in since."""


def check_people(people: PeopleGroup) -> None:
    """Raise ConfigError for a scale that goes down, and for a password in a recipe."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if people.rating_min >= people.rating_max:
        raise ConfigError("people.rating_max: expected more than rating_min")
    if people.database is None or "://" not in people.database:
        return
    try:
        password = make_url(people.database).password
    except ArgumentError:
        raise ConfigError(f"people.database: no address of a database: {people.database}") from None
    if password:
        fix = "put the address into a variable, and write its name: database = '$LABELS'"
        raise ConfigError(f"people.database: it holds a password, and recipes are kept with their runs; {fix}")


def from_people(
    people: PeopleGroup, criterion: str, overlap: int, completions: Sequence[Completion], digest: str, out: Workspace
) -> tuple[list[Ranking], dict[str, JsonValue]]:
    """Return what people have answered, and what the manifest says of it; open the round where it is not.

    Args:
        people: the settings.
        criterion: what "better" means.
        overlap: answers per task.
        completions: what is asked about.
        digest: of the completions' artifact.
        out: where the stage works.

    Raises:
        WaitingForPeople: the quota is not met.
    """
    from heedful.feedback.exchange.releases import rankings as released
    from heedful.feedback.exchange.rounds import Round, arrived, open_round, standing, tasks_of

    tasks = tasks_of(completions)
    address = _address(people, out.base, out.final.parent)
    with _opened(address) as database:
        project = open_round(database, _project(people, criterion, overlap, digest, out.base), tasks)
        so_far = database.read(lambda s: standing(s, project))
        if not so_far.meets(people.quota):
            found = Round(address, database.name, project, people.quota)
            missing = f"{so_far.answers} of {so_far.wanted} answers are in"
            raise WaitingForPeople(missing, address=found.page, round=found)
        counts, rankings = database.read(
            lambda s: (arrived(s, project), list(released(s, project, include_rulings=True)))
        )
    return rankings, {
        "project": project,
        "snapshot": people.snapshot,
        "answers": counts.answers,
        "rulings": counts.rulings,
        "excluded": [*counts.excluded],
        "arrived": sha256_json([ranking.model_dump(mode="json") for ranking in rankings]),
    }


def from_panel(panel: Panel, criterion: str, overlap: int, out: Workspace) -> list[Ranking]:
    """Return what the panel has answered, on a store of its own that lasts until the artifact is finished.

    Raises:
        WaitingForPeople: they have not answered all.
    """
    from heedful.feedback.exchange.rounds import Round, open_panel_round, simulated_rankings, standing, tasks_of
    from heedful.feedback.setup.projects import NewProject

    names = [member.name for member in panel.members]
    task_ids = [task.task_id for task in panel.tasks]
    assigned = assign(task_ids, names, overlap, seed=panel.seed)
    tasks = tasks_of([one for task in panel.tasks for one in task.completions])
    new = NewProject(name="panel", title="Panel", criterion=criterion, overlap=overlap, ties="allow", listed=True)
    address = str(out.folder("parts") / DATABASE)
    with _opened(address) as database:
        seed = derive_seed(panel.seed, "display")
        project = open_panel_round(database, new, tasks, assigned, names, seed=seed)
        so_far = database.read(lambda s: standing(s, project))
        if not so_far.meets(1.0):
            found = Round(address, database.name, project, panel=panel)
            missing = f"simulated people have given {so_far.answers} of {so_far.wanted} answers"
            raise WaitingForPeople(missing, address=found.page, round=found)
        return database.read(lambda s: simulated_rankings(s, project, task_ids))


def newer_answers(people: PeopleGroup, artifact: Artifact, base: Path, place: str) -> str | None:
    """Return what has come in since the artifact was made, and how to take it; None where nothing has.

    Args:
        people: the settings.
        artifact: as it was made.
        base: the recipe's folder.
        place: what the stage's settings begin with in `--set`.
    """
    from heedful.feedback.exchange.rounds import arrived

    facts = artifact.facts
    address = _address(people, base, artifact.path.parent)
    file = _file_of(address)
    if file is not None and not file.is_file():
        return None
    try:
        with _opened(address) as database:
            now = database.read(lambda s: arrived(s, int(str(facts["project"]))))
    except StoreUnavailable as error:
        return f"whether there are newer answers is not known: {error}"
    newer = now.answers - int(str(facts["answers"]))
    changed = now.rulings != facts["rulings"] or [*now.excluded] != facts["excluded"]
    if not newer and not changed:
        return None
    found = [f"{newer} newer answers"] if newer else []
    found += ["other rulings or exclusions"] if changed else []
    return f"{' and '.join(found)} since; to take them: --set {place}people.snapshot={people.snapshot + 1}"


def _project(people: PeopleGroup, criterion: str, overlap: int, digest: str, base: Path) -> NewProject:
    """Return the round's project. Its name is that of the completions and of what is asked about them."""
    from heedful.feedback.exchange.rounds import default_instructions, round_name
    from heedful.feedback.setup.projects import NewProject

    settings = people.model_dump(exclude={"database", "title", "instructions", "quota", "snapshot"})
    title = people.title or criterion[:200]
    about = {name: settings[name] for name in _ASKED}
    text = default_instructions()
    if people.instructions is not None:
        text = _text(existing(people.instructions, base))
    return NewProject(
        **settings,
        name=round_name(title, sha256_json({"completions": digest, "criterion": criterion, **about})),
        title=title,
        criterion=criterion,
        overlap=overlap,
        instructions=text,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError("not valid UTF-8", path=path, fix="save the file as UTF-8") from None


def existing(text: str, base: Path) -> Path:
    """Return the path of a file that a recipe names; DataError where there is none."""
    path = resolve(text, base)
    if not path.is_file():
        raise DataError("no such file", path=path, fix="check the path (relative ones start at the recipe's folder)")
    return path


def _address(people: PeopleGroup, base: Path, store: Path) -> str:
    """Return the address of the database, variables filled in."""
    if people.database is None:
        return str(store.parent / DATABASE)
    text = filled_in(people.database)
    return text if "://" in text else str(resolve(people.database, base))


def _file_of(address: str) -> Path | None:
    """Return the file that holds the database; None where a server does."""
    from heedful.feedback.store.database import parse_url

    url = parse_url(address)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextmanager
def _opened(address: str) -> Iterator[Database]:
    from heedful.feedback.store.database import Database

    file = _file_of(address)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    database = Database.open(address)
    try:
        yield database
    finally:
        database.close()
