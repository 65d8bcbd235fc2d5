"""An ordinary sequence classifier, as hubs have them, in the role of a reward model: its own head, one label named wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from heedful.errors import DataError, ModelError
from heedful.models.backbones import Backbone, Reading, Text, by_length
from heedful.models.folders import checked_folder, refuse_pickle
from heedful.models.loading import fit_tokenizer, load_tokenizer
from heedful.models.trunks import autocast
from heedful.models.weights import load_weights
from heedful.records.types import Prompt

# One text scored in two places of a batch may differ by this share of its score in float32, on some processors.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Scale:
    """score = gain * raw + bias; a classifier's logits are divided by `temperature` before.

    Of two texts P(a is better than b) = sigmoid((raw_a - raw_b) / temperature), in every mode.
    """

    gain: float = 1.0
    bias: float = 0.0
    temperature: float = 1.0

    def apply(self, raw: Tensor) -> Tensor:
        """Return scores for raw numbers (logits already divided by the temperature)."""
        return self.gain * raw + self.bias

    def probability_better(self, leads: Sequence[float], *, divided: bool) -> list[float]:
        """Return P(the first text is better) in [0, 1] for leads of one text's score over another's.

        sigmoid(lead / (gain * temperature)),   sigmoid(lead / gain) where scores are `divided` by the temperature already
        """
        unit = self.gain if divided else self.gain * self.temperature
        return list((torch.tensor(leads, dtype=torch.float64) / unit).sigmoid().tolist())

    def fitted(self, raw: Tensor) -> Scale:
        """Return the scale that gives these raw numbers mean 0 and population standard deviation 1.

            gain = 1 / sd(raw),   bias = - gain * mean(raw)

        Raises:
            DataError: fewer than two numbers, or all are the same but for rounding.

        Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.1.
        """
        spread = float(raw.std(unbiased=False)) if len(raw) > 1 else 0.0
        if not math.isfinite(spread) or spread <= ROUNDING * float(raw.abs().max()):
            raise DataError(f"{len(raw)} reference samples have no spread of scores; give more, and different ones")
        gain = 1 / spread
        return replace(self, gain=gain, bias=-gain * float(raw.mean()))


class SequenceClassifier:
    """Scores with the logit of the wanted class; every other class counts as unwanted.

    Args:
        backbone: the classifier itself, head included, with its tokenizer.
        wanted: the label's number.
        label: its name.
        scale: from logits to scores.
    """

    def __init__(self, backbone: Backbone, wanted: int, label: str, scale: Scale | None = None) -> None:
        self.backbone = backbone
        self.wanted = wanted
        self.label = label
        self.scale = scale or Scale()

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return the logit of the wanted class, scaled, per completion."""
        return list(self.scale.apply(self._logits(prompts, completions)[:, self.wanted]).tolist())

    def probability_unwanted(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[float]:
        """Return 1 - P(wanted class), in [0, 1]."""
        chances = self._logits(prompts, completions).softmax(-1)
        return [1.0 - chance for chance in chances[:, self.wanted].tolist()]

    def probability_better(self, leads: Sequence[float]) -> list[float]:
        """Return P(the first completion is better) in [0, 1] for leads of one completion's score over another's."""
        return self.scale.probability_better(leads, divided=True)

    def calibrated(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> SequenceClassifier:
        """Return the same classifier with gain and bias such that these texts' scores have mean 0 and sd 1."""
        raw = self._logits(prompts, completions)[:, self.wanted]
        return SequenceClassifier(self.backbone, self.wanted, self.label, self.scale.fitted(raw))

    def save(self, folder: Path) -> None:
        """Write the classifier to `backbone/` and what it is used for to `reward.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.backbone.save(folder / "backbone")
        reading = asdict(self.backbone.reading)
        facts = {"mode": "pretrained", "wanted": self.label, "scale": asdict(self.scale), "reading": reading}
        (folder / "reward.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def _logits(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        texts = [self.backbone.read(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]
        num_labels = self.backbone.model.config.num_labels
        return by_length(texts, self._forward, num_labels).double() / self.scale.temperature

    def _forward(self, texts: Sequence[Text]) -> Tensor:
        with autocast(self.backbone.reading.precision, self.backbone.device):
            return self.backbone.model(**self.backbone.inputs(texts)).logits.float()  # type: ignore[no-any-return]


def load_sequence_classifier(
    source: str | Path,
    wanted: str,
    *,
    reading: Reading | None = None,
    scale: Scale | None = None,
    allow_pickle: bool = False,
) -> SequenceClassifier:
    """Return the classifier of a folder or hub name.

    Args:
        wanted: name of the wanted label, as the model's config spells it (case does not matter), such as "nothate".
        reading: by default the completion alone, as such classifiers were trained.

    Raises:
        ModelError: the folder is missing, is no classifier of at least two classes, or has no such label.
    """
    tokenizer = load_tokenizer(source)
    if not allow_pickle:
        refuse_pickle(checked_folder(source))
    model = load_weights(AutoModelForSequenceClassification, source, allow_pickle=allow_pickle, dtype=torch.float32)
    labels = {str(name).lower(): int(number) for number, name in model.config.id2label.items()}
    if len(labels) < 2 or wanted.lower() not in labels:
        raise ModelError(f"{source}: no class {wanted!r}; expected at least two classes, has {', '.join(labels)}")
    fit_tokenizer(model, tokenizer)
    backbone = Backbone(model, tokenizer, reading or Reading(sees_prompt=False))
    return SequenceClassifier(backbone, labels[wanted.lower()], wanted, scale)
