import pytest

from heedful.records.types import Outcome
from heedful.rendering.refused import refusal_rows
from heedful.rendering.revised import revision_figures

CLOSE = 1e-12


def row(answer, number, before, after, *, skipped=None, scores_before=None, scores=None, prompt="p"):
    return {
        "prompt_id": prompt,
        "prompt": "Q",
        "completion_id": answer,
        "round": number,
        "answer": f"{answer} after {number - 1}",
        "principle": "kind",
        "critique": "It is curt.",
        "revision": None if skipped == "timeout" else f"{answer} after {number}",
        "skipped": skipped,
        "harm_before": before,
        "harm": after,
        "scores_before": scores_before or {},
        "scores": scores or {},
    }


ROWS = [
    row("a", 1, 1.0, 0.5, scores_before={"helpful": 1.0}, scores={"helpful": 0.25}),
    row(
        "a", 2, 0.5, 0.25, skipped="unchanged: it is the answer", scores_before={"helpful": 0.25}, scores={"helpful": 0}
    ),
    row("b", 1, 0.5, 0.5, scores_before={"helpful": 0.5}, scores={"helpful": 0.75}, prompt="q"),
    row("b", 2, 0.5, None, skipped="timeout", scores_before={"helpful": 0.75}, prompt="q"),
]


def test_harm_by_round_by_hand():
    rounds = revision_figures(ROWS, seed=0).rounds
    assert [each.number for each in rounds] == [0, 1, 2]
    # round 2 has no text for b, whose answer stays at 0.5: (0.25 + 0.5) / 2
    assert [each.harm.value for each in rounds] == [0.75, 0.5, 0.375]
    assert [each.n for each in rounds] == [2, 2, 2]
    # a fell by 0.5, then by 0.25; b stayed.
    assert rounds[0].change is None
    assert [each.change.value for each in rounds[1:]] == [-0.25, -0.125]
    # Two prompts: what is resampled lies between one alone and the other alone.
    assert (rounds[1].change.low, rounds[1].change.high) == (-0.5, 0.0)


def test_other_scores_and_gates_by_round():
    rounds = revision_figures(ROWS, seed=0).rounds
    # the means of 1 and 0.5, of 0.25 and 0.75, of 0 and (left as it is) 0.75
    assert [each.scores["helpful"].value for each in rounds] == pytest.approx([0.75, 0.5, 0.375], abs=CLOSE)
    assert [dict(each.skips) for each in rounds] == [{}, {}, {"unchanged": 1, "timeout": 1}]


def test_gold_measures_harm_and_all_else_where_no_scorer_did():
    # By length of the text: "a after 0" and so on have 9 letters.
    rows = [row("a", 1, None, None), row("bbb", 1, None, None, skipped="timeout")]
    found = revision_figures(
        rows, seed=0, gold=lambda prompt, text: {"harm": len(text), "helpful": float(text[0] == "a")}
    )
    assert found.by_gold
    assert [each.harm.value for each in found.rounds] == [10, 10]
    assert [each.scores["helpful"].value for each in found.rounds] == [0.5, 0.5]
    measured = revision_figures(ROWS, seed=0, gold=lambda prompt, text: {"harm": 7.0})
    assert not measured.by_gold
    assert measured == revision_figures(ROWS, seed=0)


def test_without_a_scorer_there_are_rounds_without_harm():
    rounds = revision_figures([row("a", 1, None, None)], seed=0).rounds
    assert [each.harm for each in rounds] == [None, None]
    assert revision_figures([], seed=0) is None


def test_chains_are_those_with_the_most_revisions_and_the_seeds():
    rows = [row(name, number, 1.0, 0.5) for name in "abcdefgh" for number in (1, 2)]
    rows += [row("cut", 1, 1.0, 0.5), row("cut", 2, 0.5, 0.5, skipped="empty")]
    chains = revision_figures(rows, seed=1).chains
    assert len(chains) == 3
    assert revision_figures(rows, seed=1).chains == chains
    assert len({revision_figures(rows, seed=seed).chains for seed in range(8)}) > 1
    shown = chains[0]
    assert "cut" not in {chain.answer.split()[0] for chain in chains}
    assert [step.revision for step in shown.steps] == [f"{shown.answer[0]} after {number}" for number in (1, 2)]


def outcome(prompt, model, **outcomes):
    return Outcome(prompt_id=prompt, prompt="Q", completion="A", model=model, outcomes=outcomes)


def test_refusals_by_model_and_kind_of_prompt():
    rows = [
        outcome("h", "before", refused=0.0, evasive=1.0),
        outcome("h", "before", refused=0.5, evasive=0.0),
        outcome("h", "after", refused=1.0, evasive=0.0),
        outcome("o", "after", refused=0.0, evasive=0.0),
        outcome("unknown", "after", refused=1.0, evasive=0.0),
    ]
    found = refusal_rows(rows, {"h": "harmful", "o": "ordinary"})
    assert [(row.kind, row.model, row.n) for row in found] == [
        ("harmful", "before", 2),
        ("harmful", "after", 1),
        ("ordinary", "after", 1),
    ]
    assert {name: each.value for name, each in found[0].shares.items()} == {
        "full": 0.0,
        "partial": 0.5,
        "none": 0.5,
        "evasive": 0.5,
    }
    assert refusal_rows(rows, {}) == ()
    assert refusal_rows([outcome("h", "after", length=1.0)], {"h": "harmful"}) == ()
