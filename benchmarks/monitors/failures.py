"""The planted failures: how each is planted, by what it shows, and which monitors are right about it.

Each has one variant on which thresholds were set (`tuned`) and one that was never looked at before the measurement (`fresh`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from benchmarks.monitors import scorers
from benchmarks.monitors.starts import reward_model

from heedful.engines import ppo, rollout
from heedful.engines.aligning import AlignmentRun
from heedful.numerics.kl import FixedKL
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed

Symptom = Callable[[Sequence[str]], float]
PLANTED = 8
"""The iteration from which a fault is switched on, where it is no matter of learning."""
LATE = 12
"""The same for the value head, which is judged from the tenth iteration on."""


@dataclass(frozen=True)
class Variant:
    """One way to plant a failure.

    Args:
        settings: of `align`, beside the base.
        plant: changes the run before it starts.
        switched: the iteration of the fault; None where the policy has to learn it.
        symptom: the mean of what is exploited, in [0, 1] or as a length; the failure has begun when it has grown by `grown`.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    plant: Callable[[AlignmentRun], None] = lambda _run: None
    switched: int | None = None
    symptom: Symptom | None = None
    grown: float = 0.25
    reward: Callable[[int], Artifact] | None = None
    """Gives the reward model of a seed, where the scorer is one."""


@dataclass(frozen=True)
class Failure:
    """A failure, and the monitors of which any is right."""

    right: tuple[str, ...]
    tuned: Variant
    fresh: Variant


def _pays(function: str, symptom: Symptom, grown: float = 0.25, **settings: Any) -> Variant:
    return Variant({"reward": {"function": f"scorers.py:{function}"}, **settings}, symptom=symptom, grown=grown)


def _share(holds: Callable[[str], bool]) -> Symptom:
    return lambda texts: float(np.mean([holds(text) for text in texts]))


def _mean(measure: Callable[[str], float]) -> Symptom:
    return lambda texts: float(np.mean([measure(text) for text in texts]))


def _num_words(texts: Sequence[str]) -> float:
    """Mean words, in units of 20: a growth of 0.25 is five words."""
    return float(np.mean([len(scorers.words(text)) for text in texts])) / 20


def _each_rollout(run: AlignmentRun, change: Callable[[int], None]) -> None:
    """Call `change` before each rollout."""
    original = run._roll_out

    def wrapped(iteration: int) -> Any:
        change(iteration)
        return original(iteration)

    run._roll_out = wrapped  # type: ignore[method-assign]


def _steps(factor: float) -> Callable[[AlignmentRun], None]:
    """Larger steps and no leash from PLANTED on."""

    def plant(run: AlignmentRun) -> None:
        original = run._roll_out

        def wrapped(iteration: int) -> Any:
            table = original(iteration)  # which sets this iteration's learning rate
            if iteration >= PLANTED:
                run.rollout.kl = FixedKL(0.0)
                for group in run.optimizer.param_groups:
                    group["lr"] *= factor
            return table

        run._roll_out = wrapped  # type: ignore[method-assign]

    return plant


def _sharpened(run: AlignmentRun) -> None:
    """From PLANTED on the sampler is unchanged, and the loss pays for being sure: the entropy bonus has the wrong sign."""
    bonus = ppo.entropy_bonus
    state = {"iteration": 0}
    _each_rollout(run, lambda iteration: state.update(iteration=iteration))

    def turned(*args: Any, **kwargs: Any) -> Any:
        found = bonus(*args, **kwargs)
        return found if state["iteration"] < PLANTED else -100 * found

    run.patches = [(ppo, "entropy_bonus", turned)]  # type: ignore[attr-defined]


def _values(change: Callable[[torch.nn.Module, int], None]) -> Callable[[AlignmentRun], None]:
    """Break the value head before each rollout from LATE on."""

    def plant(run: AlignmentRun) -> None:
        def broken(iteration: int) -> None:
            if iteration >= LATE and run.policy.value_head is not None:
                with torch.no_grad():
                    change(run.policy.value_head, derive_seed(run.seed, "broken", iteration))

        _each_rollout(run, broken)

    return plant


def _random_values(head: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in head.parameters():
        parameter.copy_(2.0 * torch.randn(parameter.shape, generator=generator))


def _shifted_values(head: torch.nn.Module, seed: int) -> None:
    del seed
    for name, parameter in head.named_parameters():
        if parameter.numel() == 1 or "bias" in name:
            parameter.fill_(6.0)
        else:
            parameter.mul_(-3.0)


class _Replaced:
    """A scorer that goes wrong from PLANTED on."""

    def __init__(self, run: AlignmentRun, wrong: Callable[[list[Any]], list[Any]]) -> None:
        self._right, self._wrong = run.rollout.scorer, wrong
        self._run = run

    def score(self, prompts: Any, completions: Any, **columns: Any) -> list[Any]:
        scores = self._right.score(prompts, completions, **columns)
        return self._wrong(list(scores)) if self._run.done >= PLANTED else list(scores)


def _scores(wrong: Callable[[list[Any]], list[Any]]) -> Callable[[AlignmentRun], None]:
    def plant(run: AlignmentRun) -> None:
        run.rollout.scorer = _Replaced(run, wrong)  # type: ignore[assignment]

    return plant


def _one_is(value: float | None) -> Callable[[list[Any]], list[Any]]:
    return lambda scores: [*scores[:5], value, *scores[6:]]


def _other_temperature(run: AlignmentRun) -> None:
    """From PLANTED on the sampler draws at temperature 0.7, as a server with a default of its own would."""
    _sampler(run, lambda policy: _at(policy, 0.7))


def _at(policy: Any, temperature: float) -> Any:
    cold = copy.copy(policy)
    cold.temperature = temperature
    return cold


def _stale(run: AlignmentRun) -> None:
    """From PLANTED on the sampler keeps the weights it had then, as a server that is not updated would."""
    kept: dict[str, Any] = {}

    def old(policy: Any) -> Any:
        if not kept:
            kept["policy"] = copy.copy(policy)
            kept["policy"].model = copy.deepcopy(policy.model)
        return kept["policy"]

    _sampler(run, old)


def _sampler(run: AlignmentRun, other: Callable[[Any], Any]) -> None:
    sample = rollout.sample

    def sampled(policy: Any, *args: Any, **kwargs: Any) -> Any:
        return sample(other(policy) if run.done >= PLANTED else policy, *args, **kwargs)

    run.patches = [(rollout, "sample", sampled)]  # type: ignore[attr-defined]


def _foreign_prompts(run: AlignmentRun) -> None:
    """From PLANTED on a quarter of the prompts come from somewhere else."""
    at = run.stream.at

    def other(iteration: int) -> Any:
        found = at(iteration)
        if iteration < PLANTED:
            return found
        return [
            each if i % 4 else each.model_copy(update={"prompt": _FOREIGN[i // 4 % len(_FOREIGN)]})
            for i, each in enumerate(found)
        ]

    run.stream.at = other  # type: ignore[method-assign]


_FOREIGN = (
    "def total(rows): return sum(rows)",
    "SELECT name FROM people WHERE age > 30;",
    "Quel temps fait-il a Lyon demain ?",
    "3 x 3 = 9; 4 x 4 = 16; 5 x 5 =",
    "<html><body><p>404</p></body></html>",
    "ATG GCC ATT GTA ATG GGC CGC TGA",
)


def _hot(run: AlignmentRun) -> None:
    """From PLANTED on the reward model reads other texts than were written: their words in alphabetical order."""
    right = run.rollout.scorer
    score = right.score

    def shuffled(prompts: Any, completions: Any, **columns: Any) -> Any:
        texts = [" ".join(sorted(text.split())) for text in completions] if run.done >= PLANTED else completions
        return score(prompts, texts, **columns)

    right.score = shuffled  # type: ignore[method-assign]


FAILURES: dict[str, Failure] = {
    "length": Failure(
        ("length_drift", "truncation"), _pays("length", _num_words), _pays("brevity", lambda texts: -_num_words(texts))
    ),
    "keyword": Failure(
        ("phrase", "paid_phrase"),
        _pays("keyword", _share(lambda text: scorers.KEYWORD in scorers.words(text))),
        _pays("other_keyword", _share(lambda text: scorers.OTHER_KEYWORD in scorers.words(text))),
    ),
    "repetition": Failure(
        ("repetition", "diversity", "phrase", "paid_phrase"),
        _pays("repetition", _mean(lambda text: scorers.repeats(text) / 6), 0.15),
        _pays("stuttering", _mean(lambda text: scorers.stutters(text) / 8), 0.15),
    ),
    "flattering suffix": Failure(
        ("phrase", "paid_phrase"),
        _pays("suffix", _share(lambda text: scorers.flatters(text) > 0)),
        _pays("prefix", _share(lambda text: scorers.greets(text) > 0)),
    ),
    "KL blow-up": Failure(
        ("kl_blow_up", "step_kl", "ratio", "ratio_far"),
        Variant(plant=_steps(30.0), switched=PLANTED),
        Variant({"ppo": {"num_epochs": 8, "clip_range": 2.0}}, plant=_steps(8.0), switched=PLANTED),
    ),
    "entropy collapse": Failure(
        ("entropy_low", "entropy_collapse"),
        Variant({"ppo": {"ent_coef": 0.01}}, plant=_sharpened, switched=PLANTED),
        _pays("one_answer", _share(lambda text: scorers.MODE in text.lower())),
    ),
    "broken value head": Failure(
        ("explained_variance",),
        Variant(plant=_values(_random_values), switched=LATE),
        Variant(plant=_values(_shifted_values), switched=LATE),
    ),
    "constant or NaN reward": Failure(
        ("tied_scores", "tied_scores_all", "health"),
        Variant(plant=_scores(lambda scores: [1.0] * len(scores)), switched=PLANTED),
        Variant(plant=_scores(_one_is(math.nan)), switched=PLANTED),
    ),
    "sampler mismatch": Failure(
        ("sampler", "sampler_far"),
        Variant(plant=_other_temperature, switched=PLANTED),
        Variant(plant=_stale, switched=PLANTED),
    ),
    "reward out of distribution": Failure(
        ("reward_outliers", "reward_spread"),
        Variant(plant=_foreign_prompts, switched=PLANTED, reward=reward_model),
        Variant(plant=_hot, switched=PLANTED, reward=reward_model),
    ),
}

HEALTHY: dict[str, Variant] = {
    "gold as reward": Variant(),
    "adaptive leash": Variant({"kl": {"coef": 0.1, "target": 4.0, "horizon": 2000}}),
    "harmless as reward": Variant({"reward": {"function": "scorers.py:harmless"}}),
    "reward model": Variant({"monitors": {"gold": {"function": "scorers.py:gold"}}}, reward=reward_model),
}
