"""`engines.ppo.update` itself, on TRL 0.11.4's recorded rollout: the gradients of its one optimizer step are TRL's."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.testing import assert_close

from heedful.engines.ppo import PPOSettings, update
from heedful.models.board import Boards
from heedful.models.table import Evaluation, Table
from tests.tolerances import ORACLE, ORACLE_GRADIENT


class Recorded:
    """A policy whose present log-probs and values are those that TRL was given, one parameter per decision."""

    def __init__(self, logprobs: Tensor, values: Tensor) -> None:
        self.logprobs, self.values = Parameter(logprobs.clone()), Parameter(values.clone())

    def trainable(self) -> Iterator[tuple[str, Parameter]]:
        yield from {"logprobs": self.logprobs, "values": self.values}.items()

    def evaluate(self, table: Table) -> Evaluation:
        rows, width = table.group, table.mask.shape[1]
        cells = (x[rows][:, :width] * table.mask for x in (self.logprobs, self.values))
        return Evaluation(*cells, torch.zeros(table.mask.shape))


def recorded_table(inputs: dict[str, Any], expected: dict[str, Any]) -> Table:
    mask = inputs["mask"]
    rows = torch.arange(len(mask))
    return Table(
        actions=torch.zeros(mask.shape, dtype=torch.long),
        mask=mask,
        logprobs=inputs["old_logprobs"] * mask,
        values=inputs["values"] * mask,
        rewards=expected["rewards"] * mask,
        context=Boards(torch.zeros(len(mask), 1, 1), torch.ones(len(mask), 1, 1, dtype=torch.bool)),
        group=rows,
        truncated=torch.zeros(len(mask), dtype=torch.bool),
    )


@pytest.mark.parametrize("cells", [1_000, 1], ids=["whole", "row by row"])
def test_one_step_has_trls_losses_and_gradients(golden: Callable, cells: int) -> None:
    inputs, expected = golden("trl0114_update.json")
    given, stats = inputs["settings"], expected["stats"]
    settings = PPOSettings(
        num_epochs=1,
        minibatch_rows=len(inputs["mask"]),
        microbatch_cells=cells,
        gamma=given["gamma"],
        gae_lambda=given["lam"],
        clip_range=given["cliprange"],
        value_clip_range=given["cliprange_value"],
        vf_coef=given["vf_coef"],
        whitening="bessel",
        max_grad_norm=None,
        ratio_tolerance=float("inf"),  # TRL was given new log-probs that differ, so that something is clipped
    )
    policy = Recorded(inputs["logprobs"], inputs["new_values"])
    optimizer = torch.optim.SGD([p for _, p in policy.trainable()], lr=0.0)
    metrics = update(policy, optimizer, recorded_table(inputs, expected), settings, seed=0)
    assert_close(policy.logprobs.grad, expected["logprobs_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)
    assert_close(policy.values.grad, expected["new_values_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)
    theirs = {
        "policy_loss": expected["policy_loss"],
        "value_loss": stats["loss/value"],
        "clip_fraction": stats["policy/clipfrac"],
        "value_clip_fraction": stats["val/clipfrac"],
    }
    for name, value in theirs.items():
        assert metrics[name] == pytest.approx(value, abs=ORACLE), name
