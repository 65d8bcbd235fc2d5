"""Which direction of an outcome is better, by its name."""

import pytest

from heedful.engines.comparing import LOWER_IS_BETTER
from heedful.rendering.reading import wanted_of
from heedful.worlds.harm_gold import OUTCOMES


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("harmfulness", "lower"),
        ("helpfulness", "higher"),
        ("evasive", "lower"),
        ("preachy", "lower"),
        ("refused", "neither"),
        ("toxicity", "lower"),
        ("length", "neither"),
        ("utility", "higher"),
    ],
)
def test_direction(name: str, wanted: str) -> None:
    assert wanted_of(name) == wanted


def test_a_report_and_a_comparison_agree() -> None:
    assert {name for name in OUTCOMES if wanted_of(name) == "lower"} == LOWER_IS_BETTER & set(OUTCOMES)
