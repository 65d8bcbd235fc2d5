"""Settings of `align` that contradict each other are refused before anything is loaded."""

import pytest

from heedful.stages import align


@pytest.mark.parametrize(("rows", "horizon"), [(65, 64.0), (512, 64.0), (64, 63.9)])
def test_a_horizon_shorter_than_a_rollout(rows: int, horizon: float) -> None:
    """A rollout of five horizons below the target would make the coefficient negative: KL would be rewarded."""
    given = {"rollout": {"rows": rows}, "kl": {"target": 6.0, "horizon": horizon}}
    expected = rf"kl\.horizon {horizon:g} is shorter than one rollout of rollout\.rows = {rows}; take several"
    with pytest.raises(ValueError, match=expected):
        align.Config.model_validate(given)


def test_a_horizon_of_one_rollout_or_without_a_target() -> None:
    one = {"rollout": {"rows": 64}, "kl": {"target": 6.0, "horizon": 64.0}}
    assert align.Config.model_validate(one).kl.horizon == 64.0
    fixed = {"rollout": {"rows": 512}, "kl": {"horizon": 64.0}}
    assert align.Config.model_validate(fixed).kl.target is None
