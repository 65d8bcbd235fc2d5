"""One training in a process of its own, so that its time and peak memory are its own; the result is one JSON file.

python benchmarks/reward/unit.py --part hh --fold 0 --arm ours --out rows/hh-0-ours.json [--limit 40]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.reward import sources

from heedful.models.reward import RewardModel, load_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import LabeledText, Preference, Ranking, Record
from heedful.stages import reward
from heedful.testing.artifacts import artifact_of, run_stage

EPOCHS, PAIRS, LR, MAX_TOKENS = 2, 16, 5e-5, 512
"""Chosen before anything was measured, the same on both sides of every comparison."""
SETTINGS: dict[str, Any] = {
    "epochs": EPOCHS,
    "minibatch_rows": PAIRS,
    "microbatch_tokens": 2048,  # memory and speed, not the result
    "optimizer": {"lr": LR, "schedule": "linear", "warmup": 0.0},
    "checkpoint_every": 1_000_000,
}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=list(PARTS), required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--arm", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.limit is not None:  # a trial
        SETTINGS["epochs"] = 1
    found = PARTS[args.part](args.fold, args.arm, args.limit)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    beside = args.out.with_suffix(".tmp")
    beside.write_text(json.dumps(found), encoding="utf-8")
    beside.replace(args.out)


def trained(inputs: dict[str, Sequence[Record]], role: str, **settings: Any) -> tuple[RewardModel, dict[str, float]]:
    """Return the reward model and what its training took: seconds of the stage, on the clock and of the processor (which other
    programs on the machine do not lengthen), and the peak memory of this process."""
    with tempfile.TemporaryDirectory() as folder:
        source = artifact_of(Path(folder), "data", **inputs)
        backbone = {"source": sources.encoder(), "max_tokens": MAX_TOKENS, **settings.pop("backbone", {})}
        config = reward.Config(backbone=backbone, **(SETTINGS | settings))
        before, started, worked = peak_mib(), time.perf_counter(), time.process_time()
        artifact: Artifact = run_stage(reward, config, {role: source}, Path(folder))
        cost = {
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - worked,
            "peak_mib": peak_mib(),
            "imports_mib": before,
        }
        model = load_reward_model(artifact.path / "model")
        assert isinstance(model, RewardModel)
        return model, cost


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def split(rows: Sequence[Any], fold: int, key: Callable[[Any], str]) -> tuple[list[Any], list[Any]]:
    """Return the rows of the other folds and those of this one; where a trial's prompts miss the fold, its first is held out."""
    inside = [sources.fold_of(key(row)) == fold for row in rows]
    if not any(inside):
        inside = [key(row) == key(rows[0]) for row in rows]
    return [r for r, i in zip(rows, inside, strict=True) if not i], [r for r, i in zip(rows, inside, strict=True) if i]


def prompt_of(row: Any) -> str:
    """Return what a row's fold hangs on."""
    return str(row.prompt)


def pair_scores(model: RewardModel, pairs: Sequence[Preference]) -> list[tuple[str, float, float]]:
    """Return prompt and both scores of each pair."""
    prompts = [pair.prompt for pair in pairs]
    chosen, rejected = (model.score(prompts, [getattr(p, side) for p in pairs]) for side in ("chosen", "rejected"))
    rows = zip(pairs, chosen, rejected, strict=True)
    return [(str(p.prompt), float(c), float(r)) for p, c, r in rows if c is not None and r is not None]


def hh(fold: int, arm: str, limit: int | None) -> dict[str, Any]:
    """Our reward model on Anthropic's pairs."""
    train, test = split(sources.hh_pairs(limit), fold, prompt_of)
    model, cost = trained({"train__preferences": train}, "preferences")
    return {"scores": pair_scores(model, test), **cost}


def kwise(fold: int, arm: str, limit: int | None) -> dict[str, Any]:
    """One way to learn from rankings: `plackett_luce`, `all_pairs`, or `pairwise`."""
    train, test = split(sources.toxic_rankings(limit), fold, prompt_of)
    if arm == "pairwise":
        pairs = sources.pairs_of(train)
        model, cost = trained({"train__preferences": pairs}, "preferences", minibatch_rows=36 * RANKINGS)
    else:
        rankings: Sequence[Ranking] = train
        model, cost = trained(
            {"train__rankings": rankings}, "rankings", mode="kwise", ranking_loss=arm, minibatch_rows=RANKINGS
        )
    return {"scores": pair_scores(model, sources.pairs_of(test)), **cost}


RANKINGS = 4
"""Per optimizer step of all three arms; the pairwise one takes their 36 pairs each."""


def truth(fold: int, arm: str, limit: int | None) -> dict[str, Any]:
    """The truth scorer, or a bag of words."""
    every = 1 if limit is None else 6
    train, test = split(sources.truth_rows(limit)[::every], fold, prompt_of)
    if arm == "words":
        chances = bag_of_words(train, test)
        cost: dict[str, float] = {}
    else:
        learn, tune = tuned(train)
        model, cost = trained(
            {"train__labeled": learn, "tune__labeled": tune},
            "labeled",
            mode="classifier",
            backbone={"sees_prompt": True},
        )
        scores = model.score([row.prompt for row in test], [row.completion for row in test])
        chances = [float(score) for score in scores if score is not None]
    rows = zip(test, chances, strict=True)
    return {"rows": [(row.group, chance, bool(row.label)) for row, chance in rows], **cost}


def tuned(rows: Sequence[LabeledText]) -> tuple[list[LabeledText], list[LabeledText]]:
    """Return the rows to learn from, and one question of ten to fit the temperature on."""
    questions = sorted({prompt_of(row) for row in rows}, key=lambda question: sources.derive_seed("tune", question))
    tune = set(questions[: max(1, len(questions) // 10)])
    inside = [prompt_of(row) in tune for row in rows]
    return [r for r, i in zip(rows, inside, strict=True) if not i], [r for r, i in zip(rows, inside, strict=True) if i]


def bag_of_words(train: Sequence[LabeledText], test: Sequence[LabeledText]) -> list[float]:
    """Return log odds by logistic regression on TF-IDF of words and pairs of words in question and answer."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(max_iter=2000, class_weight="balanced"),
    )
    texts = [[f"{row.prompt} {row.completion}" for row in rows] for rows in (train, test)]
    model.fit(texts[0], [row.label for row in train])
    return list(model.decision_function(texts[1]).tolist())


def noise(fold: int, arm: str, limit: int | None) -> dict[str, Any]:
    """Soft targets or hard labels, on votes of known noise; both sides of every pair with its true P."""
    train, test = split(sources.voted_pairs(limit), fold, prompt_of)
    model, cost = trained({"train__preferences": train}, "preferences", targets=arm)
    rows = zip(pair_scores(model, test), test, strict=True)
    return {
        "rows": [(prompt, chosen - rejected, pair.meta["true_p"]) for (prompt, chosen, rejected), pair in rows],
        **cost,
    }


def hate(fold: int, arm: str, limit: int | None) -> dict[str, Any]:
    """A classifier of Wikipedia comments and tweets, on HateCheck, which it has never seen the like of."""
    from heedful.records.importing import Source, SplitBook, import_source

    book = SplitBook()
    shares = {"train": 0.9, "tune": 0.1}
    for name, columns, wanted in (
        ("wiki_toxicity/toxicity_nonfuzzed_testset.csv", {"completion": "comment", "label": "toxic", "id": "rev_id"}, ["False"]),
        ("davidson_hate/labeled_data.csv", {"completion": "tweet", "label": "class", "id": ""}, ["2"]),
    ):  # fmt: skip
        place = str(sources.data() / name)
        given = {
            "kind": "labeled",
            "columns": columns,
            "wanted": wanted,
            "split": shares,
            "limit": limit and 10 * limit,
        }
        import_source(Source(place=place, **given), book)  # type: ignore[arg-type]
    book.resolve_overlaps(drop=True)
    files = {name.replace(".", "__"): rows for name, rows in book.files().items()}
    model, cost = trained(
        files, "labeled", mode="classifier", balance="source", minibatch_rows=32, backbone={"max_tokens": 128}
    )
    cases = sources.hatecheck()[:: 1 if limit is None else 100]
    chances = model.probability_unwanted([""] * len(cases), [case["test_case"] for case in cases])
    rows = [
        (case["templ_id"], case["functionality"], chance, case["label_gold"] == "hateful")
        for case, chance in zip(cases, chances, strict=True)
    ]
    return {"rows": rows, **cost}


PARTS = {"hh": hh, "hate": hate, "kwise": kwise, "truth": truth, "noise": noise}

if __name__ == "__main__":
    main()
