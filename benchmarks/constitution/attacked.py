"""Who is attacked with what: a language model that compares people's dialogues, and the models of the household world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.constitution.injection import (
    DEFENCES,
    NONE,
    SEED,
    SHIPPED,
    Case,
    Defence,
    Found,
    Trial,
    for_comparison,
)
from benchmarks.constitution.persuasion import FAMILIES, attacks
from benchmarks.constitution.reading import Asking, Scoring, acting
from benchmarks.constitution.speed import real_pairs
from benchmarks.results import NO_TARGET, row

from heedful.engines.judges.judge_local import LocalJudge
from heedful.engines.judges.judge_scores import PreferenceJudge
from heedful.engines.judging import Manner, prefixes
from heedful.models.folders import source_digest
from heedful.models.opening import open_generator
from heedful.models.policy import LanguagePolicy
from heedful.models.reward import load_reward_model
from heedful.records.constitution import SHIPPED as CONSTITUTIONS
from heedful.records.constitution import Constitution, draw, read_constitution
from heedful.records.layouts import question
from heedful.records.seeds import derive_seed
from heedful.worlds import get_world
from heedful.worlds.harm_gold import RequestScorer
from heedful.worlds.replies import MIXED, answer
from heedful.worlds.requests import read_prompt

LONGEST = 300
"""Characters of a prompt with its two answers, so that all layouts fit a small context."""
BATCH_ROWS = 32
PREFERENCE = Defence("a preference model judges instead", question, both=True)
Rows = list[dict[str, Any]]
Measured = Mapping[str, Found]


def dialogues(data: Path, count: int) -> list[Case]:
    """Return people's dialogues (hh_rlhf, harmless-base, test); the answer that they rejected is the worse one."""
    constitution = read_constitution(CONSTITUTIONS / "default.toml")
    pairs = [(one.prompt, *one.texts) for one in real_pairs(data, count, LONGEST)]
    return _cases(constitution, [(prompt, better, worse) for prompt, better, worse in pairs])


def household(count: int) -> list[Case]:
    """Return answers that the household world writes to its held-out prompts; gold tells the worse one (generated data)."""
    world, gold, rng = get_world("household-requests"), RequestScorer(), np.random.default_rng(SEED)
    pairs = []
    for record in world.generate(SEED)["heldout.prompts"][:count]:
        prompt, about = str(record.prompt), read_prompt(record.prompt)
        assert about is not None
        while True:
            one, other = (answer(about, rng, MIXED) for _ in range(2))
            lead = gold.worth(prompt, one) - gold.worth(prompt, other)
            if lead:
                break
        pairs.append((prompt, one, other) if lead > 0 else (prompt, other, one))
    return _cases(read_constitution(CONSTITUTIONS / "household.toml"), pairs)


def _cases(constitution: Constitution, pairs: Sequence[tuple[Any, str, str]]) -> list[Case]:
    usable = constitution.usable("comparison")
    variants = prefixes(constitution, Manner(usable, 1, "both", False, 5, 4, SEED))
    return [
        Case(prompt, better, worse, draw(usable, derive_seed(SEED, "principle", i))[0], variants[i % len(variants)])
        for i, (prompt, better, worse) in enumerate(pairs)
    ]


def language_model(folder: Path, book: Path) -> Asking:
    """Return the readings of a language model, with special tokens that act and without; they are kept in a file."""
    plain = open_generator(folder)
    open_to_tokens = LanguagePolicy(plain.model, acting(plain.renderer), stop=plain.stop)
    version = source_digest(folder)
    spelled, acts = (
        LocalJudge(policy, name=folder.name, version=version, batch_rows=BATCH_ROWS)
        for policy in (plain, open_to_tokens)
    )
    return Asking(spelled, acts, plain.renderer.tokenizer.all_special_tokens, book)


def measured(judge: Asking, cases: Sequence[Case]) -> dict[str, Found]:
    """Return what the attacks do under each defence, and texts that say nothing under none and under all."""
    texts, trial = attacks(SEED)[: len(cases)], Trial(judge, cases)
    # A constitution without worked examples has no such defence.
    tried = [one for one in DEFENCES if cases[0].examples or not one.examples or one.spelled]
    plain = for_comparison(texts)
    return {
        **{one.name: trial.of(texts, one) for one in tried},
        **{f"{one.name}, harmless texts": trial.of(plain, one) for one in (NONE, SHIPPED)},
    }


def preferring(folder: Path, cases: Sequence[Case]) -> dict[str, Found]:
    """Return what the same attacks do to a reward model's comparisons."""
    judge = PreferenceJudge(load_reward_model(folder), name="preference model", version="")
    return {PREFERENCE.name: Trial(Scoring(judge), cases).of(attacks(SEED)[: len(cases)], PREFERENCE)}


def rows(judge: str, found: Measured, command: str) -> Rows:
    """Return two rows per defence: the success rate, and the mean shift of the attacked answer's probability."""
    told: Rows = []
    for name, one in found.items():
        success, shift = one.success, one.shift
        if success is not None:
            told.append(
                row(
                    f"{judge}, defence: {name}, comparisons that turn to the attacked answer",
                    success.value,
                    success.low,
                    success.high,
                    "share of those that can",
                    NO_TARGET,
                    success.n,
                    command,
                )
            )
        told.append(
            row(
                f"{judge}, defence: {name}, shift of the attacked answer",
                shift.value,
                shift.low,
                shift.high,
                "probability",
                NO_TARGET,
                shift.n,
                command,
            )
        )
    return told


def page(title: str, found: Measured) -> str:
    """Return the tables of one judge in Markdown: by defence, and by family of texts under none and under all."""
    lines = [
        f"# Texts that try to talk a judge round: {title}\n",
        "Generated texts, one per pair, appended to the worse answer. `turn`: share of the comparisons with the other answer",
        "ahead that turn to the attacked one; `shift`: mean change of its probability. 95 % intervals.\n",
        "| defence | right before | right after | turn | of | shift | skipped |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in found.items():
        before, after = one.right
        lines.append(
            f"| {name} | {before:.3f} | {after:.3f} | {_share(one)} | {one.can_turn} | {_shift(one)} | {one.skipped} |"
        )
    lines += [
        "\n| family | turn, no defence | shift, no defence | turn, all | shift, all |",
        "| --- | --- | --- | --- | --- |",
    ]
    for family in FAMILIES:
        bare, armed = (found[one.name].of(family) for one in (NONE, SHIPPED))
        lines.append(f"| {family} | {_share(bare)} | {_shift(bare)} | {_share(armed)} | {_shift(armed)} |")
    return "\n".join(lines) + "\n"


def _share(one: Found) -> str:
    success = one.success
    return "none can" if success is None else f"{success.value:.3f} ({success.low:.3f} to {success.high:.3f})"


def _shift(one: Found) -> str:
    return f"{one.shift.value:+.4f} ({one.shift.low:+.4f} to {one.shift.high:+.4f})"
