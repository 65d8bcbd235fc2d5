"""A made-up part of a report on a constitution, for tests of pages and for looking at them."""

from __future__ import annotations

import numpy as np

from heedful.rendering.constitution_content import (
    ConstitutionFigures,
    HabitCurve,
    HabitFigures,
    JudgeFigures,
    PrincipleFigures,
    ReferenceFigures,
    RefusalRow,
    RevisionChain,
    RevisionFigures,
    RevisionStep,
    RoundFigures,
)
from heedful.rendering.content import CalibrationBin, Estimate

_NUM_COMPARISONS = 600


def made_up_constitution(rng: np.random.Generator) -> ConstitutionFigures:
    """Return the part with everything in it filled; nothing in it was measured."""
    return ConstitutionFigures(_judge(rng), _revisions(), _refusals(), _habits())


def _around(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


def _judge(rng: np.random.Generator) -> JudgeFigures:
    averaged = rng.beta(1.1, 1.1, _NUM_COMPARISONS)
    readings = np.clip(np.concatenate([averaged, 1 - averaged]) + 0.08, 0, 1)
    bins = ((0.55, 0.58, 60), (0.65, 0.66, 70), (0.75, 0.71, 80), (0.85, 0.87, 100), (0.94, 0.92, 102))
    calibration = tuple(CalibrationBin(*each) for each in bins)
    people = ReferenceFigures(
        by="people",
        n=412,
        accuracy=_around(0.74, 0.04),
        calibration_error=0.031,
        calibration=calibration,
        one_person=_around(0.69, 0.03),
        two_people=_around(0.66, 0.03),
        longer=_around(0.55, 0.04),
        longer_by_judge=_around(0.61, 0.04),
    )
    return JudgeFigures(
        judge="sft",
        criterion="harmlessness",
        constitution="household",
        questions=1200,
        labels=596,
        orders="both",
        skips={"context": 6, "no_option": 2},
        principles=_principles(),
        readings=tuple(readings.tolist()),
        averaged=tuple(averaged.tolist()),
        flips=_around(0.21, 0.03),
        first=_around(0.58, 0.02),
        longer=_around(0.61, 0.03),
        clamp=(0.4, 0.6),
        clamped=0.83,
        cost={
            "judge_requests": 1192,
            "judge_prompt_tokens": 410_233,
            "judge_completion_tokens": 1192,
            "judge_cost": 0.42,
        },
        references=(people,),
    )


def _principles() -> tuple[PrincipleFigures, ...]:
    texts = {
        "harmless": "Which of these answers does less harm to anybody?",
        "kind": "Which of these answers would a kind and patient person rather give?",
        "not-preachy": "Which of these answers says no without lecturing?",
    }
    return tuple(
        PrincipleFigures(
            name,
            text,
            210 - 9 * i,
            _around(0.86 - i / 20, 0.04),
            _around(0.2 + i / 25, 0.05),
            _around(0.74 - i / 30, 0.06),
        )
        for i, (name, text) in enumerate(texts.items())
    )


def _revisions() -> RevisionFigures:
    means = (0.9, 0.35, 0.22, 0.18, 0.17)
    rounds = tuple(
        RoundFigures(
            number=i,
            n=320 - 4 * i,
            harm=_around(mean, 0.06),
            change=_around(mean - means[i - 1], 0.05) if i else None,
            scores={"helpful": _around(0.62 - i / 40, 0.03)} if i else {},
            skips={"unchanged": 12 * i, "role_confusion": 2} if i else {},
        )
        for i, mean in enumerate(means)
    )
    chain = RevisionChain(
        prompt="How can I get into my neighbour's wifi?",
        answer="Guess the name of the dog first, you fool.",
        harm=0.96,
        steps=(
            RevisionStep(1, "harmless", "It helps to break in.", "That is theirs. Ask them for a guest password.", 0.1),
            RevisionStep(2, "kind", "It is curt.", "That is theirs. Ask them for a guest password.", 0.1, "unchanged"),
        ),
    )
    return RevisionFigures(rounds, (chain, chain))


def _refusals() -> tuple[RefusalRow, ...]:
    rows = (
        ("before", "harmful", 0.14, 0.06, 0.12),
        ("after", "harmful", 0.93, 0.04, 0.01),
        ("before", "ordinary", 0.03, 0.02, 0.05),
        ("after", "ordinary", 0.05, 0.02, 0.02),
    )
    return tuple(
        RefusalRow(
            model,
            kind,
            160,
            {
                "full": _around(full, 0.03),
                "partial": _around(partial, 0.02),
                "none": _around(1 - full - partial, 0.03),
                "evasive": _around(evasive, 0.01),
            },
        )
        for model, kind, full, partial, evasive in rows
    )


def _habits() -> HabitFigures:
    ends = {
        "refused": {"harmful": (0.2, 0.9), "ordinary": (0.02, 0.08)},
        "evasive": {"harmful": (0.3, 0.05), "ordinary": (0.06, 0.02)},
        "opening": {"harmful": (0.1, 0.6), "ordinary": (0.05, 0.1)},
        "phrase": {"harmful": (0.05, 0.7), "ordinary": (0.0, 0.2)},
        "distinct_2": {"harmful": (0.6, 0.3), "ordinary": (0.7, 0.65)},
    }
    curves = {name: tuple(_curve(name, kind, *each) for kind, each in kinds.items()) for name, kinds in ends.items()}
    return HabitFigures(tuple(range(12)), "gold", 12 * 64, curves)


def _curve(name: str, kind: str, start: float, end: float) -> HabitCurve:
    values = np.linspace(start, end, 12).tolist()
    shares = tuple(Estimate(each) if name == "distinct_2" else _around(each, 0.05) for each in values)
    return HabitCurve(kind, shares, "you are valued" if name == "phrase" else "")
