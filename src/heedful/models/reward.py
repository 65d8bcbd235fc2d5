"""Reward models: a backbone and scalar heads that give a text one number.

* pairwise: score = gain * head(state) + bias. Gain and bias are fitted after training, so that the scores of reference
  samples have mean 0 and standard deviation 1. A temperature is fitted on held-out pairs: it says how sure a lead in score is,
  and moves no score.
* classifier: two heads, wanted and unwanted. The wanted class's logit (divided by a fitted temperature) is the score, the
  probability of the unwanted class is, say, the toxicity.

Both are saved as safetensors and JSON and read back exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from heedful.errors import DataError, ModelError
from heedful.models.backbones import Backbone, Reading, Text, by_length, load_backbone
from heedful.models.ensemble import MODE as ENSEMBLE
from heedful.models.ensemble import Ensemble, load_ensemble
from heedful.models.heads import ScalarHead, trainable_parameters
from heedful.models.sequence_classifier import Scale, SequenceClassifier, load_sequence_classifier
from heedful.records.types import Prompt

SETTINGS, BACKBONE = "reward.json", "backbone"
Mode = Literal["pairwise", "classifier"]


class RewardModel:
    """Scores completions; it gets text and tokenizes it itself.

    Args:
        backbone: text to state.
        heads: one for `pairwise`; wanted and unwanted for `classifier`.
        scale: from raw numbers to scores.

    With `keep_states` on, `states` [N, D] are those under the heads of the last texts that were scored; scores stay the same bits.
    """

    def __init__(self, backbone: Backbone, heads: Sequence[ScalarHead], scale: Scale | None = None) -> None:
        self.backbone = backbone
        self.heads = [head.to(backbone.device) for head in heads]
        self.scale = scale or Scale()
        self.keep_states = False
        self.states: Tensor | None = None

    @property
    def mode(self) -> Mode:
        """What it was trained on."""
        return "pairwise" if len(self.heads) == 1 else "classifier"

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Return the named parameters that may be trained."""
        return trainable_parameters(self.backbone.model, self.heads)

    def raw(self, texts: Sequence[Text]) -> Tensor:
        """Return the heads' numbers [B, 1] or [B, 2] before any scale, fp32, with gradients where they are on."""
        return self._judged(self.backbone.states(texts))

    def _judged(self, states: Tensor) -> Tensor:
        return torch.stack([head(states) for head in self.heads], -1)

    def _beside_states(self, texts: Sequence[Text]) -> Tensor:
        states = self.backbone.states(texts)
        return torch.cat([self._judged(states), states], -1)

    def raw_batched(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        """Return `raw` for many texts, batched by length, in their order; no gradients."""
        texts = [self.backbone.read(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]
        heads = len(self.heads)
        if not self.keep_states:
            return by_length(texts, self.raw, heads)
        both = by_length(texts, self._beside_states, heads + self.backbone.width)
        self.states = both[:, heads:].clone()
        return both[:, :heads].clone()

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return one number per completion; for a classifier, the logit of the wanted class."""
        return list(self.scale.apply(self._unscaled(prompts, completions)).tolist())

    def probability_unwanted(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[float]:
        """Return P(unwanted class) in [0, 1]; of a pairwise model DataError, for it has no classes."""
        if self.mode != "classifier":
            raise DataError("a pairwise reward model has no classes", fix="use a reward artifact of mode 'classifier'")
        logits = self.raw_batched(prompts, completions).double() / self.scale.temperature
        return list(logits.softmax(-1)[:, 1].tolist())

    def calibrated(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> RewardModel:
        """Return the same model with gain and bias such that these texts' scores have mean 0 and (population) sd 1.

            gain = 1 / sd(raw),   bias = - gain * mean(raw)

        Raises:
            DataError: fewer than two texts, or all have one score.

        Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.1.
        """
        return self.scaled(self.scale.fitted(self._unscaled(prompts, completions)))

    def scaled(self, scale: Scale) -> RewardModel:
        """Return the same model with this scale."""
        return RewardModel(self.backbone, self.heads, scale)

    def combined(self, members: Tensor) -> Tensor:
        """Return the numbers [N] of its one member [N, 1]; an ensemble has more to combine."""
        return members[:, 0]

    def tempered(self, spread: float) -> RewardModel:
        """Return the same model, whose lead of `spread` reward units over another completion means odds of e to 1."""
        return self.scaled(replace(self.scale, temperature=spread / self.scale.gain))

    def probability_better(self, leads: Sequence[float]) -> list[float]:
        """Return P(the first completion is better) in [0, 1] for leads of one completion's score over another's."""
        return self.scale.probability_better(leads, divided=self.mode == "classifier")

    def _unscaled(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        """Return the numbers [N] that gain and bias are applied to. A pair's temperature does not move scores."""
        raw = self.raw_batched(prompts, completions)[:, 0].double()
        return raw / self.scale.temperature if self.mode == "classifier" else raw

    def save(self, folder: Path) -> None:
        """Write `backbone/`, one file per head and `reward.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.backbone.save(folder / BACKBONE)
        for number, head in enumerate(self.heads):
            head.save(folder / _head_name(number))
        facts = {"mode": self.mode, "scale": asdict(self.scale), "reading": asdict(self.backbone.reading)}
        (folder / SETTINGS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def new_reward_model(backbone: Backbone, mode: Mode, *, seed: int) -> RewardModel:
    """Return an untrained reward model; its heads are drawn from `seed`."""
    count = 1 if mode == "pairwise" else 2
    return RewardModel(backbone, [ScalarHead(backbone.width, seed=seed + number) for number in range(count)])


def load_reward_model(folder: Path) -> RewardModel | SequenceClassifier | Ensemble:
    """Read the reward model of a folder that the `reward` stage wrote.

    Raises:
        ModelError: no reward.json, or a part of it is missing or altered.
    """
    path = folder / SETTINGS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["mode"] == "pretrained":
            return load_sequence_classifier(
                folder / BACKBONE, facts["wanted"], reading=Reading(**facts["reading"]), scale=Scale(**facts["scale"])
            )
        if facts["mode"] == ENSEMBLE:
            return load_ensemble(folder, facts)
        reading, scale = Reading(**facts["reading"]), Scale(**facts["scale"])
        count = 1 if facts["mode"] == "pairwise" else 2
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a reward model of ours; give the model/ folder of a reward artifact") from error
    heads = [ScalarHead.load(folder / _head_name(number)) for number in range(count)]
    return RewardModel(load_backbone(folder / BACKBONE, reading), heads, scale)


def _head_name(number: int) -> str:
    return f"head_{number}.safetensors"
