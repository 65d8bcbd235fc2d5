import pytest
import torch

from heedful.errors import ShapeError
from heedful.models.board import Boards
from heedful.models.table import Table, scatter

MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, False, False]])


def table(**changes: object) -> Table:
    cells = torch.arange(12.0).view(3, 4) * MASK
    given = {
        "actions": cells.long(),
        "mask": MASK,
        "logprobs": -cells,
        "values": cells + 0.5,
        "rewards": cells * 2,
        "context": Boards(torch.arange(3.0).view(3, 1, 1), torch.ones(3, 1, 1, dtype=torch.bool)),
        "group": torch.tensor([7, 8, 9]),
        "truncated": torch.tensor([False, True, False]),
        "scores": torch.tensor([10.0, 20.0, 30.0]),
        "metrics": {"score_mean": 20.0},
    }
    return Table(**(given | changes))


def test_rows_picks_in_order_and_cuts_to_the_longest_of_them() -> None:
    part = table().rows(torch.tensor([2, 1]))
    assert part.actions.tolist() == [[8, 9], [4, 0]]
    assert part.mask.tolist() == [[True, True], [True, False]]
    assert part.logprobs.tolist() == [[-8.0, -9.0], [-4.0, 0.0]]
    assert part.rewards.tolist() == [[16.0, 18.0], [8.0, 0.0]]
    assert part.group.tolist() == [9, 8]
    assert part.truncated.tolist() == [False, True]
    assert part.scores is not None and part.scores.tolist() == [30.0, 20.0]
    assert part.context.states.flatten().tolist() == [2.0, 1.0]
    assert part.kl is None
    assert len(part) == 2


def test_counts_and_costs() -> None:
    assert table().num_decisions == 6
    assert table().costs.tolist() == [3, 1, 2]
    with_prompts = table(forward_costs=torch.tensor([13, 11, 12]))
    assert with_prompts.costs.tolist() == [13, 11, 12]
    assert with_prompts.rows(torch.tensor([1])).costs.tolist() == [11]


@pytest.mark.parametrize("name", ["mask", "logprobs", "values", "rewards", "ref_logprobs", "kl", "own_rewards"])
def test_cells_of_another_shape_are_refused(name: str) -> None:
    wrong = torch.ones(3, 5, dtype=torch.bool if name == "mask" else torch.float32)
    with pytest.raises(ShapeError, match=rf"{name} has shape \(3, 5\)"):
        table(**{name: wrong})


def test_context_of_other_rows_is_refused() -> None:
    with pytest.raises(ShapeError, match="context has 2 rows"):
        table(context=Boards(torch.ones(2, 1, 1), torch.ones(2, 1, 1, dtype=torch.bool)))


def test_scatter_puts_cells_back_row_by_row() -> None:
    cells = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert scatter(cells, MASK).tolist() == [[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]]
