"""Supervised fine-tuning: the log-probs of what the assistant wrote, its EOS included, and nothing else.

loss = - sum over target tokens of log pi(token) / number of target tokens
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from heedful.engines.fitting import Fit, FitSettings, Unit, fit, microbatches
from heedful.errors import ConfigError, DataError
from heedful.models.adapters import add_lora, save_adapter
from heedful.models.folders import checked_folder, resolve_source
from heedful.models.loading import load_language_model, load_tokenizer, stop_ids
from heedful.models.opening import Base, base_of, open_model, write_pointer
from heedful.models.placement import place
from heedful.models.prompts import Renderer, plain_text
from heedful.models.scratch import new_causal, new_encoder_decoder, train_tokenizer
from heedful.models.trunks import PromptTokens, Trunk, make_trunk
from heedful.numerics.logprobs import head_logprobs
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.types import Demonstration

if TYPE_CHECKING:
    from heedful.stages.sft import Config, ScratchGroup


@dataclass(frozen=True)
class Lesson:
    """One demonstration in tokens: what is given, what follows, and which of that is a target (the last always is)."""

    name: str
    prompt: list[int]
    actions: list[int]
    targets: list[bool]

    @property
    def unit(self) -> Unit:
        """The lesson as the fitting loop sees it: weighed by its target tokens."""
        return Unit(self.name, len(self.prompt) + len(self.actions), weight=float(sum(self.targets)))


def lesson(renderer: Renderer, row: Demonstration) -> Lesson:
    """Return a demonstration in tokens. All before the first target is prompt; later turns of the user are not targets."""
    prompt: list[int] = []
    actions: list[int] = []
    targets: list[bool] = []
    for tokens, target in renderer.segments(row.prompt, row.completion):
        if target or actions:
            actions += tokens
            targets += [target] * len(tokens)
        else:
            prompt += tokens
    return Lesson(row.id, prompt, actions, targets)


def target_logprobs(trunk: Trunk, lessons: Sequence[Lesson], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return log-probs [N] in nats of all actions of the lessons, row by row, and [N] bool: is it a target."""
    prompts = PromptTokens.pack([lesson.prompt for lesson in lessons], device)
    actions = PromptTokens.pack([lesson.actions for lesson in lessons], device)
    targets = torch.tensor([flag for lesson in lessons for flag in lesson.targets], device=device)
    states = trunk.states(prompts, actions.tokens, actions.mask)
    logprobs, _ = head_logprobs(states.inputs, states.head, actions.tokens[actions.mask], entropy=False)
    return logprobs, targets


@torch.no_grad()
def held_out(trunk: Trunk, lessons: Sequence[Lesson], device: torch.device, tokens: int) -> dict[str, float]:
    """Return `heldout_loss` (nats per target token) and `heldout_p_eos`: P(EOS) where the completions end, their mean."""
    units = [lesson.unit for lesson in lessons]
    loss = p_eos = 0.0
    for part in microbatches(range(len(lessons)), units, tokens):
        rows = [lessons[i] for i in part]
        logprobs, targets = target_logprobs(trunk, rows, device)
        loss -= float(logprobs[targets].double().sum())
        ends = torch.tensor([len(row.actions) for row in rows], device=device).cumsum(0) - 1
        p_eos += float(logprobs[ends].double().exp().sum())
    return {"heldout_loss": loss / sum(unit.weight for unit in units), "heldout_p_eos": p_eos / len(lessons)}


def supervise(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `sft` as its settings say; see `stages/sft.py`. Without demonstrations the model is taken as it is."""
    source = inputs.get("demonstrations")
    rows = source.records("train.demonstrations", Demonstration) if source is not None else []
    model, tokenizer, base = _open(config, rows, inputs.get("start"), out.base, seed)
    renderer = Renderer.of(model, tokenizer)
    lessons, left_out = _lessons(rows, renderer, config.max_tokens, may_be_empty=source is None)
    trunk = make_trunk(model, config.precision)
    trained = _with_lora(model, config, seed)
    device = next(model.parameters()).device
    checks, _ = _lessons(_tune(source, config.measure_rows), renderer, config.max_tokens, may_be_empty=True)

    def loss_sum(part: list[int]) -> Tensor:
        logprobs, targets = target_logprobs(trunk, [lessons[i] for i in part], device)
        return -logprobs[targets].sum()

    def measure() -> dict[str, float]:
        return held_out(trunk, checks, device, config.microbatch_tokens) if checks else {}

    parameters = [(name, p) for name, p in trained.named_parameters() if p.requires_grad]
    job = Fit("sft", parameters, [lesson.unit for lesson in lessons], loss_sum, measure)
    history = fit(job, FitSettings.of(config), out, seed=seed)
    folder = out.folder("model")
    if config.lora is not None and config.allow_pickle:
        base = _unpickled(base, folder / "base")
    _save(trained, tokenizer, Base(base), folder)
    return out.finish(metrics=_summary(history, len(lessons), left_out), facts={"renderer": renderer.fingerprint})


def _open(
    config: Config, rows: Sequence[Demonstration], start: Artifact | None, base: Path, seed: int
) -> tuple[Any, Any, str]:
    if start is not None:
        return _begun(start.path / "model", config)
    if config.scratch is not None:
        tokenizer = train_tokenizer(_texts(rows), config.scratch.vocab_size)
        return place(_fresh(config.scratch, tokenizer, seed)), tokenizer, ""
    assert config.model is not None
    source = resolve_source(config.model, base)
    return load_language_model(source, allow_pickle=config.allow_pickle), load_tokenizer(source), source


def _begun(folder: Path, config: Config) -> tuple[Any, Any, str]:
    """Return the model that an earlier stage trained, all weights free to move; an adapter becomes part of them.

    Raises:
        ConfigError: a new adapter is wanted on one that has to be merged first.
    """
    model: Any = open_model(folder)
    if base_of(folder).adapter is not None:
        if config.lora is not None:
            raise ConfigError(
                "sft.lora: the model of the input 'start' holds an adapter already, which is merged here; leave 'lora' out"
            )
        model = model.merge_and_unload()
    return model.requires_grad_(True), load_tokenizer(folder), str(folder)


def _fresh(shape: ScratchGroup, tokenizer: Any, seed: int) -> Any:
    sizes = {"hidden": shape.hidden, "layers": shape.layers, "heads": shape.heads, "intermediate": shape.intermediate}
    if shape.kind == "t5":
        return new_encoder_decoder(tokenizer, seed=seed, **sizes)
    return new_causal(tokenizer, seed=seed, max_positions=shape.max_positions, **sizes)


def _texts(rows: Sequence[Demonstration]) -> Iterator[str]:
    for row in rows:
        yield plain_text(row.prompt)
        yield f" {row.completion}"


def _with_lora(model: Any, config: Config, seed: int) -> Any:
    if config.lora is None:
        return model
    shape = config.lora
    return add_lora(model, r=shape.r, alpha=shape.alpha, targets=shape.targets, seed=derive_seed(seed, "sft", "lora"))


def _lessons(
    rows: Sequence[Demonstration], renderer: Renderer, max_tokens: int, *, may_be_empty: bool = False
) -> tuple[list[Lesson], int]:
    """Return the lessons that fit, and how many did not."""
    limit = min(max_tokens, renderer.max_positions or max_tokens)
    unlimited = renderer.without_limit()
    lessons = [lesson(unlimited, row) for row in rows]
    fitting = [one for one in lessons if one.unit.length <= limit]
    if not fitting and not may_be_empty:
        shortest = min((one.unit.length for one in lessons), default=0)
        raise DataError(
            f"none of {len(lessons)} demonstrations fits into {limit} tokens (the shortest has {shortest})",
            fix="raise sft.max_tokens or choose a model with a longer context",
        )
    return fitting, len(lessons) - len(fitting)


def _tune(source: Artifact | None, limit: int) -> list[Demonstration]:
    if source is None or not (source.path / "tune.demonstrations.jsonl").is_file():
        return []
    return list(islice(source.records("tune.demonstrations", Demonstration), limit))


def _unpickled(source: str, folder: Path) -> str:
    """Return where later stages find the base without trusting a pickle: where it is, or in `folder` as safetensors."""
    given = checked_folder(source)
    if given is not None and any(given.glob("*.safetensors")):
        return source
    load_language_model(source, allow_pickle=True).save_pretrained(str(folder))
    load_tokenizer(source).save_pretrained(str(folder))
    return str(folder)


def _save(model: Any, tokenizer: Any, base: Base, folder: Path) -> None:
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    bare.generation_config.eos_token_id = sorted(stop_ids(bare, tokenizer))
    if bare is not model:
        save_adapter(model, folder / "adapter")
        write_pointer(folder, base)
        bare.generation_config.save_pretrained(str(folder))
    else:
        bare.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _summary(history: Sequence[dict[str, float]], used: int, left_out: int) -> dict[str, Any]:
    counts: dict[str, Any] = {"demonstrations": used, "left_out_too_long": left_out}
    for when, measured in (("before", history[0]), ("after", history[-1])) if history else ():
        counts |= {f"{name}_{when}": value for name, value in measured.items()}
    return counts
