"""Evaluation sets of binary comparisons: how often a reward model, and how often a judge, prefers the better answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from heedful.engines.judges.judge_opening import open_judge
from heedful.engines.judges.questioning import SkipLimit, ask_all, bias_figures, skip_figures, terms_of
from heedful.engines.judging import Labeling, Pair, preference
from heedful.engines.rewards.pair_report import won
from heedful.errors import DataError
from heedful.models.reward import load_reward_model
from heedful.numerics.statistics import clustered_mean, expected_calibration_error
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.constitution import ChoiceExample
from heedful.records.paths import resolve
from heedful.records.published import read_comparisons
from heedful.records.seeds import derive_seed
from heedful.records.types import Preference, Verdict

if TYPE_CHECKING:
    from heedful.stages.compare import Config

Figures = dict[str, JsonValue]


def examine(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `compare` as its settings say; see `stages/compare.py`."""
    rows = read_comparisons(resolve(config.path, out.base))
    notes: list[dict[str, JsonValue]] = [{} for _ in rows]
    figures: Figures = {"pairs": len(rows)}
    if "reward" in inputs:
        figures["reward_model"] = _by_reward_model(config, rows, inputs["reward"], notes, seed)
    if config.judges(inputs):
        judged, verdicts = _by_judge(config, rows, inputs, out, notes, seed)
        figures["judge"] = judged
        out.write("verdicts", verdicts)
    out.write("comparisons", (_record(i, row, note) for i, (row, note) in enumerate(zip(rows, notes, strict=True))))
    out.write_json("accuracy.json", figures)
    return out.finish(metrics=figures)


def accuracy(right: Sequence[float], prompts: Sequence[str], *, seed: int, draws: int) -> Figures:
    """Return the mean of `right` (1, 0, or 0.5 for even) with its interval, resampled by prompt, and n."""
    return {**asdict(clustered_mean(right, prompts, seed=seed, draws=draws)), "pairs": len(right)}


def _by_reward_model(
    config: Config, rows: Sequence[ChoiceExample], source: Artifact, notes: list[dict[str, JsonValue]], seed: int
) -> Figures:
    model = load_reward_model(source.path / "model")
    sides: Any = [
        model.score([row.prompt for row in rows], [getattr(row, side) for row in rows]) for side in ("better", "worse")
    ]
    better, worse = (np.array(side, dtype=np.float64) for side in sides)
    for note, one, other in zip(notes, better, worse, strict=True):
        note |= {"better_score": float(one), "worse_score": float(other)}
    return accuracy(won(better, worse).tolist(), _prompts(rows), seed=derive_seed(seed, "reward"), draws=config.draws)


def _by_judge(
    config: Config,
    rows: Sequence[ChoiceExample],
    inputs: Mapping[str, Artifact],
    out: Workspace,
    notes: list[dict[str, JsonValue]],
    seed: int,
) -> tuple[Figures, list[Verdict]]:
    terms = terms_of(config, inputs, out, seed)
    pairs = [_pair(i, row, seed) for i, row in enumerate(rows)]
    with open_judge(config.judge, inputs, out) as opened:
        said = ask_all(pairs, terms, opened, out, limit=SkipLimit("compare", config.max_skipped))
        usage = opened.figures()
    clamp = (0.4, 0.6) if config.judge.thinking else None
    labels = [
        preference(p, said[p.completion_ids], Labeling(clamp, False, config.orders), criterion="", source="")
        for p in pairs
    ]
    read = [(row, note, _better(row, label)) for row, note, label in zip(rows, notes, labels, strict=True) if label]
    if not read:
        raise DataError(f"none of {len(rows)} comparisons has a verdict")
    for _, note, p in read:
        note["judge_p"] = p
    every = [verdict for pair in pairs for verdict in said[pair.completion_ids]]
    figures = accuracy(
        [0.5 + 0.5 * float(np.sign(p - 0.5)) for _, _, p in read],
        _prompts([row for row, _, _ in read]),
        seed=derive_seed(seed, "judge"),
        draws=config.draws,
    )
    # P(better) and its mirror image: each comparison counts once as right and once as wrong side
    both = [p for _, _, p in read] + [1 - p for _, _, p in read]
    figures["ece"] = expected_calibration_error(both, [True] * len(read) + [False] * len(read))
    return figures | skip_figures(every) | bias_figures(every) | usage, every


def _pair(number: int, row: ChoiceExample, seed: int) -> Pair:
    """Return a comparison as a pair; which side comes first is drawn, so that one order alone favours none."""
    sides = [("better", row.better), ("worse", row.worse)]
    if derive_seed(seed, "side", number) % 2:
        sides.reverse()
    (first, one), (second, other) = sides
    return Pair(str(number), row.prompt, (f"{number}/{first}", f"{number}/{second}"), (one, other))


def _better(row: ChoiceExample, label: Preference) -> float:
    return label.p if label.chosen == row.better else 1 - label.p


def _prompts(rows: Sequence[ChoiceExample]) -> list[str]:
    return [str(row.prompt) for row in rows]


def _record(number: int, row: ChoiceExample, note: dict[str, JsonValue]) -> Preference:
    return Preference(prompt=row.prompt, chosen=row.better, rejected=row.worse, task_id=str(number), meta=note)
