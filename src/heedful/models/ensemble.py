"""Ensembles of reward models: members that share a base, and a score that is careful where they disagree.

* head: one trained trunk, one head per member.
* adapter: one frozen base, one adapter and one head per member.

A member has one head, or two (a classifier's wanted and unwanted class; its score is the wanted one's logit). Each has a scale of
its own, so that on reference samples all have mean 0 and sd 1 before they are combined:

    mean                  mean of the members
    worst                 their lowest
    mean_minus_variance   mean - variance_weight * (population) variance

Where the members disagree they know too little, and there a policy finds what they like by accident. What was combined gets
gain and bias again. A classifier's log odds of its classes are combined in the same way, and P(unwanted) follows from them.

Sources: Coste et al. 2023, arXiv:2310.02743 (worst case, mean minus variance); Zhai et al. 2024, arXiv:2401.00243 (members as
adapters); weight averaging: Rame et al. 2024, arXiv:2401.12187.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from heedful.errors import DataError
from heedful.models.adapters import load_adapter, merged_mean, save_adapter, save_without_adapters, with_adapter
from heedful.models.backbones import Backbone, Reading, Text, by_length, load_backbone
from heedful.models.heads import ScalarHead, log_odds, mean_head, trainable_parameters
from heedful.models.sequence_classifier import Scale
from heedful.records.types import Prompt

Combine = Literal["mean", "worst", "mean_minus_variance"]
SETTINGS, BACKBONE = "reward.json", "backbone"
MODE = "ensemble"


def combined(scores: Tensor, combine: Combine, variance_weight: float = 1.0) -> Tensor:
    """Return one score [N] per completion from those of the members [N, M]."""
    match combine:
        case "mean":
            return scores.mean(1)
        case "worst":
            return scores.amin(1)
        case "mean_minus_variance":
            return scores.mean(1) - variance_weight * scores.var(1, unbiased=False)


class Ensemble:
    """Scores completions with several members; stands in for one reward model.

    Args:
        backbone: text to state, shared; of adapters the base.
        heads: one per member; of a classifier two, wanted and unwanted, member after member.
        adapted: the peft model around the backbone's, with one adapter per member called by `adapter_name`; None for `head`.
        classes: heads per member: 1, or 2 of a classifier.
        combine, variance_weight: from the members' scores to one.
        scales: the members' own.
        scale: of the combined score.
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Sequence[ScalarHead],
        *,
        adapted: Any = None,
        classes: int = 1,
        combine: Combine = "mean",
        variance_weight: float = 1.0,
        scales: Sequence[Scale] | None = None,
        scale: Scale | None = None,
    ) -> None:
        self.backbone = backbone
        self.heads = [head.to(backbone.device) for head in heads]
        self.adapted = adapted
        self.classes = classes
        self.combine: Combine = combine
        self.variance_weight = variance_weight
        self.scales = list(scales or [Scale()] * (len(heads) // classes))
        self.scale = scale or Scale()
        self.keep_members = False
        self.members: Tensor | None = None
        """[N, M]: with `keep_members` on, the members' scores of the last texts that were scored; the scores stay the same bits."""

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Return the named parameters that may be trained, of all members."""
        return trainable_parameters(self.backbone.model, self.heads)

    def raw(self, texts: Sequence[Text]) -> Tensor:
        """Return the members' numbers [B, M] ([B, 2 M] of a classifier) before any scale, fp32, with gradients."""
        if self.adapted is None:
            states = self.backbone.states(texts)
            return torch.stack([head(states) for head in self.heads], -1)
        columns = []
        for number in range(len(self.scales)):
            with with_adapter(self.adapted, adapter_name(number)):
                states = self.backbone.states(texts)
            columns += [head(states) for head in self.heads[number * self.classes : (number + 1) * self.classes]]
        return torch.stack(columns, -1)

    def raw_batched(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        """Return `raw` for many texts, batched by length, in their order; no gradients."""
        texts = [self.backbone.read(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]
        return by_length(texts, self.raw, len(self.heads))

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        """Return the scores of the members [N, M], each on its own scale, fp64; how far they lie apart says how sure they are."""
        raw = self.raw_batched(prompts, completions).double()[:, :: self.classes]
        if self.classes > 1:
            raw = raw / self.scale.temperature
        return torch.stack([scale.apply(raw[:, number]) for number, scale in enumerate(self.scales)], -1)

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return one number per completion, from all members."""
        members = self.member_scores(prompts, completions)
        if self.keep_members:
            self.members = members
        return list(self.scale.apply(self.combined(members)).tolist())

    def probability_unwanted(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[float]:
        """Return P(unwanted class) in [0, 1], from the members' log odds; DataError where they have no classes."""
        if self.classes == 1:
            raise DataError("this ensemble has no classes", fix="use a reward artifact of mode 'classifier'")
        odds = self.combined(log_odds(self.raw_batched(prompts, completions).double()))
        return list((-odds / self.scale.temperature).sigmoid().tolist())

    def calibrated(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Ensemble:
        """Return the same ensemble: each member, and what is combined of them, has mean 0 and sd 1 on these texts.

        Raises:
            DataError: fewer than two texts, or a member gives all of them one score.
        """
        plain = self._with(scales=[Scale()] * len(self.scales), scale=self.scale)
        scores = plain.member_scores(prompts, completions)
        scales = [Scale().fitted(scores[:, number]) for number in range(len(self.scales))]
        members = torch.stack([scale.apply(scores[:, number]) for number, scale in enumerate(scales)], -1)
        return self._with(scales=scales, scale=self.scale.fitted(self.combined(members)))

    def scaled(self, scale: Scale) -> Ensemble:
        """Return the same ensemble with this scale of the combined score."""
        return self._with(scale=scale)

    def tempered(self, spread: float) -> Ensemble:
        """Return the same ensemble, whose lead of `spread` reward units over another completion means odds of e to 1."""
        return self._with(scale=replace(self.scale, temperature=spread / self.scale.gain))

    def probability_better(self, leads: Sequence[float]) -> list[float]:
        """Return P(the first completion is better) in [0, 1] for leads of one completion's score over another's.

        Of a classifier a lead is put back into logits by the members' mean gain.
        """
        if self.classes > 1:
            gain = fmean(scale.gain for scale in self.scales)
            leads = [lead / gain for lead in leads]
        return self.scale.probability_better(leads, divided=self.classes > 1)

    def averaged(self) -> tuple[Backbone, list[ScalarHead]]:
        """Return one backbone and its heads whose weights (of adapters: what they add to the base) are the members' mean.

        The ensemble cannot be used afterwards: its adapters are merged into its base.
        """
        if self.adapted is not None:
            merged_mean(self.adapted, [adapter_name(number) for number in range(len(self.scales))])
        return self.backbone, [mean_head(self.heads[number :: self.classes]) for number in range(self.classes)]

    def save(self, folder: Path) -> None:
        """Write the base to `backbone/`, an adapter and a head per member, and `reward.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapted is None:
            self.backbone.save(folder / BACKBONE)
        else:
            save_without_adapters(self.adapted, folder / BACKBONE)
            self.backbone.tokenizer.save_pretrained(str(folder / BACKBONE))
        for number, head in enumerate(self.heads):
            head.save(folder / _head_name(number))
        for number in range(len(self.scales) if self.adapted is not None else 0):
            save_adapter(self.adapted, folder / adapter_name(number), adapter_name(number))
        facts = {
            "mode": MODE,
            "classes": self.classes,
            "combine": self.combine,
            "variance_weight": self.variance_weight,
            "adapters": self.adapted is not None,
            "scales": [asdict(scale) for scale in self.scales],
            "scale": asdict(self.scale),
            "reading": asdict(self.backbone.reading),
        }
        (folder / SETTINGS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def combined(self, scores: Tensor) -> Tensor:
        """Return one number [N] per text from those of the members [N, M]."""
        return combined(scores, self.combine, self.variance_weight)

    def _with(self, *, scales: Sequence[Scale] | None = None, scale: Scale) -> Ensemble:
        return Ensemble(
            self.backbone,
            self.heads,
            adapted=self.adapted,
            classes=self.classes,
            combine=self.combine,
            variance_weight=self.variance_weight,
            scales=scales or self.scales,
            scale=scale,
        )


def load_ensemble(folder: Path, facts: dict[str, Any]) -> Ensemble:
    """Return the ensemble of a folder; `facts` is what its reward.json holds.

    Raises:
        ModelError: a part of it is missing or altered.
        KeyError, TypeError: the facts are not an ensemble's.
    """
    scales = [Scale(**scale) for scale in facts["scales"]]
    classes = int(facts.get("classes", 1))
    backbone = load_backbone(folder / BACKBONE, Reading(**facts["reading"]))
    adapted: Any = backbone.model
    for number in range(len(scales) if facts["adapters"] else 0):
        adapted = load_adapter(adapted, folder / adapter_name(number), name=adapter_name(number))
    return Ensemble(
        backbone,
        [ScalarHead.load(folder / _head_name(number)) for number in range(classes * len(scales))],
        adapted=adapted if facts["adapters"] else None,
        classes=classes,
        combine=facts["combine"],
        variance_weight=facts["variance_weight"],
        scales=scales,
        scale=Scale(**facts["scale"]),
    )


def adapter_name(number: int) -> str:
    """Return what the adapter of a member is called."""
    return f"member_{number}"


def _head_name(number: int) -> str:
    return f"head_{number}.safetensors"
