"""Which labelers are off: a test against the display, tests against the others, and the loop that flags.

No model of skill is fitted. Two null hypotheses, each with its own share of the error budget q:

    display   The order on the screen was random, so answers that were thought about do not follow it.
              Statistic: pairs left as shown minus pairs turned round, over all answers of the labeler.
              Benjamini-Hochberg over labelers at q / 5, and mean tau-b with the position at least 0.2.
    peers     The labelers of a task could be swapped. Statistic: mean tau-b with the others, summed over tasks.
              Benjamini-Hochberg over labelers at 4 q / 5, and S2 agreement ten points below the others'.

Both need thirty tasks. Labelers flagged by the display go first. Then, round by round, the worst by peers are flagged and
taken out, and everything is computed anew, because a bad labeler drags down everybody who shares tasks with them. With
nobody bad, later rounds happen only after a false flag, so the chance of any flag is at most q: proven for independent
p-values, and measured (benchmarks/feedback) for labelers who share tasks. The two effect guards make it less.

p-values are computed, not drawn (`numerics.permutation`): exact up to 128 tasks of a labeler, beyond that a saddlepoint
approximation. They test similarities rounded to sixtieths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.cohorts import Cohort, cohort_of
from heedful.numerics.display import DisplayTest, display_test
from heedful.numerics.peers import PeerTests, peer_tests
from heedful.numerics.permutation import adjusted
from heedful.numerics.statistics import Estimate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FailedTest = Literal["display", "peers"]

AS_SHOWN = 0.2
"""Mean tau-b with the position from which answers follow the display: one answer in five left as shown."""
DISPLAY_SHARE = 0.2
"""Part of the error budget that is spent on the display; the rest is for the peers."""
_AT_A_TIME = 0.01
"""Share of the labelers that one round may flag (at least one): it bounds the rounds to a hundred."""
_SLACK = 1e-9
"""Numbers that differ by rounding only count as equal."""


@dataclass(frozen=True)
class LabelerTest:
    """How one labeler compares with the others on the tasks they share.

    `tasks` counts tasks with at least one other answer, `tested` those with two or more others (with one other, nobody
    can say who of the two is wrong); both leave out constant answers, which `constant` counts. `similarity` is the mean
    tau-b with the others. `gap` is the S2 agreement of the others with each other minus `s2`, on the tested tasks. `p`
    and `two_sided` are the within-task test's, `q` the adjusted p (Benjamini-Hochberg). `shown` is the mean tau-b with
    the displayed positions, `shown_p` and `shown_q` belong to it. None means too little to say. `failed` names the test
    that flags.
    """

    labeler: str
    tasks: int
    tested: int
    constant: int
    similarity: Estimate | None
    s2: Estimate | None
    peers_s2: float | None
    gap: float | None
    p: float | None
    two_sided: float | None
    z: float | None
    q: float | None
    shown: float | None
    shown_p: float | None
    shown_q: float | None
    failed: FailedTest | None = None

    @property
    def flagged(self) -> bool:
        """Whether a test flags the labeler."""
        return self.failed is not None


def find_unreliable(
    answers: Cohort | Sequence[TaskAnswers],
    *,
    seed: int,
    q: float = 0.05,
    minimum_gap: float = 0.10,
    minimum_tasks: int = 30,
) -> dict[str, LabelerTest]:
    """Flag labelers whose answers follow the display, and those who agree less with the others than those do.

    Args:
        answers: all answers to one criterion; arrays where there are many.
        seed: of the intervals; no p-value depends on it.
        q: bound on the expected share of false flags, and on the chance of any flag where nobody is bad.
        minimum_gap: share in [0, 1]; 0.10 is ten points of S2 agreement. For the test by peers.
        minimum_tasks: answers with a known display, or tasks with at least two other labelers.

    Returns:
        Labeler to test, by name. A flagged labeler's numbers are those of the round of the flag. The others' are those of
        the last round, but where that left too few tasks, p-values are of the last round that had enough.
    """
    cohort = answers if isinstance(answers, Cohort) else cohort_of(answers)
    shown = _Shown.of(display_test(cohort), minimum_tasks, budget=q * DISPLAY_SHARE)
    kept = np.ones(len(cohort.names), dtype=bool)
    latest = peer_tests(cohort, kept, minimum_tasks=minimum_tasks)
    found = _tests(cohort, latest, shown, shown.flagged, "display", seed=seed)
    gone = shown.flagged
    while True:
        if gone.any():
            kept = kept & ~gone
            latest = peer_tests(cohort, kept, minimum_tasks=minimum_tasks).or_earlier(latest)
        gone = _worst(latest, budget=q * (1 - DISPLAY_SHARE), minimum_gap=minimum_gap)
        found += _tests(cohort, latest, shown, gone, "peers", seed=seed)
        if not gone.any():
            found += _tests(cohort, latest, shown, kept, None, seed=seed)
            return {test.labeler: test for test in sorted(found, key=lambda test: test.labeler)}


@dataclass(frozen=True)
class _Shown:
    """The test against the display, of all labelers; NaN is what cannot be said."""

    tau: Floats
    p: Floats
    q: Floats
    flagged: Bools

    @staticmethod
    def of(test: DisplayTest, minimum_tasks: int, *, budget: float) -> _Shown:
        p = np.where(test.answers >= max(1, minimum_tasks), test.p, np.nan)
        q = adjusted(p)
        tau = np.where(test.answers > 0, test.tau, np.nan)
        return _Shown(tau, p, q, (q <= budget) & (tau >= AS_SHOWN - _SLACK))


def _worst(tests: PeerTests, *, budget: float, minimum_gap: float) -> Bools:
    """Return who is flagged in this round: those furthest below expectation among all that fail, ties by name."""
    bad = np.flatnonzero(tests.kept & (tests.q <= budget) & (tests.gap >= minimum_gap - _SLACK))
    most = max(1, int(_AT_A_TIME * len(tests.kept)))
    flagged = np.zeros(len(tests.kept), dtype=bool)
    flagged[bad[np.argsort(tests.z[bad], kind="stable")][:most]] = True
    return flagged


def _tests(
    cohort: Cohort, tests: PeerTests, shown: _Shown, wanted: Bools, failed: FailedTest | None, *, seed: int
) -> list[LabelerTest]:
    """Return what is known about some labelers, with the intervals of this round."""
    two_sided = tests.two_sided(wanted)
    return [_labeler_test(cohort, tests, shown, who, failed, seed, two_sided[who]) for who in _by_size(wanted, tests)]


def _by_size(wanted: Bools, tests: PeerTests) -> Iterable[int]:
    """Return the labelers with as many tasks after each other: they share one set of resamples."""
    return sorted(np.flatnonzero(wanted).tolist(), key=lambda who: int(tests.tasks[who]))


def _labeler_test(
    cohort: Cohort,
    tests: PeerTests,
    shown: _Shown,
    who: int,
    failed: FailedTest | None,
    seed: int,
    two_sided: float,
) -> LabelerTest:
    similarity, s2 = tests.compared.intervals(who, seed=seed)
    return LabelerTest(
        labeler=cohort.names[who],
        tasks=int(tests.tasks[who]),
        tested=int(tests.tested[who]),
        constant=int(tests.constant[who]),
        similarity=similarity,
        s2=s2,
        peers_s2=_known(tests.peers_s2[who]),
        gap=_known(tests.gap[who]),
        p=_known(tests.p[who]),
        two_sided=_known(two_sided),
        z=_known(tests.z[who]),
        q=_known(tests.q[who]),
        shown=_known(shown.tau[who]),
        shown_p=_known(shown.p[who]),
        shown_q=_known(shown.q[who]),
        failed=failed,
    )


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
