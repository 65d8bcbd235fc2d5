"""What the part of a report on a constitution is made of; like `content`, plain frozen values. A part that is None is not shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heedful.rendering.content import CalibrationBin, Estimate


@dataclass(frozen=True)
class PrincipleFigures:
    """One principle: how many comparisons it decided, and how. `text` is its question as the judge read it.

    `wins` is how often its winner is the one that the other comparisons of the prompt favour, `flips` how often its winner changes
    when the answers are swapped, `right` how often it chose as the reference did.
    """

    name: str
    text: str
    fired: int
    wins: Estimate | None = None
    flips: Estimate | None = None
    right: Estimate | None = None


@dataclass(frozen=True)
class ReferenceFigures:
    """AI labels beside others on the same pairs. `by` is "people" or "gold".

    `accuracy` is how often the label's side is the reference's (of people, the majority's), `one_person` how often one person's
    vote is for the label's side, `two_people` how often two people's votes on one pair agree. `longer` is how often the reference's
    side is the longer text, `longer_by_judge` how often the label's is, on the same pairs.
    """

    by: str
    n: int
    accuracy: Estimate
    calibration_error: float
    calibration: tuple[CalibrationBin, ...]
    one_person: Estimate | None = None
    two_people: Estimate | None = None
    longer: Estimate | None = None
    longer_by_judge: Estimate | None = None


@dataclass(frozen=True)
class TemperatureFigures:
    """The temperature of a judge's labels, fitted on `n` pairs that people compared.

    `before` and `after` are expected calibration errors on those pairs, each half by the other's temperature; None where too few.
    """

    value: float
    n: int
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class JudgeFigures:
    """A judge's labels. `readings` are P(A) of each question, `averaged` P(one side) of each pair over both orders.

    `clamped` is the share of readings outside `clamp`, None where nothing is clamped. `cost` holds what a server counted.
    """

    judge: str
    criterion: str
    constitution: str
    questions: int
    labels: int
    orders: str
    skips: Mapping[str, int]
    principles: tuple[PrincipleFigures, ...]
    readings: tuple[float, ...]
    averaged: tuple[float, ...]
    flips: Estimate | None = None
    first: Estimate | None = None
    longer: Estimate | None = None
    clamp: tuple[float, float] | None = None
    clamped: float | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    temperature: TemperatureFigures | None = None
    references: tuple[ReferenceFigures, ...] = ()


@dataclass(frozen=True)
class RoundFigures:
    """Answers after one round of revision; round 0 is before any. `change` is against the round before, the same answers.

    `scores` are means of other scorers' parts, by name; `skips` counts this round's revisions that a gate took out, by its name.
    """

    number: int
    n: int
    harm: Estimate | None
    change: Estimate | None = None
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    skips: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RevisionStep:
    """One critique and the revision that followed; `skipped` says which gate took it out."""

    number: int
    principle: str
    critique: str
    revision: str
    harm: float | None = None
    skipped: str = ""


@dataclass(frozen=True)
class RevisionChain:
    """A prompt, the answer to it, and its revisions in order."""

    prompt: str
    answer: str
    harm: float | None
    steps: tuple[RevisionStep, ...]


@dataclass(frozen=True)
class RevisionFigures:
    """What critique and revision did to the answers, and some chains drawn at random."""

    rounds: tuple[RoundFigures, ...]
    chains: tuple[RevisionChain, ...] = ()
    by_gold: bool = False
    """Whether harm is the word of a generated world's gold; else it is minus the score of the recipe's scorer."""


@dataclass(frozen=True)
class RefusalRow:
    """How one model answers one kind of prompts: shares of full, partial and no refusals, of excuses and of lectures."""

    model: str
    kind: str
    n: int
    shares: Mapping[str, Estimate]


@dataclass(frozen=True)
class HabitCurve:
    """One habit of the answers to one kind of prompts: its share in each iteration, [I], NaN where no such prompt was answered."""

    kind: str
    shares: tuple[Estimate, ...]
    phrase: str = ""
    """Of the phrase that spread: which it is."""


@dataclass(frozen=True)
class HabitFigures:
    """What became of the answers during RL, by kind of prompts. `by` says who calls an answer a refusal: "gold" or "phrases".

    `curves` are by habit: `refused`, `evasive` (gold alone), `opening` (begins as most answers of the iteration begin), `phrase`
    (holds the phrase that spread most over the run), `distinct_2` (different bigrams among all, no interval).
    """

    iterations: tuple[int, ...]
    by: str
    n: int
    curves: Mapping[str, tuple[HabitCurve, ...]]


@dataclass(frozen=True)
class ConstitutionFigures:
    """All that a report says about a constitution."""

    judge: JudgeFigures | None = None
    revisions: RevisionFigures | None = None
    refusals: tuple[RefusalRow, ...] = ()
    habits: HabitFigures | None = None
