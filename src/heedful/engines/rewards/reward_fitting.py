"""Fitting a reward model: the backbone is opened, one of its teachers fits it, reference samples set its scale, it is saved.

The teachers are `contrasting` (demonstrations), `pairwise` (preferences), `kwise` (rankings),
`classifying` (labeled texts) and `rating` (rated texts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from heedful.engines.fitting import FitSettings, fit
from heedful.engines.rewards.classifying import LabeledTeacher
from heedful.engines.rewards.contrasting import ContrastTeacher
from heedful.engines.rewards.ensembling import ensemble_of
from heedful.engines.rewards.kwise import ranking_teacher
from heedful.engines.rewards.pair_sources import pair_sources
from heedful.engines.rewards.pairwise import pair_teacher
from heedful.engines.rewards.rating import RatingTeacher
from heedful.errors import ConfigError, ModelError
from heedful.models.adapters import add_lora
from heedful.models.backbones import Backbone, Reading, body_of, load_backbone
from heedful.models.ensemble import Ensemble
from heedful.models.folders import resolve_source
from heedful.models.loading import load_tokenizer
from heedful.models.opening import open_model
from heedful.models.reward import Mode, RewardModel, load_reward_model, new_reward_model
from heedful.models.sequence_classifier import SequenceClassifier, load_sequence_classifier
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Record

if TYPE_CHECKING:
    from heedful.engines.fitting import Fit
    from heedful.stages.reward import Config

Metrics = dict[str, Any]


Model = Any
"""A RewardModel or an Ensemble."""


class Teacher(Protocol):
    """What tells the modes apart."""

    def job(self, model: Model) -> Fit:
        """Return what the fitting loop needs."""
        ...

    def finished(self, model: Model) -> Model:
        """Return the model after what is fitted last, such as a temperature."""
        ...

    def settled(self, model: Model) -> Model:
        """Return the model after what is fitted to its final scores, such as the temperature of pairs."""
        ...

    def judge(self, model: Model) -> Metrics:
        """Return the model's figures on rows it was not trained on."""
        ...

    def scored(self, model: Model) -> Iterator[Record]:
        """Yield the tune rows with their scores in `meta`."""
        ...


def fit_reward(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `reward` as its settings say; see `stages/reward.py`."""
    if config.mode == "pretrained":
        assert config.wanted is not None
        ready = load_sequence_classifier(
            resolve_source(config.backbone.source, out.base),
            config.wanted,
            reading=_reading(config),
            allow_pickle=config.backbone.allow_pickle,
        )
        return _finish(config, _calibrated(ready, inputs), {}, out)
    teacher = _teacher(config, inputs, seed)
    begun = _beginning(config, inputs, out, seed)
    learner, merged = _learner(config, begun, seed, fresh="start" not in inputs)
    job = teacher.job(learner)
    history = fit(job, FitSettings.of(config), out, seed=seed)
    model = teacher.finished(merged())
    metrics = {f"{name}_before": value for name, value in history[0].items()} if history else {}
    model = teacher.settled(_calibrated(model, inputs))
    out.write("tune_scores", teacher.scored(model))
    return _finish(config, model, metrics | teacher.judge(model), out)


def _teacher(config: Config, inputs: Mapping[str, Artifact], seed: int) -> Teacher:
    assert config.mode != "pretrained"
    match config.mode:
        case "contrast":
            return ContrastTeacher(inputs["demonstrations"], seed=seed)
        case "pairwise":
            return pair_teacher(
                pair_sources(inputs, config.mix),
                centering=config.centering,
                weigh=config.weigh,
                targets=config.targets,
                margin_scale=config.margin_scale,
                resample=config.resamples,
                prompt_type=config.prompt_type,
                seed=seed,
            )
        case "kwise":
            return ranking_teacher(
                inputs["rankings"],
                inputs.get("preferences"),
                loss=config.ranking_loss,
                resample=config.resamples,
                prompt_type=config.prompt_type,
                centering=config.centering,
                seed=seed,
            )
        case "rating":
            return RatingTeacher(inputs["ratings"], better=config.better, resample=config.resamples, seed=seed)
        case "classifier":
            return LabeledTeacher(inputs["labeled"], balance=config.balance, resample=config.resamples, seed=seed)


def _beginning(config: Config, inputs: Mapping[str, Artifact], out: Workspace, seed: int) -> RewardModel:
    """Return the model before its first step: another reward model, or a backbone with new heads."""
    if "start" not in inputs:
        heads: Mode = "classifier" if config.mode == "classifier" else "pairwise"
        return new_reward_model(_language_model(config, inputs, out), heads, seed=derive_seed(seed, "reward", "head"))
    found = load_reward_model(inputs["start"].path / "model")
    if not isinstance(found, RewardModel) or (found.mode == "classifier") != (config.mode == "classifier"):
        kinds = {SequenceClassifier: "a reward model of mode 'pretrained'", Ensemble: "an ensemble"}
        kind = kinds.get(type(found)) or f"a reward model of mode '{found.mode}'"  # type: ignore[union-attr]
        raise ConfigError(f"reward: mode '{config.mode}' cannot go on from the input 'start', {kind}")
    return RewardModel(found.backbone, found.heads)


def _reading(config: Config) -> Reading:
    group = config.backbone
    return Reading(group.max_tokens, config.sees_prompt, group.pooling, group.precision)


def _language_model(config: Config, inputs: Mapping[str, Artifact], out: Workspace) -> Backbone:
    group = config.backbone
    if group.source != "policy":
        source = resolve_source(group.source, out.base)
        return load_backbone(source, _reading(config), allow_pickle=group.allow_pickle)
    folder = inputs["policy"].path / "model"
    model: Any = open_model(folder)
    if hasattr(model, "peft_config"):
        model = model.merge_and_unload()
    return body_of(model, load_tokenizer(folder), _reading(config))


def _learner(config: Config, model: RewardModel, seed: int, *, fresh: bool) -> tuple[Model, Callable[[], Model]]:
    """Return what is fitted, one model or an ensemble on its backbone, and what gives the fitted model at the end."""
    group = config.ensemble
    apart = group is not None and group.differ == "adapter"
    merge = (lambda: None) if apart else _adapted(config, model.backbone, seed)
    learner: Model = model
    if group is not None:
        learner = ensemble_of(model, group, config.lora if apart else None, seed=seed, fresh=fresh)

    def fitted() -> Model:
        merge()
        if group is None or group.combine != "weights":
            return learner
        return RewardModel(*learner.averaged())

    return learner, fitted


def _adapted(config: Config, backbone: Backbone, seed: int) -> Callable[[], object]:
    """Mark what of the backbone is to be trained, and return what merges an adapter at the end."""
    backbone.model.requires_grad_(True)
    if config.lora is None:
        freeze_first(backbone.model, config.backbone.freeze_layers)
        return lambda: None
    shape = config.lora
    adapter_seed = derive_seed(seed, "reward", "lora")
    wrapped = add_lora(backbone.model, r=shape.r, alpha=shape.alpha, targets=shape.targets, seed=adapter_seed)
    return wrapped.merge_and_unload  # type: ignore[no-any-return]


def freeze_first(model: nn.Module, layers: int) -> None:
    """Freeze the input embeddings and the first `layers` layers of each stack of the model; 0 freezes nothing.

    Raises:
        ModelError: the model has fewer.
    """
    if layers == 0:
        return
    model.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    depth = max((len(stack) for stack in stacks), default=0)
    if layers > depth:
        raise ModelError(f"reward.backbone.freeze_layers = {layers}, but the model has {depth} layers")
    for stack in stacks:
        if len(stack) == depth:
            for layer in list(stack)[:layers]:
                layer.requires_grad_(False)


def _calibrated(model: Any, inputs: Mapping[str, Artifact]) -> Any:
    if "samples" not in inputs:
        return model
    rows = inputs["samples"].records("completions", Completion)
    return model.calibrated([row.prompt for row in rows], [row.completion for row in rows])


def _finish(config: Config, model: Model, metrics: Metrics, out: Workspace) -> Artifact:
    model.save(out.folder("model"))
    scale = {"gain": model.scale.gain, "bias": model.scale.bias, "temperature": model.scale.temperature}
    about: Metrics = {"name": config.called, "mode": config.mode, "sees_prompt": model.backbone.reading.sees_prompt}
    out.write_json("reward.json", {**about, **scale, **metrics})
    return out.finish(metrics=metrics)
