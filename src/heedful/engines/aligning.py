"""The alignment run around the PPO core: prompts in order, scorer, KL controller, monitors, checkpoints, and what is kept.

Every random choice comes from (seed, iteration, purpose), so a run that was killed goes on from its last checkpoint and ends
bit-identical to one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import JsonValue

from heedful.engines.checkpoints import Checkpointer, optimizer_tensors, restore_optimizer
from heedful.engines.memory import ForwardBudget, decoding_budget
from heedful.engines.memory_parts import MemoryWatch, held_now
from heedful.engines.ppo import PPOSettings, train
from heedful.engines.progress import track
from heedful.engines.rewards.reward_gate import check_rewards
from heedful.engines.rollout import RewardSettings, TextRollout
from heedful.engines.scoring import arrived, restore_arrived, reward_models, scorer_for
from heedful.engines.selecting import check_prompts, chosen_prompts
from heedful.engines.tracking import MetricWriter
from heedful.engines.watch.kept_answers import AnswerLog
from heedful.engines.watch.watching import RunWatch, gold_watch
from heedful.errors import ConfigError, DataError, HealthError
from heedful.models.opening import LoraShape, check_adapter, open_policy, save_policy
from heedful.models.policy import LanguagePolicy, Reference
from heedful.models.table import Table
from heedful.numerics.kl import AdaptiveKL, FixedKL
from heedful.numerics.statistics import distinct_n
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.types import PromptRecord

if TYPE_CHECKING:
    from heedful.stages.align import Config

KL_AT_START = 1e-6
"""Nats per token. Policy and reference are the same function before the first step, or something is wired wrongly."""
RATIO_TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}


class PromptStream:
    """Prompts in a fresh random order for each pass; any iteration's prompts can be asked for at any time."""

    def __init__(self, prompts: Sequence[PromptRecord], *, rows: int, seed: int) -> None:
        self._prompts = prompts
        self._rows = rows
        self._seed = seed

    def at(self, iteration: int) -> list[PromptRecord]:
        """Return the prompts of one iteration."""
        places = range(iteration * self._rows, (iteration + 1) * self._rows)
        return [self._prompts[self._order(place // len(self._prompts))[place % len(self._prompts)]] for place in places]

    def _order(self, epoch: int) -> Any:
        return np.random.default_rng(derive_seed(self._seed, "prompts", epoch)).permutation(len(self._prompts))


def align(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `align` as its settings say; see `stages/align.py`."""
    run = AlignmentRun(config, inputs, out, seed=seed)
    run.restore()
    run.loop()
    return run.finish()


class AlignmentRun:
    """The state of one run: policy, reference, optimizer, controller and how far it is."""

    def __init__(self, config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> None:
        self.config, self.out, self.seed = config, out, seed
        before = held_now()
        check_rewards(reward_models(config.reward, inputs), unproven=config.reward.unproven)
        self.source = inputs["policy"].path / "model"
        self.policy, self.reference = _open(config, self.source, seed)
        group, data = config.rollout, inputs["prompts"]
        prompts = chosen_prompts(data, group.split, group.where)
        _check_room(
            config,
            check_prompts(self.policy.renderer, prompts, data, group.split, max_new_tokens=group.max_new_tokens),
        )
        self.stream = PromptStream(prompts, rows=group.rows, seed=seed)
        self.budget = ForwardBudget(config.ppo.microbatch_tokens, "align.ppo.microbatch_tokens")
        self.rollout = _rollout(config, inputs, out, self.policy, self.reference, self.budget)
        self.optimizer = _optimizer(config, self.policy)
        self.memory = MemoryWatch(self.policy, self.reference, self.optimizer, before=before)
        self.checkpoints = Checkpointer(out.path / "checkpoints")
        self.writer = MetricWriter(out)
        scorer = self.rollout.scorer
        gold = gold_watch(config, inputs, out, self.policy, scorer, seed=seed, decoding=self.rollout.decoding)
        self.watch = RunWatch(config, scorer, gold, self.policy.trainable, out)
        self.kept = AnswerLog(out)
        self.watched: dict[str, float] = {}
        self.done = 0
        self.stopped = ""
        self.ended_by = ""

    def restore(self) -> None:
        """Go on from the newest good checkpoint, where there is one."""
        latest = self.checkpoints.latest()
        if latest is None:
            self.out.truncate_log(0)
            self.kept.truncate(0)
            self.watch.restore(0, {}, {})
            return
        self.done, tensors, state = latest
        self.stopped, self.ended_by = str(state["stopped"]), str(state["ended_by"])
        self.budget.cells = int(state["microbatch_tokens"])
        self.rollout.decoding.cells = int(state["decoded_rows"])
        with torch.no_grad():
            for name, parameter in self.policy.trainable():
                parameter.copy_(tensors[f"policy.{name}"])
        restore_optimizer(
            self.optimizer, {k.removeprefix("optimizer."): v for k, v in tensors.items() if k.startswith("optimizer.")}
        )
        self._set_kl(float(state["kl_coef"]))
        restore_arrived(self.rollout.scorer, state["arrived"])
        self.watch.restore(
            self.done,
            state["watch"],
            {k.removeprefix("watch."): v for k, v in tensors.items() if k.startswith("watch.")},
        )
        self.out.truncate_log(self.done)
        self.kept.truncate(self.done)

    def save(self) -> None:
        """Write the whole state of the run."""
        tensors = {f"policy.{name}": p.detach() for name, p in self.policy.trainable()}
        tensors |= {f"optimizer.{name}": t for name, t in optimizer_tensors(self.optimizer).items()}
        tensors |= {f"watch.{name}": t for name, t in self.watch.tensors().items()}
        state = {
            "kl_coef": self.rollout.kl.kl_coef,
            "stopped": self.stopped,
            "ended_by": self.ended_by,
            "microbatch_tokens": self.budget.cells,
            "decoded_rows": self.rollout.decoding.cells,
            "arrived": arrived(self.rollout.scorer),
            "watch": self.watch.state(),
        }
        self.checkpoints.save(self.done, tensors, state)

    def loop(self) -> None:
        """Iterate until done or a limit is reached."""
        try:
            self._loop()
        except (HealthError, DataError) as error:
            self.watch.failed(self.done, error, self.rollout.answers)
            raise

    def _loop(self) -> None:
        settings = _ppo_settings(self.config)
        iterations = range(self.done, self.done if self.stopped else self.config.iterations)
        parts = (self.policy, self.optimizer, self._roll_out, settings)
        steps = train(*parts, iterations=iterations, seed=self.seed, budget=self.budget)
        started = time.perf_counter()
        for iteration, table, metrics in track(steps, "align", total=len(iterations)):
            self.memory.end("update")
            row = self._row(iteration, table, metrics) | self.watched
            self.writer.write(row)
            self.out.time({"iteration": iteration, "seconds": time.perf_counter() - started})
            started = time.perf_counter()
            self.rollout.kl = self.rollout.kl.update(row["kl_estimate"], len(table))
            self.done = iteration + 1
            self.stopped = self._monitored(row) or self._limit(row) or ""
            if self.stopped or self.done % self.config.checkpoint_every == 0:
                self.save()
            if self.stopped:
                break

    def finish(self) -> Artifact:
        """Check the reference, write the aligned model, and complete the artifact."""
        self.reference.check_unchanged()
        self.out.time({"memory": {phase: dict(parts) for phase, parts in self.memory.peaks.items()}})
        self.writer.close()
        self._save_models()
        last = self.out.last_row()
        facts: dict[str, JsonValue] = {
            "stopped": self.stopped or "all iterations done",
            "limits": {"kl_budget": self.config.stop.kl_budget, "mean_reward": self.config.stop.mean_reward},
            "threads": torch.get_num_threads(),
            "microbatch_tokens": self.budget.cells,
            "decoded_rows": self.rollout.decoding.cells,
            **self.watch.facts(),
        }
        if came := arrived(self.rollout.scorer):
            facts["arrived"] = dict(came)
        names = ("score_mean", "kl_per_sequence", "entropy", "length_mean")
        return self.out.finish(
            metrics={"iterations": self.done} | {n: last[n] for n in names if n in last}, facts=facts
        )

    def _save_models(self) -> None:
        """Write `model/`; beside it `best/`, where a monitor ended the run or gold watched it, and another iteration was best."""
        best = self.watch.best
        if best.iteration is not None and (self.ended_by == "roll_back" or self.config.stop.keep == "best"):
            best.restore_into(self.policy.trainable())
        elif best.iteration is not None and (self.ended_by == "stop" or self.watch.gold is not None):
            last = [(name, parameter.detach().clone()) for name, parameter in self.policy.trainable()]
            best.restore_into(self.policy.trainable())
            save_policy(self.policy, self.source, self.out.folder("best/model"), self.out.folder("best"))
            with torch.no_grad():
                for (_, parameter), (_, value) in zip(self.policy.trainable(), last, strict=True):
                    parameter.copy_(value)
        save_policy(self.policy, self.source, self.out.folder("model"), self.out.path)

    def _roll_out(self, iteration: int) -> Table:
        self.memory.begin()
        _set_lr(self.optimizer, self.config, iteration)
        prompts = self.stream.at(iteration)
        seeds = [derive_seed(self.seed, "rollout", iteration, row) for row in range(len(prompts))]
        table = self.rollout(
            [p.prompt for p in prompts], seeds, id=[p.id for p in prompts], meta=[p.meta for p in prompts]
        )
        if iteration == 0:
            _check_start(table.metrics["kl_per_token"], self.config.policy.precision)
        self.kept.write(iteration, prompts, self.rollout.answers)
        self.memory.end("rollout", cache=self.rollout.cache_bytes)
        self.watched = self.watch.after_rollout(self._row(iteration, table, {}), table, self.rollout.answers)
        self.memory.begin()  # the update alone: what the monitors sampled does not count
        return table

    def _row(self, iteration: int, table: Table, metrics: Mapping[str, float]) -> dict[str, float]:
        lr = float(self.optimizer.param_groups[0]["lr"])
        texts = self.rollout.answers.completions
        return {"iteration": iteration, **table.metrics, **metrics, "lr": lr, "distinct_2": distinct_n(texts, 2) or 0.0}

    def _monitored(self, row: Mapping[str, float]) -> str | None:
        """Let the monitors look at an iteration; return why one of them ends the run, if one does."""
        alert = self.watch.after_update(row)
        if alert is None:
            return None
        self.ended_by = alert.action
        return f"monitor {alert.monitor}: {alert.message}"

    def _limit(self, row: Mapping[str, float]) -> str | None:
        stop = self.config.stop
        if stop.kl_budget is not None and row["kl_per_sequence"] > stop.kl_budget:
            return f"KL per sequence {row['kl_per_sequence']:.2f} went beyond the budget of {stop.kl_budget} nats"
        if stop.mean_reward is not None and row["score_mean"] >= stop.mean_reward:
            return f"mean score {row['score_mean']:.3f} reached {stop.mean_reward}"
        return None

    def _set_kl(self, coef: float) -> None:
        self.rollout.kl = _controller(self.config, coef)


def _check_room(config: Config, longest: int) -> None:
    """Refuse a microbatch that cannot hold the longest prompt (tokens) with its completion."""
    row, cells = longest + config.rollout.max_new_tokens, config.ppo.microbatch_tokens
    if row > cells:
        raise ConfigError(
            f"align.ppo.microbatch_tokens = {cells} holds not even one row: the longest prompt has {longest} tokens and "
            f"rollout.max_new_tokens is {config.rollout.max_new_tokens}; give at least {row}"
        )


def _open(config: Config, source: Any, seed: int) -> tuple[LanguagePolicy, Reference]:
    group = config.policy
    lora = LoraShape(group.r, group.alpha, group.targets) if group.method == "lora" else None
    policy, reference = open_policy(
        source,
        lora=lora,
        temperature=config.rollout.temperature,
        precision=group.precision,
        seed=derive_seed(seed, "lora"),
        own_value_trunk=group.value == "separate",
        recompute=group.gradient_checkpointing,
        quantization=group.quantization,
    )
    check_adapter(policy, group.model_dump(include=group.model_fields_set))
    return policy, reference


def _rollout(
    config: Config,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    policy: LanguagePolicy,
    reference: Reference,
    budget: ForwardBudget,
) -> TextRollout:
    rewards = RewardSettings(config.kl.estimator, config.reward.missing_eos, config.reward.missing_eos_value)
    return TextRollout(
        policy,
        reference,
        scorer_for(config.reward, inputs, out.base),
        kl=_controller(config, config.kl.coef),
        rewards=rewards,
        max_new_tokens=config.rollout.max_new_tokens,
        budget=budget,
        decoding=decoding_budget(config.rollout.rows, "align.rollout.rows"),
    )


def _controller(config: Config, coef: float) -> FixedKL | AdaptiveKL:
    if config.kl.target is None:
        return FixedKL(coef)
    return AdaptiveKL(coef, config.kl.target, config.kl.horizon)


def _optimizer(config: Config, policy: LanguagePolicy) -> torch.optim.Optimizer:
    group = config.optimizer
    parameters = [parameter for _, parameter in policy.trainable()]
    return torch.optim.AdamW(
        parameters, lr=group.lr, betas=group.betas, eps=group.eps, weight_decay=group.weight_decay, fused=True
    )


def _set_lr(optimizer: torch.optim.Optimizer, config: Config, iteration: int) -> None:
    share = 1 - iteration / config.iterations if config.optimizer.schedule == "linear" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = config.optimizer.lr * share


def _ppo_settings(config: Config) -> PPOSettings:
    given = config.ppo.model_dump()
    cells = given.pop("microbatch_tokens")
    return PPOSettings(microbatch_cells=cells, ratio_tolerance=RATIO_TOLERANCE[config.policy.precision], **given)


def _check_start(kl_per_token: float, precision: str) -> None:
    if kl_per_token > (KL_AT_START if precision == "fp32" else RATIO_TOLERANCE[precision]):
        raise HealthError(
            f"KL to the reference is {kl_per_token:.2e} nats per token before the first step; 0 was expected: "
            "the policy does not start from its reference"
        )
