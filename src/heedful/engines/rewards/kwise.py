"""Learning from rankings: the K completions of one prompt stand in one batch, each read once, and the loss is that of their order.

The rankings are the consensus of each task, single labelers' answers, or a file's. What is judged is pairs, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from heedful.engines.fitting import Unit
from heedful.engines.rewards.comparison import ComparisonTeacher, Draws
from heedful.engines.rewards.ensembling import sum_over_members
from heedful.engines.rewards.heldout_pairs import HeldoutPairs, read_pairs
from heedful.errors import DataError
from heedful.feedback.exchange.exports import RULING
from heedful.models.backbones import Text
from heedful.models.roles import Learner
from heedful.numerics.preference_losses import MOST_TIED, all_pairs, pick_best, plackett_luce
from heedful.numerics.rankings import WeakOrder, ranking_pairs
from heedful.records.artifacts import Artifact
from heedful.records.types import Consensus, Preference, Ranking

RankingLoss = Literal["plackett_luce", "all_pairs", "pick_best"]
Ranked = Consensus | Ranking
FILES: dict[str, tuple[str, type[Consensus] | type[Ranking]]] = {
    "consensus": ("consensus", Consensus),
    "collect": ("rankings", Ranking),
    "data": ("train.rankings", Ranking),
}
"""Stage to the file that its rankings are in."""


@dataclass(frozen=True)
class Lesson:
    """One ranking: its texts, equal ones once and at their better place, and the place of each, best lowest."""

    name: str
    texts: list[Text]
    levels: list[int]

    @property
    def unit(self) -> Unit:
        """The ranking as the fitting loop sees it: it weighs 1, however long it is."""
        return Unit(self.name, max(map(len, self.texts)), texts=len(self.texts))


def ranking_teacher(
    source: Artifact,
    heldout: Artifact | None,
    *,
    loss: RankingLoss,
    centering: float,
    seed: int,
    resample: bool = False,
    prompt_type: str = "",
) -> ComparisonTeacher[Lesson]:
    """Return what fits a reward model to rankings and judges it on held-out pairs.

    Args:
        source: of the rankings: consensus, collect or data.
        heldout: whose `tune.preferences` are held out; rankings of their prompts are not learnt from, nor are those of
            labelers that it left out. None: the source's own, and of a `data` source the pairs of `tune.rankings`.
        loss: `plackett_luce` (the whole order), `all_pairs` (all C(K, 2) pairs, each 1 / C(K, 2)) or `pick_best`.
        centering: of `all_pairs`.
        prompt_type: see `HeldoutPairs`.
        resample: every member of an ensemble learns from a bootstrap of the rankings of its own.

    Raises:
        DataError: no ranking is left, or one cannot be learnt from.
    """
    pairs = read_pairs(heldout or source, "tune") or _pairs_of_tune(source)
    rows = _learnable(source, pairs, excluded=_excluded(heldout or source))
    judges = HeldoutPairs(pairs, taught=_all_pairs(rows), prompt_type=prompt_type, seed=seed)
    learnt = {"rankings": len(rows), "tasks": len({row.task_id for row in rows})}
    losses: dict[RankingLoss, Callable[..., Tensor]] = {
        "plackett_luce": plackett_luce,
        "all_pairs": partial(all_pairs, centering=centering),
        "pick_best": pick_best,
    }

    def lessons(model: Learner) -> list[Lesson]:
        return [_lesson(row, model) for row in rows]

    def loss_sum(model: Learner, part: Sequence[Lesson], draws: Draws) -> Tensor:
        return ranking_loss_sum(model, part, losses[loss], draws)

    return ComparisonTeacher(lessons, loss_sum, judges, learnt, resample=resample, seed=seed)


def ranking_loss_sum(
    model: Learner,
    part: Sequence[Lesson],
    loss: Callable[..., Tensor],
    draws: Sequence[Sequence[float]] | None = None,
) -> Tensor:
    """Return the sum of the losses of these rankings and all members, in nats; all their texts are read in one forward.

    Args:
        model: one member, or an ensemble's.
        part: the rankings.
        loss: of scores and levels.
        draws: per member, how often it sees each ranking; None: once.
    """
    scores = model.raw([text for lesson in part for text in lesson.texts])
    sizes = [len(lesson.texts) for lesson in part]

    def member(own: Tensor, seen: Sequence[float]) -> Tensor:
        each = torch.split(own, sizes)
        losses = [loss(mine, lesson.levels) for mine, lesson in zip(each, part, strict=True)]
        return torch.stack(losses) @ torch.tensor(seen, device=own.device)

    return sum_over_members(scores, member, draws or [[1.0] * len(part)] * scores.shape[1])


def _learnable(source: Artifact, heldout: Sequence[Preference], *, excluded: set[str]) -> list[Ranked]:
    """Return the rankings to learn from; those of fewer than two different texts say nothing and are left out."""
    if source.stage not in FILES:
        raise DataError(f"rankings come from {', '.join(FILES)}, not from '{source.stage}'")
    name, kind = FILES[source.stage]
    found: Sequence[Ranked] = source.records(name, kind)
    for line, row in enumerate(found, start=1):
        _check(row, source, f"{name}.jsonl", line)
    asked = {pair.prompt for pair in heldout}
    several = (row for row in found if len(set(row.completions.values())) > 1 and row.prompt not in asked)
    ruled = {row.task_id for row in found if _is_ruling(row)}
    rows = [row for row in several if _is_ruling(row) or not (row.task_id in ruled or _by(row) in excluded)]
    if not rows:
        raise DataError(
            f"{name}.jsonl holds no ranking of two different completions outside the held-out prompts",
            path=source.path,
            fix="more tasks, or more different completions, are needed",
        )
    return rows


def _check(row: Ranked, source: Artifact, name: str, line: int) -> None:
    path, levels = source.file(name), _levels(row)
    if levels.keys() != row.completions.keys():
        odd = sorted(levels.keys() ^ row.completions.keys())[0]
        raise DataError(
            f"completion '{odd}' must stand in the ranking and among the completions",
            path=path,
            line=line,
            field="ranking",
        )
    groups = [*row.ranking, row.fails]
    if max(map(len, groups)) > MOST_TIED:
        raise DataError(f"a tie of more than {MOST_TIED} completions", path=path, line=line, field="ranking")


def _excluded(source: Artifact) -> set[str]:
    names = source.facts.get("excluded")
    return {str(name) for name in names} if isinstance(names, list) else set()


def _pairs_of_tune(source: Artifact) -> list[Preference]:
    if not (source.path / "tune.rankings.jsonl").is_file():
        return []
    return _all_pairs(source.records("tune.rankings", Ranking))


def _all_pairs(rows: Sequence[Ranked]) -> list[Preference]:
    """Return every pair of different texts that a ranking orders."""
    return [
        Preference(
            prompt=row.prompt,
            chosen=chosen,
            rejected=rejected,
            task_id=row.task_id,
            criterion=row.criterion,
            by=_by(row),
        )
        for row in rows
        for better, worse in ranking_pairs(WeakOrder(row.ranking, row.fails))
        if (chosen := row.completions[better]) != (rejected := row.completions[worse])
    ]


def _is_ruling(row: Ranked) -> bool:
    """A manager's decision stands in place of all answers to its task."""
    return isinstance(row, Ranking) and row.source == RULING


def _by(row: Ranked) -> str:
    return row.labeler if isinstance(row, Ranking) else "consensus"


def _levels(row: Ranked) -> dict[str, int]:
    return WeakOrder(row.ranking, row.fails).levels()


def _lesson(row: Ranked, model: Learner) -> Lesson:
    places: dict[str, int] = {}
    for identity, level in sorted(_levels(row).items(), key=lambda each: each[1]):
        places.setdefault(row.completions[identity], level)
    texts = [model.backbone.read(row.prompt, completion) for completion in places]
    return Lesson(row.task_id, texts, list(places.values()))
