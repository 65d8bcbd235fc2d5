"""What leaves the store: records of what people said, in the order of tasks and labelers, the same bytes for the same state.

Everything is an iterator over the session it is given: read it to its end inside one `Database.read`, and it is one state of the
store. Left out unless asked for: labelers who are excluded, answers that came when a task had all it wanted, and revisions that
were corrected. Drafts, skipped tasks, practice and hidden repeats never leave.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC

from pydantic import JsonValue
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from heedful.errors import DataError
from heedful.feedback.exchange.exports import RULING as RULING
from heedful.feedback.exchange.exports import weak_order
from heedful.feedback.setup.answer_rules import Answer, groups_of
from heedful.feedback.setup.projects import COUNTED, Project, project
from heedful.feedback.setup.rulings import rulings
from heedful.feedback.setup.texts import completions_of, to_prompt
from heedful.feedback.store.tables import Lease, Membership, Response, Task, User
from heedful.numerics.rankings import ranking_pairs
from heedful.records.types import Demonstration, LabeledText, Meta, Prompt, Ranking

SOURCE = "labelers"
"""What records say of where they are from."""
_AT_ONCE = 200
"""Tasks that are read together."""
_FORMULA = re.compile(r"[\s\x00-\x20]*[=+\-@＝＋－＠]|[\x00-\x1f]")
"""How a formula begins, in full width too, for spreadsheets that put blanks and control characters aside."""


@dataclass(frozen=True)
class _Given:
    """One answer, with all that a record needs of its task."""

    key: str
    prompt: Prompt
    completions: dict[str, str]
    labeler: str
    answer: Answer
    row: Response
    surplus: bool
    excluded: bool


def rankings(
    s: Session,
    project_id: int,
    *,
    include_excluded: bool = False,
    include_surplus: bool = False,
    every_revision: bool = False,
    include_rulings: bool = False,
) -> Iterator[Ranking]:
    """Yield rankings: what was ranked, or what ratings amount to (equal ratings tie); nothing for thumbs and demonstrations.

    With `include_rulings` what managers decided comes last, one per task: labeler and source are `RULING`.
    """
    about = project(s, project_id)
    if about.mode not in ("ranking", "pairwise", "rating"):
        return
    for given in _given(s, about, include_excluded, include_surplus, every_revision):
        yield _ranking(given, about)
    if include_rulings:
        yield from _rulings(s, about)


def _rulings(s: Session, about: Project) -> Iterator[Ranking]:
    """Yield rulings in force as records, in the order of tasks."""
    for ruled in rulings(s, about.id):
        assert ruled.answer is not None
        task = s.get_one(Task, ruled.task_id)
        texts = completions_of(s, [task.id]).get(task.id, {})
        yield Ranking(
            task_id=task.key,
            prompt=to_prompt(task.prompt),
            completions=texts,
            ranking=groups_of(ruled.answer, about),
            fails=tuple(sorted(ruled.answer.fails)),
            labeler=RULING,
            criterion=about.criterion,
            displayed_order=tuple(sorted(texts)),
            created=ruled.created.astimezone(UTC).isoformat(),
            source=RULING,
            meta={"reason": ruled.reason},
        )


def demonstrations(
    s: Session,
    project_id: int,
    *,
    include_excluded: bool = False,
    include_surplus: bool = False,
    every_revision: bool = False,
) -> Iterator[Demonstration]:
    """Yield what people wrote."""
    about = project(s, project_id)
    for given in _given(s, about, include_excluded, include_surplus, every_revision):
        if about.mode == "demonstration" and given.answer.text is not None:
            yield Demonstration(
                id=_row_id(given, every_revision),
                prompt=given.prompt,
                completion=given.answer.text,
                by=given.labeler,
                source=SOURCE,
                meta=_meta(given) | {"edited_from": given.answer.edited_from},
            )


def unpaired(
    s: Session,
    project_id: int,
    *,
    include_excluded: bool = False,
    include_surplus: bool = False,
    every_revision: bool = False,
    threshold: int | None = None,
) -> Iterator[LabeledText]:
    """Yield one labeled text per thumb; True is up. All of a task are one group, which splits must not tear.

    Ratings are labels too where a threshold is given: True at the threshold and on its better side; `meta` keeps the rating.

    Raises:
        DataError: the threshold does not divide the project's scale.
    """
    about = project(s, project_id)
    if threshold is not None:
        _check_threshold(threshold, about)
    for given in _given(s, about, include_excluded, include_surplus, every_revision):
        for key, label, known in _labels(given.answer, about, threshold):
            yield LabeledText(
                id=f"{_row_id(given, every_revision)}/{key}",
                prompt=given.prompt,
                completion=given.completions[key],
                label=label,
                source=SOURCE,
                group=given.key,
                meta=_meta(given) | {"labeler": given.labeler, "completion_id": key} | known,
            )


def _check_threshold(threshold: int, about: Project) -> None:
    lowest, highest = about.rating_min, about.rating_max
    allowed = range(lowest + 1, highest + 1) if about.higher_is_better else range(lowest, highest)
    if threshold not in allowed:
        expected = f"expected {allowed[0]} to {allowed[-1]}, so that both labels can come up"
        raise DataError(f"{threshold} on a scale of {lowest} to {highest}; {expected}", field="threshold")


def _labels(answer: Answer, about: Project, threshold: int | None) -> Iterator[tuple[str, bool, Meta]]:
    """Yield (completion id, label, what else is known)."""
    for key, up in sorted(answer.thumbs.items()):
        yield key, up, {}
    if threshold is not None:
        for key, rating in sorted(answer.ratings.items()):
            good = rating >= threshold if about.higher_is_better else rating <= threshold
            yield key, good, {"rating": rating}


def trl_preferences(records: Iterable[Ranking]) -> Iterator[dict[str, JsonValue]]:
    """Yield the pairs of every ranking as TRL's trainers read them: prompt, chosen, rejected, and where they are from.

    Ties give no pair, and neither do equal texts. A chat prompt makes the pair conversational.
    """
    for record in records:
        for better, worse in sorted(ranking_pairs(weak_order(record))):
            chosen, rejected = record.completions[better], record.completions[worse]
            if chosen != rejected:
                yield {
                    **_trl(record.prompt, chosen=chosen, rejected=rejected),
                    "task_id": record.task_id,
                    "labeler": record.labeler,
                }


def trl_unpaired(records: Iterable[LabeledText]) -> Iterator[dict[str, JsonValue]]:
    """Yield labeled texts as TRL reads unpaired preferences: prompt, completion, label, and where they are from."""
    for record in records:
        labeler = record.meta.get("labeler")
        row = _trl(record.prompt, completion=record.completion)
        yield {**row, "label": record.label, "task_id": record.group, "labeler": labeler}


CSV_COLUMNS = (
    "task_id",
    "labeler",
    "completion_id",
    "rank",
    "displayed_position",
    "criterion",
    "instructions_version",
    "revision",
    "seconds",
    "created",
    "prompt",
    "completion",
)


def ranking_csv(records: Iterable[Ranking]) -> Iterator[str]:
    """Yield the lines of a CSV file, one completion of one answer each; ranks have no gaps, F is a mark of failure.

    Cells that a spreadsheet would run as a formula begin with an apostrophe.
    """
    yield _csv_line(CSV_COLUMNS)
    for record in records:
        ranks: dict[str, int | str] = dict.fromkeys(record.fails, "F")
        ranks |= {key: rank for rank, group in enumerate(record.ranking, start=1) for key in group}
        prompt = record.prompt if isinstance(record.prompt, str) else _turns(record.prompt)
        for key in record.displayed_order:
            cells = (record.task_id, record.labeler, key, ranks[key], record.displayed_order.index(key) + 1)
            known = (record.meta.get("instructions_version"), record.meta.get("revision"))
            rest = (record.seconds, record.created, prompt, record.completions[key])
            yield _csv_line((*cells, record.criterion, *known, *rest))


def safe_cell(value: object) -> str:
    """Return the text of a cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and _FORMULA.match(text) else text


def _csv_line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([safe_cell(cell) for cell in cells])
    return line.getvalue()


def _given(
    s: Session, about: Project, include_excluded: bool, include_surplus: bool, every_revision: bool
) -> Iterator[_Given]:
    """Yield answers by task, labeler and revision."""
    answers = _answers(about.id, include_excluded, include_surplus, every_revision)
    tasks = select(Task).where(Task.project_id == about.id, COUNTED).order_by(Task.id).limit(_AT_ONCE)
    last = 0
    while part := {task.id: task for task in s.scalars(tasks.where(Task.id > last))}:
        last = max(part)
        texts = completions_of(s, list(part))
        for row, labeler, state, member in s.execute(answers.where(Response.task_id.in_(part))):
            task = part[row.task_id]
            answer = Answer.model_validate(row.answer)
            left_out = (state == "surplus", member == "excluded")
            yield _Given(task.key, to_prompt(task.prompt), texts.get(task.id, {}), labeler, answer, row, *left_out)


def _answers(
    project_id: int, include_excluded: bool, include_surplus: bool, every_revision: bool
) -> Select[Response, str, str, str]:
    states = ("submitted", "surplus") if include_surplus else ("submitted",)
    found = (
        select(Response, User.name, Lease.state, Membership.state)
        .join(Lease, (Lease.task_id == Response.task_id) & (Lease.user_id == Response.user_id))
        .join(User, User.id == Response.user_id)
        .join(Membership, (Membership.user_id == User.id) & (Membership.project_id == project_id))
        .where(Response.state == "submitted", Lease.state.in_(states))
        .order_by(Response.task_id, Response.user_id, Response.revision)
    )
    if not include_excluded:
        found = found.where(Membership.state != "excluded")
    return found if every_revision else found.where(Response.revision == last_submitted())


def last_submitted() -> object:
    """Return the latest revision that was sent: a draft of a correction does not count before it is."""
    later = aliased(Response)
    same = (later.task_id == Response.task_id, later.user_id == Response.user_id, later.state == "submitted")
    return select(func.max(later.revision)).where(*same).correlate(Response).scalar_subquery()


def _ranking(given: _Given, about: Project) -> Ranking:
    groups, meta = groups_of(given.answer, about), _meta(given)
    return Ranking(
        task_id=given.key,
        prompt=given.prompt,
        completions=given.completions,
        ranking=groups,
        fails=tuple(sorted(given.answer.fails)),
        labeler=given.labeler,
        criterion=about.criterion,
        displayed_order=tuple(given.row.displayed_order),
        created=given.row.created.astimezone(UTC).isoformat(),
        seconds=given.row.active_ms / 1000,
        source=SOURCE,
        meta=meta | ({"ratings": dict(given.answer.ratings)} if about.mode == "rating" else {}),
    )


def _meta(given: _Given) -> Meta:
    row = given.row
    meta: Meta = {
        "revision": row.revision,
        "instructions_version": row.instructions_version,
        "active_seconds": row.active_ms / 1000,
        "wall_seconds": row.wall_ms / 1000,
        "created": row.created.astimezone(UTC).isoformat(),
    }
    marks = {"surplus": given.surplus, "excluded": given.excluded}
    return meta | {name: True for name, marked in marks.items() if marked}


def _row_id(given: _Given, every_revision: bool) -> str:
    return f"{given.key}/{given.labeler}" + (f"/{given.row.revision}" if every_revision else "")


def _trl(prompt: Prompt, **completions: str) -> dict[str, JsonValue]:
    if isinstance(prompt, str):
        return {"prompt": prompt, **completions}
    turns: list[JsonValue] = [turn.model_dump() for turn in prompt]
    answers: dict[str, JsonValue] = {
        name: [{"role": "assistant", "content": text}] for name, text in completions.items()
    }
    return {"prompt": turns, **answers}


def _turns(prompt: Prompt) -> str:
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in prompt if not isinstance(turn, str))
