"""make bench-constitution: judging by principles. Parts: speed, refusals, household, ablations, injection, injection-household.

    python benchmarks/constitution/run.py [--only speed ...] [--model DIR] [--comparisons 1000] [--seeds 10]
A part that is asked for is measured anew, one that is not keeps its rows in `results.json`. `speed`, `refusals` and `injection`
read real data under HEED_DATA; `speed` and `injection` also a model folder, `--model` or HEED_JUDGE. `refusals` writes its
confusion matrices to `refusals.md`. `household` runs the recipe `constitutional` once per seed, and again with hard labels up
to its reward model, in `work/`. `ablations` runs it with other choices, on the seeds 100, 101, ... (`--tuning-seeds` of them), and
writes `ablations.md` and `ablations.svg`. `injection-household` attacks the first model, and the preference model, of such a run,
`--household DIR`. Both injections write tables, to `injection.md` and `injection-household.md`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.constitution import ablation_page, ablations, attacked, household, refusals, speed  # noqa: E402
from benchmarks.results import NO_TARGET, publish, row  # noqa: E402

COMMAND = "make bench-constitution ARGS='--only {}'"
SHARED = HERE.parents[2] / "shared"
BOOK = HERE / "work" / "injection.jsonl"
"""Readings of both injections: a run that was cut goes on."""
Rows = list[dict[str, Any]]


def main() -> None:
    """Measure what is asked for, part by part; each part's rows are written as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument(
        "--model", type=Path, default=Path(os.environ.get("HEED_JUDGE", SHARED / "models" / "base-14m"))
    )
    parser.add_argument("--household", type=Path, default=HERE / "work" / "constitutional" / "seed-0")
    parser.add_argument("--attacks", type=int, default=200, help="pairs, each attacked by a text of its own")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HEED_DATA", SHARED / "data")))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tuning-seeds", type=int, default=1)
    names = [axis.name for axis in ablations.AXES]
    parser.add_argument("--choices", nargs="*", choices=names, default=names, help="of the ablations; all by default")
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
        wrong = refusals.by_kind_of_error(answers, said, families)
        page += [f"## {title}\n", refusals.confusion(answers, said) + "\n", wrong + "\n"]
    page += [
        '## What people call answers to questions of privacy that begin with "I cannot"\n',
        refusals.conventions(answers) + "\n",
    ]
    (HERE / "refusals.md").write_text("\n".join(page), encoding="utf-8")
    return found


def persuaded(args: argparse.Namespace) -> Rows:
    """Return how often texts talk the model round that compares people's dialogues, by defence."""
    found = attacked.measured(attacked.language_model(args.model, BOOK), attacked.dialogues(args.data, args.attacks))
    title = f"{args.model.name} on people's dialogues"
    (HERE / "injection.md").write_text(attacked.page(title, found), encoding="utf-8")
    return attacked.rows(args.model.name, found, COMMAND.format("injection"))


def persuaded_household(args: argparse.Namespace) -> Rows:
    """Return the same of the household world's models, where a judge of a million parameters can judge."""
    if not (args.household / "sft" / "model").is_dir():
        raise SystemExit(f"{args.household} is no run of the recipe constitutional; name one with --household")
    cases = attacked.household(args.attacks)
    found = attacked.measured(attacked.language_model(args.household / "sft" / "model", BOOK), cases)
    preference_model = args.household / "preference_model" / "model"
    if preference_model.is_dir():
        found |= attacked.preferring(preference_model, cases)
    title = "the household world's first model (generated data)"
    (HERE / "injection-household.md").write_text(attacked.page(title, found), encoding="utf-8")
    return attacked.rows("household", found, COMMAND.format("injection-household"))


def constitutional(args: argparse.Namespace) -> Rows:
    """Return the figures of the recipe `constitutional` over seeds 0, 1, ..."""
    return household.figures(range(args.seeds), COMMAND.format(f"household --seeds {args.seeds}"))


def ablated(args: argparse.Namespace) -> Rows:
    """Return what each choice is worth, on tuning seeds; write the page and its picture."""
    seeds = range(ablations.FIRST_SEED, ablations.FIRST_SEED + args.tuning_seeds)
    axes = [axis for axis in ablations.AXES if axis.name in args.choices]
    chosen = "" if len(axes) == len(ablations.AXES) else f" --choices {' '.join(axis.name for axis in axes)}"
    command = COMMAND.format(f"ablations --tuning-seeds {args.tuning_seeds}{chosen}")
    found = ablations.ablate(axes, seeds, command)
    (HERE / "ablations.md").write_text(ablation_page.page(found, seeds), encoding="utf-8")
    (HERE / ablation_page.PICTURE).write_text(ablation_page.picture(found), encoding="utf-8")
    return found


PARTS = {
    "speed": fast,
    "refusals": refused,
    "household": constitutional,
    "ablations": ablated,
    "injection": persuaded,
    "injection-household": persuaded_household,
}

if __name__ == "__main__":
    main()
