"""Each gate counts by itself: one that is not applied hides no other."""

import pytest

from heedful.engines.revisions.revision_gates import fault

BOTH = "Human: no no no no no no no no no no"
"""Speaks for another, and says one thing over and over."""


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        ((), None),
        (("role_confusion",), "role_confusion"),
        (("collapsed",), "collapsed"),
        (("role_confusion", "collapsed"), "role_confusion"),
    ],
)
def test_a_text_with_two_faults(gates: tuple[str, ...], why: str | None) -> None:
    assert fault(BOTH, "Yes.", "It is rude.", gates=gates, max_repetition=0.5) == why


def test_an_empty_text_always_counts() -> None:
    assert fault(" ... ", "Yes.", "It is rude.", gates=(), max_repetition=0.5) == "empty"
