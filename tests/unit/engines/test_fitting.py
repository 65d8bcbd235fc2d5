"""The fitting loop: exact accumulation, an order that a seed decides, one clip per step, health, and resuming bit for bit."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from heedful.engines import fitting
from heedful.engines.fitting import (
    Fit,
    FitSettings,
    Unit,
    accumulate,
    adamw,
    fit,
    learning_rate,
    microbatches,
    minibatches,
)
from heedful.engines.supervised import lesson, target_logprobs
from heedful.errors import HealthError
from heedful.models.prompts import Renderer
from heedful.models.trunks import make_trunk
from heedful.records.artifacts import Identity, Workspace
from heedful.records.types import Demonstration
from heedful.testing.tiny import tiny_causal, tiny_encoder_decoder, tiny_tokenizer
from tests.tolerances import FP32, FP32_SUM

LENGTHS = [3, 11, 5, 7, 2, 9, 4, 6]
PLAIN = FitSettings(minibatch_rows=4, lr=0.1, warmup=0.0, schedule="constant", max_grad_norm=None, checkpoint_every=2)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path, Identity("sft", 1, {}, 0).manifest()) as space:
        yield space


def line_job(rows: int = 8) -> tuple[nn.Linear, Fit]:
    """A line through points; unit i weighs i + 1."""
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5, -0.5]]))
        model.bias.zero_()
    points = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.arange(1.0, rows + 1)
    units = [Unit(f"row{i}", length=LENGTHS[i % 8], weight=float(weights[i])) for i in range(rows)]

    def loss_sum(part: list[int]) -> Tensor:
        return (weights[part] * (model(points[part])[:, 0] - points[part].sum(1)).square()).sum()

    def measure() -> dict[str, float]:
        return {"bias": float(model.bias.detach())}

    return model, Fit("sft", list(model.named_parameters()), units, loss_sum, measure)


@pytest.mark.parametrize("make", [tiny_causal, tiny_encoder_decoder])
def test_eight_at_once_or_four_times_two_gives_one_gradient(make: object) -> None:
    tokenizer = tiny_tokenizer()
    model = make(tokenizer, seed=1)  # type: ignore[operator]
    renderer = Renderer.of(model, tokenizer)
    texts = ["water " * n for n in LENGTHS]
    lessons = [lesson(renderer, Demonstration(id=str(i), prompt="why ?", completion=t)) for i, t in enumerate(texts)]
    trunk = make_trunk(model)

    def loss_sum(part: list[int]) -> Tensor:
        logprobs, targets = target_logprobs(trunk, [lessons[i] for i in part], torch.device("cpu"))
        return -logprobs[targets].sum()

    job = Fit("sft", list(model.named_parameters()), [one.unit for one in lessons], loss_sum)
    grads, losses = [], []
    for tokens in (10_000, 2 * max(one.unit.length for one in lessons)):
        model.zero_grad()
        losses.append(accumulate(job, range(8), tokens))
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert len(list(microbatches(range(8), job.units, 10_000))) == 1
    assert len(list(microbatches(range(8), job.units, 2 * max(one.unit.length for one in lessons)))) >= 3
    assert losses[0] == pytest.approx(losses[1], abs=FP32_SUM)
    torch.testing.assert_close(grads[0], grads[1], atol=FP32, rtol=FP32_SUM)


def test_the_gradient_is_that_of_the_weighted_mean() -> None:
    model, job = line_job(3)
    job.units = [Unit(u.name, u.length, weight=w) for u, w in zip(job.units, (1.0, 2.0, 3.0), strict=True)]
    accumulate(job, [0, 1, 2], tokens=1)  # each alone
    assert model.weight.grad is not None
    by_hand = sum(torch.autograd.grad(job.loss_sum([i]), model.weight)[0] for i in range(3)) / 6
    torch.testing.assert_close(model.weight.grad, by_hand, atol=FP32, rtol=FP32)


def test_microbatches_keep_to_their_size_longest_first() -> None:
    units = [Unit(str(i), length) for i, length in enumerate(LENGTHS)]
    parts = list(microbatches(range(8), units, 14))
    assert sorted(row for part in parts for row in part) == list(range(8))
    assert all(len(part) == 1 or len(part) * max(LENGTHS[i] for i in part) <= 14 for part in parts)
    assert parts[0] == [1], "the longest stands alone"


def test_every_unit_comes_once_per_epoch_in_an_order_of_its_own() -> None:
    units = [Unit(str(i), LENGTHS[i % 8]) for i in range(50)]
    orders = [list(minibatches(units, PLAIN, "sft", epoch, 1)) for epoch in (0, 0, 1)]
    assert all(sorted(row for batch in order for row in batch) == list(range(50)) for order in orders)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != list(minibatches(units, PLAIN, "reward", 0, 1))
    assert orders[0] != list(minibatches(units, PLAIN, "sft", 0, 2))


def test_a_unit_of_many_rows_stays_whole() -> None:
    units = [Unit(str(i), 5, rows=3) for i in range(9)]
    assert all(len(batch) <= 2 for batch in minibatches(units, FitSettings(minibatch_rows=7), "reward", 0, 1))
    assert all(len(batch) == 1 for batch in minibatches(units, FitSettings(minibatch_rows=2), "reward", 0, 1))


def test_learning_rates_by_hand() -> None:
    def rates(schedule: str) -> list[float]:
        settings = FitSettings(lr=1.0, warmup=0.2, schedule=schedule)  # type: ignore[arg-type]
        return [learning_rate(step, 10, settings) for step in range(10)]

    assert rates("constant") == [0.5] + [1.0] * 9
    assert rates("linear") == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    assert rates("cosine")[6] == pytest.approx(0.5)  # half-way down
    assert rates("cosine")[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_weight_decay_touches_matrices_only() -> None:
    model, job = line_job()
    groups = adamw(job.parameters, FitSettings(weight_decay=0.3)).param_groups
    assert [(group["weight_decay"], group["params"]) for group in groups] == [
        (0.3, [model.weight]),
        (0.0, [model.bias]),
    ]


def test_gradients_are_clipped_once_per_step_and_their_norm_is_told_before(out: Workspace) -> None:
    model, job = line_job()
    seen: list[float] = []
    settings = FitSettings(minibatch_rows=8, microbatch_tokens=1, lr=0.0, max_grad_norm=0.01, warmup=0.0)

    def record(*_: object) -> None:
        seen.append(float(torch.cat([p.grad.flatten() for _, p in job.parameters if p.grad is not None]).norm()))

    hook = register_optimizer_step_pre_hook(record)
    fit(job, settings, out, seed=1)
    hook.remove()
    model.zero_grad()
    accumulate(job, range(8), 1)
    unclipped = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert seen == pytest.approx([0.01], abs=FP32)
    assert out.rows()[1]["grad_norm"] == pytest.approx(float(unclipped), rel=FP32_SUM)


def test_it_fits_and_measures_before_and_after_each_epoch(out: Workspace) -> None:
    model, job = line_job()
    history = fit(job, FitSettings(epochs=40, minibatch_rows=4, lr=0.1), out, seed=1)
    start = math.hypot(0.5, 1.5)  # from (0.5, -0.5) to the line's own (1, 1)
    assert (model.weight - 1).norm() < start / 10
    assert len(history) == 41
    assert history[0] == {"bias": 0.0}
    assert [row["epoch"] for row in out.rows() if "bias" in row] == list(range(41))


@pytest.mark.parametrize("kill_after", [1, 2, 3, 5, 8])
def test_a_killed_run_goes_on_to_the_same_bits(
    tmp_path: Path, kill_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def workspace(name: str) -> Workspace:
        return Workspace(tmp_path / name, Identity("sft", 1, {}, 0).manifest())

    settings = FitSettings(epochs=3, minibatch_rows=3, lr=0.1, checkpoint_every=2)
    whole, job = line_job()
    with workspace("whole") as out:
        history = fit(job, settings, out, seed=1)
        rows = out.rows()

    steps = iter(range(kill_after))

    def killed(*arguments: object) -> tuple[float, float]:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    step = fitting._step
    monkeypatch.setattr(fitting, "_step", killed)
    with workspace("cut") as out, pytest.raises(KeyboardInterrupt):
        fit(line_job()[1], settings, out, seed=1)
    monkeypatch.setattr(fitting, "_step", step)
    again, job = line_job()
    with workspace("cut") as out:
        assert fit(job, settings, out, seed=1) == history
        assert out.rows() == rows
    assert torch.equal(again.weight, whole.weight)
    assert torch.equal(again.bias, whole.bias)


def test_a_loss_that_is_not_finite_stops_before_the_step(out: Workspace) -> None:
    model, job = line_job()
    good = job.loss_sum
    job.loss_sum = lambda part: good(part) * (math.inf if 3 in part else 1.0)
    with pytest.raises(HealthError, match=r"sft, optimizer step \d: the loss is inf on rows .*row3"):
        fit(job, FitSettings(minibatch_rows=8, lr=0.1), out, seed=1)
    assert torch.equal(model.weight, torch.tensor([[0.5, -0.5]]))


def test_a_gradient_that_is_not_finite_stops_before_the_step(out: Workspace) -> None:
    model, job = line_job()
    job.loss_sum = lambda part: (model.weight - 0.5).abs().sqrt().sum() * len(part)  # slope infinite at 0.5
    with pytest.raises(HealthError, match=r"sft, optimizer step 1: the gradient of weight is not finite on rows .*row"):
        fit(job, FitSettings(minibatch_rows=8, lr=0.1), out, seed=1)
    assert torch.equal(model.weight, torch.tensor([[0.5, -0.5]]))
