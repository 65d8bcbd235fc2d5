"""One loop for everything that is fitted to examples: SFT and reward models.

    loss of a step = sum over the minibatch of weight * loss / sum of the weights

The sum runs over the whole minibatch, so the gradient does not depend on how the minibatch is cut into microbatches.
The order of the examples is a function of (seed, stage, epoch), nothing draws from a global generator, and dropout is
off: a run that was killed goes on from its checkpoint and ends with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from heedful.engines.checkpoints import Checkpointer, optimizer_tensors, restore_optimizer
from heedful.engines.memory import ForwardBudget
from heedful.engines.progress import Live
from heedful.engines.tracking import MetricWriter
from heedful.errors import HealthError
from heedful.records.artifacts import Workspace
from heedful.records.seeds import derive_seed


@dataclass(frozen=True)
class Unit:
    """What is never torn apart: a demonstration, or all pairs of one prompt.

    Args:
        name: for messages.
        length: tokens of its longest text. texts: how many texts one forward of it reads.
        weight: what its summed loss is divided by: target tokens, or pairs.
        rows: how many rows of a minibatch it takes.
    """

    name: str
    length: int
    weight: float = 1.0
    texts: int = 1
    rows: int = 1


@dataclass(frozen=True)
class FitSettings:
    """How examples become optimizer steps. `microbatch_tokens` (texts times the longest) changes memory, not the result."""

    epochs: int = 1
    minibatch_rows: int = 32
    microbatch_tokens: int = 8192
    lr: float = 1e-4
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    checkpoint_every: int = 100

    @classmethod
    def of(cls, config: Any) -> FitSettings:
        """Return the settings of a stage that has `optimizer`, `epochs`, `checkpoint_every` and the two batch numbers."""
        batches = {"minibatch_rows": config.minibatch_rows, "microbatch_tokens": config.microbatch_tokens}
        return cls(
            epochs=config.epochs, checkpoint_every=config.checkpoint_every, **batches, **config.optimizer.model_dump()
        )


@dataclass
class Fit:
    """What is fitted.

    Args:
        stage: name in seeds, progress and messages.
        parameters: named; only these change.
        units: the examples.
        loss_sum: numbers of units to the **sum** of their weighted losses.
        measure: what is worth knowing before the first step and after each epoch, such as the held-out loss.
    """

    stage: str
    parameters: Sequence[tuple[str, Parameter]]
    units: Sequence[Unit]
    loss_sum: Callable[[list[int]], Tensor]
    measure: Callable[[], dict[str, float]] = dict
    history: list[dict[str, float]] = field(default_factory=list)
    """What `measure` said: before, and after each epoch."""


def fit(job: Fit, settings: FitSettings, out: Workspace, *, seed: int) -> list[dict[str, float]]:
    """Fit the parameters in place; write one row of metrics per optimizer step; return what `measure` said along the
    way.

    Raises:
        HealthError: a loss or gradient is not finite; no step is taken with it.
    """
    plan = [(e, rows) for e in range(settings.epochs) for rows in minibatches(job.units, settings, job.stage, e, seed)]
    optimizer = adamw(job.parameters, settings)
    saved = Checkpointer(out.path / "checkpoints")
    budget = ForwardBudget(settings.microbatch_tokens, f"{job.stage}.microbatch_tokens")
    done, logged = _restore(job, optimizer, saved, budget)
    out.truncate_log(logged)
    with MetricWriter(out) as writer, Live(job.stage, len(plan) - done) as live:
        if done == 0 and plan:
            logged += _measure(job, writer, 0, 0)
        for step in range(done, len(plan)):
            epoch, rows = plan[step]
            lr = learning_rate(step, len(plan), settings)
            loss, norm = _step(job, optimizer, rows, lr, step, settings, budget)
            writer.write({"optimizer_step": step + 1, "epoch": epoch + 1, "loss": loss, "grad_norm": norm, "lr": lr})
            live.advance(note=f"loss {loss:.3f}")
            logged += 1
            if step + 1 == len(plan) or plan[step + 1][0] != epoch:
                logged += _measure(job, writer, step + 1, epoch + 1)
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == len(plan):
                _save(job, optimizer, saved, step + 1, logged, budget)
    return job.history


def adamw(parameters: Sequence[tuple[str, Parameter]], settings: FitSettings) -> torch.optim.AdamW:
    """Return AdamW over the parameters; weight decay only on matrices."""
    groups = [
        {"params": [p for _, p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def learning_rate(step: int, total: int, settings: FitSettings) -> float:
    """Return the learning rate of one step: a linear warm-up over the share `warmup`, then the schedule down to 0."""
    warm = math.ceil(settings.warmup * total)
    if step < warm:
        return settings.lr * (step + 1) / warm
    progress = (step - warm) / max(1, total - warm)
    match settings.schedule:
        case "constant":
            return settings.lr
        case "linear":
            return settings.lr * (1 - progress)
        case "cosine":
            return settings.lr * 0.5 * (1 + math.cos(math.pi * progress))


def minibatches(units: Sequence[Unit], settings: FitSettings, stage: str, epoch: int, seed: int) -> Iterator[list[int]]:
    """Yield the numbers of the units of each minibatch, every unit once, in a fresh random order.

    Minibatches are not made of texts of one length: what they save in padding they lose in learning.
    """
    rng = np.random.default_rng(derive_seed(seed, stage, epoch, "order"))
    order = rng.permutation(len(units)).tolist()
    yield from _fill(order, units, settings.minibatch_rows)


def microbatches(rows: Sequence[int], units: Sequence[Unit], tokens: int) -> Iterator[list[int]]:
    """Yield parts of a minibatch, longest first: the texts of a part times its longest stay within `tokens` (one unit at least)."""
    part: list[int] = []
    longest = texts = 0
    for row in sorted(rows, key=lambda n: -units[n].length):
        if part and (texts + units[row].texts) * longest > tokens:
            yield part
            part, longest, texts = [], 0, 0
        part.append(row)
        longest, texts = max(longest, units[row].length), texts + units[row].texts
    if part:
        yield part


def accumulate(job: Fit, rows: Sequence[int], tokens: int) -> float:
    """Add the gradient of one minibatch's mean loss to the parameters, microbatch by microbatch; return that loss."""
    total = sum(job.units[row].weight for row in rows)
    mean = 0.0
    for part in microbatches(rows, job.units, tokens):
        loss = job.loss_sum(part) / total
        if not torch.isfinite(loss):
            raise HealthError(f"the loss is {loss.item()} on {_names(job, part)}; no step was taken")
        loss.backward()  # type: ignore[no-untyped-call]
        mean += float(loss.detach())
    return mean


def _fill(bucket: Sequence[int], units: Sequence[Unit], rows: int) -> Iterator[list[int]]:
    batch: list[int] = []
    taken = 0
    for number in bucket:
        if batch and taken + units[number].rows > rows:
            yield batch
            batch, taken = [], 0
        batch.append(number)
        taken += units[number].rows
    if batch:
        yield batch


def _step(
    job: Fit,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[int],
    lr: float,
    step: int,
    settings: FitSettings,
    budget: ForwardBudget,
) -> tuple[float, float]:
    for group in optimizer.param_groups:
        group["lr"] = lr

    def gradients(cells: int) -> float:
        optimizer.zero_grad(set_to_none=True)
        return accumulate(job, rows, cells)

    try:
        loss = budget.fit(gradients, longest=max(job.units[row].length * job.units[row].texts for row in rows))
    except HealthError as error:
        raise HealthError(f"{job.stage}, optimizer step {step + 1}: {error}") from error
    limit = math.inf if settings.max_grad_norm is None else settings.max_grad_norm
    norm = float(torch.nn.utils.clip_grad_norm_([p for _, p in job.parameters], limit))
    if not math.isfinite(norm):
        where = next(name for name, p in job.parameters if p.grad is not None and not torch.isfinite(p.grad).all())
        raise HealthError(
            f"{job.stage}, optimizer step {step + 1}: the gradient of {where} is not finite on {_names(job, rows)}; "
            "no step was taken"
        )
    optimizer.step()
    return loss, norm


def _names(job: Fit, rows: Sequence[int]) -> str:
    names = [job.units[row].name for row in rows]
    return f"rows {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _measure(job: Fit, writer: MetricWriter, step: int, epoch: int) -> int:
    measured = job.measure()
    if not measured:
        return 0
    job.history.append(measured)
    writer.write({"optimizer_step": step, "epoch": epoch, **measured})
    return 1


def _save(
    job: Fit, optimizer: torch.optim.Optimizer, saved: Checkpointer, step: int, logged: int, budget: ForwardBudget
) -> None:
    tensors = {f"parameter.{name}": parameter.detach() for name, parameter in job.parameters}
    state = {"logged": logged, "history": job.history, "microbatch_tokens": budget.cells}
    saved.save(step, tensors | optimizer_tensors(optimizer), state)


def _restore(job: Fit, optimizer: torch.optim.Optimizer, saved: Checkpointer, budget: ForwardBudget) -> tuple[int, int]:
    found = saved.latest()
    if found is None:
        return 0, 0
    step, tensors, state = found
    with torch.no_grad():
        for name, parameter in job.parameters:
            parameter.copy_(tensors[f"parameter.{name}"])
    restore_optimizer(optimizer, tensors)
    job.history[:] = state["history"]
    budget.cells = int(state["microbatch_tokens"])
    return step, int(state["logged"])
