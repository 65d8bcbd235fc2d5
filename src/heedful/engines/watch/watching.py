"""The watch over one alignment run: what is measured, who speaks, which checkpoint was best, and what a resume needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue
from torch import Tensor
from torch.nn import Parameter

from heedful.engines.generation import sample
from heedful.engines.memory import ForwardBudget
from heedful.engines.monitors import Monitors, strongest
from heedful.engines.progress import say
from heedful.engines.rollout import Answers
from heedful.engines.selecting import check_prompts, chosen_prompts
from heedful.engines.watch.alerts import Alert, AlertLog, failure
from heedful.engines.watch.best import BestCheckpoint
from heedful.engines.watch.gold_watch import GoldWatch
from heedful.engines.watch.monitor_columns import ColumnMaker, Samples
from heedful.errors import DataError, HealthError
from heedful.models.functions import FunctionScorer
from heedful.models.policy import LanguagePolicy
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.models.table import Table
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.types import PromptRecord

if TYPE_CHECKING:
    from heedful.stages.align import Config

Row = Mapping[str, float]
_COLUMNS, _BEST = "columns.", "best."


class RunWatch:
    """Watches one run. It reads what the run computes anyway, and answers fixed prompts only where there is a gold scorer.

    Args:
        config: of the run; `config.monitors.enabled` = False makes a watch that does nothing.
        scorer: what trains.
        gold: what does not, if anything.
        weights: gives the trainable weights as they are now.
    """

    def __init__(
        self,
        config: Config,
        scorer: Scorer,
        gold: GoldWatch | None,
        weights: Callable[[], Iterable[tuple[str, Parameter]]],
        out: Workspace,
    ) -> None:
        self._enabled = config.monitors.enabled
        budget = config.kl.target or config.stop.kl_budget
        self._monitors = Monitors(config.monitors.rules() if self._enabled else {}, budget=budget)
        self._columns = ColumnMaker(scorer) if self._enabled else None
        self.gold = gold if self._enabled else None
        self._weights = weights
        self._log = AlertLog(out)
        self.best = BestCheckpoint("score_mean" if self.gold is None else "gold_mean")
        self._samples = Samples([], [])

    def after_rollout(self, row: Row, table: Table, answers: Answers) -> dict[str, float]:
        """Measure a rollout before its update, and take the weights where they are the best so far; return the new columns."""
        if self._columns is None:
            return {}
        columns, self._samples = self._columns.measure(table, answers)
        if self.gold is not None:
            columns |= self.gold.measure(int(row["iteration"]), row["kl_per_sequence"])
        seen = {**row, **columns}
        # what gold says of a checkpoint is worth more than what monitors suspect
        fit = self._monitors.quiet(seen) or self.gold is not None
        self.best.offer(int(row["iteration"]), seen, fit, self._weights())
        return columns

    def after_update(self, row: Row) -> Alert | None:
        """Write and print the alerts of an iteration; return the one that ends the run, if any."""
        if self._columns is None:
            return None
        alerts = self._monitors.look(row, self._samples)
        self._log.write(alerts)
        self._say_peak(row)
        return strongest(alerts)

    def failed(self, iteration: int, error: HealthError | DataError, answers: Answers) -> None:
        """Write and print the alert of a check that ends the run with an error."""
        if self._enabled:
            metric = getattr(error, "metric", "") or "score_mean"
            self._log.write([failure(iteration, metric, str(error), Samples.of(answers))])

    def _say_peak(self, row: Row) -> None:
        if "gold_peak_kl" in row:
            here = f"now {row['kl_per_sequence']:.3g}; the best so far was iteration {self.best.iteration}"
            say(f"gold is expected to peak at {row['gold_peak_kl']:.3g} nats of KL ({here})")

    def facts(self) -> dict[str, JsonValue]:
        """Return what the manifest keeps: alerts without their completions, the best checkpoint, where gold peaks."""
        if self._columns is None:
            return {}
        best: dict[str, JsonValue] = {"by": self.best.by, **self.best.state()}
        facts: dict[str, JsonValue] = {"alerts": self._log.facts(), "best": best}
        return facts | self._peak()

    def _peak(self) -> dict[str, JsonValue]:
        fit = None if self.gold is None else self.gold.fit()
        if fit is None or fit.peak is None:
            return {}
        low, high = fit.peak_interval or (None, None)
        return {"gold_peak": {"kl": fit.peak, "low": low, "high": high}}

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold of what has been seen; the rest is in `tensors`."""
        if self._columns is None:
            return {}
        return {
            "monitors": self._monitors.state(),
            "columns": self._columns.state(),
            "best": self.best.state(),
            "gold": [] if self.gold is None else self.gold.state(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the state."""
        if self._columns is None:
            return {}
        columns = {_COLUMNS + name: tensor for name, tensor in self._columns.tensors().items()}
        return columns | {_BEST + name: tensor for name, tensor in self.best.tensors().items()}

    def restore(self, iterations: int, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from the state after so many iterations."""
        self._log.truncate(iterations)
        if self._columns is None or not state:
            return
        self._monitors.restore(state["monitors"])
        self._columns.restore(state["columns"], _below(_COLUMNS, tensors))
        self.best.restore(state["best"], _below(_BEST, tensors))
        if self.gold is not None:
            self.gold.restore(state["gold"])


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def gold_watch(
    config: Config,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    policy: LanguagePolicy,
    scorer: Scorer,
    *,
    seed: int,
    decoding: ForwardBudget,
) -> GoldWatch | None:
    """Return the watch over gold of the input `gold` or of a function; None where there is neither. `decoding` is the run's own."""
    group, rollout = config.monitors.gold, config.rollout
    if "gold" not in inputs and group.function is None:
        return None
    prompts = _fixed(chosen_prompts(inputs["prompts"], group.split, rollout.where), group.prompts, seed)
    check_prompts(policy.renderer, prompts, inputs["prompts"], group.split, max_new_tokens=rollout.max_new_tokens)
    seeds = [derive_seed(seed, "gold", row) for row in range(len(prompts))]

    def answer(records: Sequence[PromptRecord]) -> list[str]:
        context = policy.tokens([each.prompt for each in records], room=rollout.max_new_tokens)
        found = sample(policy, context, seeds, max_new_tokens=rollout.max_new_tokens, budget=decoding)
        kept = zip(found.actions, found.mask, strict=True)
        return [policy.renderer.completion_text(actions[mask].tolist()) for actions, mask in kept]

    gold = load_reward_model(inputs["gold"].path / "model") if "gold" in inputs else None
    if gold is None:
        assert group.function is not None
        return GoldWatch(prompts, answer, FunctionScorer(group.function, out.base), scorer, every=group.every)
    return GoldWatch(prompts, answer, gold, scorer, every=group.every)


def _fixed(prompts: Sequence[PromptRecord], count: int, seed: int) -> list[PromptRecord]:
    """Draw `count` prompts, without their order mattering; all of them where there are not more."""
    order = sorted(range(len(prompts)), key=lambda place: derive_seed(seed, "gold", "prompt", prompts[place].id))
    return [prompts[place] for place in sorted(order[:count])]
