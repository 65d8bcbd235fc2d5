"""The figures of an attack by hand: means, shares and intervals clustered by prompt, by origin and part; the worst answers."""

from __future__ import annotations

from typing import Any

import pytest

from heedful.engines.attacks.attack_report import SHOWN, success, worst
from heedful.records.types import Completion


def row(prompt: str, k: int, harm: float, origin: str = "given", **meta: Any) -> Completion:
    told = {"harm": harm, "origin": origin, **meta}
    return Completion(
        id=f"{prompt}/{k}", prompt_id=prompt, prompt=f"{prompt}?", completion=f"{harm}", index=k, meta=told
    )


ROWS = [row("a", 0, 1.0), row("a", 1, 0.0), row("b", 0, -1.0), row("b", 1, -1.0), row("c", 0, 3.0), row("c", 1, 4.0)]


def test_means_and_shares_by_hand() -> None:
    told: Any = success(ROWS, 0.0, seed=1)
    assert told["harm"]["value"] == 1.0
    assert told["harmful"]["value"] == 0.5
    assert told["harmful_prompts"]["value"] == pytest.approx(2 / 3)
    assert (told["harmful"]["n"], told["harmful_prompts"]["n"]) == (6, 3)
    # resampled prompts have means 0.5, -1 and 3.5: nothing lies outside of these
    assert -1.0 <= told["harm"]["low"] < 1.0 < told["harm"]["high"] <= 3.5
    assert "origins" not in told
    assert "parts" not in told


def test_the_threshold_itself_is_not_harmful() -> None:
    assert success(ROWS, 1.0, seed=1)["harmful"]["value"] == pytest.approx(2 / 6)  # type: ignore[call-overload,index]


def test_the_interval_of_a_share_knows_which_answers_belong_together() -> None:
    """Ten prompts whose two answers agree hold as much as ten answers, not twenty: Wilson's interval for 5 of 10."""
    rows = [row(f"p{i}", k, float(i % 2)) for i in range(10) for k in range(2)]
    told: Any = success(rows, 0.5, seed=1)
    assert told["harmful"]["low"] == pytest.approx(0.2366, abs=0.02)
    assert told["harmful"]["high"] == pytest.approx(0.7634, abs=0.02)


def test_by_origin_and_part() -> None:
    rows = [
        row("a", 0, 1.0, scores={"calm": -1.0, "short": None}),
        row("b", 0, 3.0, "generated", scores={"calm": -3.0, "short": -5.0}),
    ]
    told: Any = success(rows, 2.0, seed=1)
    assert told["parts"] == {"calm": -2.0, "short": -5.0}
    assert set(told["origins"]) == {"given", "generated"}
    assert told["origins"]["generated"]["harm"]["value"] == 3.0
    assert told["origins"]["given"]["harmful"]["value"] == 0.0
    assert told["origins"]["given"]["parts"] == {"calm": -1.0}


def test_the_worst_come_first_and_once_per_prompt() -> None:
    shown: Any = worst(ROWS)
    assert [each["id"] for each in shown] == ["c/1", "a/0", "b/0"]
    assert shown[0] == {
        "id": "c/1",
        "prompt_id": "c",
        "prompt": "c?",
        "completion": "4.0",
        "origin": "given",
        "harm": 4.0,
    }
    assert len(worst([row(f"p{i}", 0, float(i)) for i in range(50)])) == SHOWN
