"""make bench-constitution: judging by principles. Parts: speed, refusals, household.

    python benchmarks/constitution/run.py [--only speed refusals household] [--model DIR] [--comparisons 1000] [--seeds 10]
A part that is asked for is measured anew, one that is not keeps its rows in `results.json`. The first two read real data under
HEED_DATA; `speed` also a model folder, `--model` or HEED_JUDGE. `refusals` writes its confusion matrices to `refusals.md`.
`household` runs the recipe `constitutional` once per seed, and again with hard labels up to its reward model, in `work/`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.constitution import household, refusals, speed  # noqa: E402
from benchmarks.results import NO_TARGET, publish, row  # noqa: E402

COMMAND = "make bench-constitution ARGS='--only {}'"
SHARED = HERE.parents[2] / "shared"
Rows = list[dict[str, Any]]


def main() -> None:
    """Measure what is asked for, part by part; each part's rows are written as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument(
        "--model", type=Path, default=Path(os.environ.get("HEED_JUDGE", SHARED / "models" / "base-14m"))
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HEED_DATA", SHARED / "data")))
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    for name in args.only:
        found = PARTS[name](args)
        publish(HERE / "results.json", name, found)


def fast(args: argparse.Namespace) -> Rows:
    """Return how many times as fast the local judge is as one plain forward per option, and that both say the same."""
    found = speed.race(args.model, args.data, args.comparisons)
    value, low, high = speed.ratio(found["seconds"])
    n, command = args.comparisons, COMMAND.format(f"speed --comparisons {n}")
    rate = n / sum(found["seconds"]["ours"])
    return [
        row(
            "ratio to one plain forward per option, both orders", value, low, high, "times as fast", ">= 3", n, command
        ),
        row("comparisons in both orders", rate, None, None, "per second", NO_TARGET, n, command),
        row(
            "probabilities apart at most",
            found["apart"],
            None,
            None,
            "probability",
            NO_TARGET,
            found["questions"],
            command,
        ),
    ]


def refused(args: argparse.Namespace) -> Rows:
    """Return the detector's accuracy on each family left out, and on all; the bar is the two people's agreement - 4 points."""
    answers, command = refusals.rows(args.data), COMMAND.format("refusals")
    found, page = [], ["# Refusals: people and the detector, on model families it has not learned from\n"]
    for title, families in (
        ("Llama 2 as one family", refusals.FAMILIES),
        ("Mistral as one family too", refusals.STRICT),
    ):
        said = refusals.left_out(answers, families)
        for family in ("all", *dict.fromkeys(families.values())):
            places = [i for i, row in enumerate(answers) if family in ("all", families[row.file])]
            part = [answers[i] for i in places]
            right = refusals.accuracy(part, [said[i] for i in places])
            bar = f">= {refusals.agreement(part) - 0.04:.4f}" if family == "all" else NO_TARGET
            name = f"full refusal or not, {title}, left out: {family}"
            found.append(row(name, right.value, right.low, right.high, "accuracy", bar, len(part), command))
        page += [f"## {title}\n", refusals.confusion(answers, said) + "\n"]
    (HERE / "refusals.md").write_text("\n".join(page), encoding="utf-8")
    return found


def constitutional(args: argparse.Namespace) -> Rows:
    """Return the figures of the recipe `constitutional` over seeds 0, 1, ..."""
    return household.figures(range(args.seeds), COMMAND.format(f"household --seeds {args.seeds}"))


PARTS = {"speed": fast, "refusals": refused, "household": constitutional}

if __name__ == "__main__":
    main()
