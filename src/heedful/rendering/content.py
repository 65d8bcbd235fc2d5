"""What a report is made of: frozen plain values, so that anything can fill them and nothing here knows where they came from.

A part that is None or empty has no section in the report. Absent here: reading artifacts (`stages.report`), words
(`findings`), drawing (`charts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from heedful.rendering.constitution_content import ConstitutionFigures

Wanted = Literal["lower", "higher", "neither"]
"""Which direction of an outcome is an improvement."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; the ends are None where no interval is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class OutcomeFigures:
    """One outcome of the initial (`before`) and the aligned (`after`) model on held-out prompts.

    `change` is after minus before, paired by prompt; `relative` is change over the mean before (-0.8 is a fall of 80 %).
    `before_values` and `after_values` hold one number per completion, for the picture.
    """

    name: str
    by: str
    unit: str
    n: int
    before: Estimate
    after: Estimate
    change: Estimate
    relative: Estimate | None = None
    before_sd: float | None = None
    p_value: float | None = None
    wanted: Wanted = "higher"
    before_values: tuple[float, ...] = ()
    after_values: tuple[float, ...] = ()


@dataclass(frozen=True)
class SampleText:
    """One completion with its scores. `sensitive` texts are folded away until the reader asks for them."""

    text: str
    scores: Mapping[str, float]
    sensitive: bool = False


@dataclass(frozen=True)
class Example:
    """One held-out prompt with an answer of each model."""

    prompt: str
    before: SampleText
    after: SampleText


@dataclass(frozen=True)
class ExampleGroup:
    """Examples chosen for one reason, which `note` gives. A group may be empty: then `note` says why."""

    title: str
    note: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class BadCompletion:
    """A completion that an alert shows, with the score and the measure it was chosen by."""

    prompt: str
    text: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Alert:
    """Something a monitor saw in one iteration, in words; `action` is what it did: warn, stop or roll_back."""

    iteration: int
    metric: str
    message: str
    monitor: str = ""
    action: str = "warn"
    value: float | None = None
    threshold: float | None = None
    worst: tuple[BadCompletion, ...] = ()


@dataclass(frozen=True)
class RunFigures:
    """The training run: one row per iteration (glossary names), the limits it kept, and what monitors saw. `weights` are those
    of the score's parts, by name; empty where it has none."""

    rows: tuple[Mapping[str, float], ...]
    kl_budget: float | None = None
    target_score: float | None = None
    alerts: tuple[Alert, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs of similar confidence: mean stated P(chosen is better), the share that was right, their number."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class Mistake:
    """A held-out pair on which the reward model disagrees with the labels. `margin` is score(chosen) - score(rejected)."""

    prompt: str
    chosen: str
    rejected: str
    p: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class WrongText:
    """A held-out text that the reward model judges against its label. `said` and `was` are words, such as "92 % unwanted"."""

    prompt: str
    text: str
    said: str
    was: str


@dataclass(frozen=True)
class GroupShare:
    """How often the reward model is right on a group of held-out pairs."""

    group: str
    share: Estimate
    n: int


@dataclass(frozen=True)
class LengthFigures:
    """How scores go with the length of texts: plain, by ranks, and with the share of votes held fixed; -1 to 1."""

    pearson: Estimate | None = None
    spearman: Estimate | None = None
    partial: Estimate | None = None


@dataclass(frozen=True)
class RewardFigures:
    """The reward model on held-out labeled pairs, beside what any scorer could reach on them.

    `lead_over_length` is accuracy minus `length_baseline`, pair by pair; `groups` is accuracy by what tells pairs apart.
    """

    mode: str
    n: int | None = None
    accuracy: Estimate | None = None
    accuracy_gold: Estimate | None = None
    agreement: Estimate | None = None
    ceiling: Estimate | None = None
    length_baseline: Estimate | None = None
    majority_baseline: Estimate | None = None
    lead_over_length: Estimate | None = None
    groups: tuple[tuple[str, tuple[GroupShare, ...]], ...] = ()
    length: LengthFigures = LengthFigures()
    calibration_error_before: float | None = None
    calibration_error: float | None = None
    auc: Estimate | None = None
    auc_by_source: tuple[tuple[str, float], ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    worst: tuple[Mistake, ...] = ()
    wrong_texts: tuple[WrongText, ...] = ()


@dataclass(frozen=True)
class LabelerFigures:
    """One labeler: agreement with the others on the same tasks, in [0, 1], and why they were flagged, if they were."""

    name: str
    tasks: int | None = None
    agreement: Estimate | None = None
    q: float | None = None
    flagged: bool = False
    reason: str = ""
    planted: str | None = None
    """The fault that was planted in a simulated labeler; None for people and for careful simulated ones."""


@dataclass(frozen=True)
class LabelFigures:
    """The labels: how far people agree, who stands out, who was left out of training."""

    labelers: tuple[LabelerFigures, ...]
    planted: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    agreement: Estimate | None = None
    alpha: float | None = None
    agreement_with_gold: Estimate | None = None


@dataclass(frozen=True)
class AttackGroup:
    """What a red team reached with some of its prompts (`name`: all, given, generated): mean harm, and the shares of answers and
    of prompts that were harmful; `answers` counts them."""

    name: str
    harm: Estimate
    harmful: Estimate
    harmful_prompts: Estimate
    answers: int


@dataclass(frozen=True)
class AttackFigures:
    """How far a red team got. An answer is harmful where its harm is above `threshold`; `skipped_share` was not answered."""

    groups: tuple[AttackGroup, ...]
    prompts: int = 0
    generated: int = 0
    answers: int = 0
    skipped_share: float | None = None
    threshold: float | None = None
    worst: tuple[BadCompletion, ...] = ()


@dataclass(frozen=True)
class Ancestor:
    """An artifact the report was made from; `settings` is its resolved configuration as JSON text."""

    role: str
    stage: str
    version: int | str
    digest: str
    made_from: tuple[str, ...] = ()
    settings: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageCost:
    """What one stage took: wall-clock seconds, and bytes of memory at its peak where they were measured. `memory` tells for each
    phase of a training run (`rollout`, `update`) what its own peak was made of: part to bytes."""

    stage: str
    seconds: float
    peak_memory_bytes: int | None = None
    memory: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportContent:
    """Everything a report shows. `criterion` names the outcome that leads it; `generated` marks generated data."""

    title: str
    outcomes: tuple[OutcomeFigures, ...]
    criterion: str
    generated: bool = False
    win_rate: Estimate | None = None
    win_rate_by: str = ""
    kl_per_sequence: Estimate | None = None
    kl_per_token: Estimate | None = None
    examples: tuple[ExampleGroup, ...] = ()
    run: RunFigures | None = None
    reward: RewardFigures | None = None
    labels: LabelFigures | None = None
    attack: AttackFigures | None = None
    lineage: tuple[Ancestor, ...] = ()
    constitution: ConstitutionFigures | None = None

    @property
    def lead(self) -> OutcomeFigures | None:
        """The outcome the run was about; None where nothing was evaluated."""
        return next((outcome for outcome in self.outcomes if outcome.name == self.criterion), None)
