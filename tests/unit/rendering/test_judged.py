import pytest

from heedful.records.sides import Side, people_sides
from heedful.records.types import Preference, Verdict
from heedful.rendering import judged
from heedful.rendering.constitution_content import TemperatureFigures
from heedful.rendering.constitution_tables import judge_sentences

CLOSE = 1e-12
TEXTS = {"t/0": "Short.", "t/1": "A good deal longer."}


def verdict(a, b, p, principle="kind", skipped=None, task="t"):
    return Verdict(
        task_id=task,
        a=a,
        b=b,
        principle=principle,
        p=p,
        skipped=skipped,
        judge="sft",
        judge_version="v",
        constitution="c",
    )


def label(p_first, readings, *, p=None, **fields):
    """A label as `ai_feedback` writes it; `readings` are (id shown first, p, principle)."""
    chosen, rejected = ("t/0", "t/1") if p_first >= 0.5 else ("t/1", "t/0")
    given = {
        "prompt": "Q",
        "chosen": TEXTS[chosen],
        "rejected": TEXTS[rejected],
        "p": max(p_first, 1 - p_first) if p is None else p,
        "task_id": "t",
        "meta": {
            "first": "t/0",
            "second": "t/1",
            "readings": [{"a": a, "p": p, "principle": by[0] if by else "kind"} for a, p, *by in readings],
        },
    }
    return Preference(**{**given, **fields})


def human(chosen, rejected, **votes):
    return Preference(prompt="Q", chosen=TEXTS[chosen], rejected=TEXTS[rejected], task_id="elsewhere", **votes)


SAID = [verdict("t/0", "t/1", 0.9), verdict("t/1", "t/0", 0.3)]
LABEL = label(0.8, [("t/0", 0.9), ("t/1", 0.3)])
SETTINGS = {"criterion": "harmlessness", "orders": "both", "clamp": None, "judge": {"thinking": False}}


def figures(said=SAID, labels=(LABEL,), references=None, metrics=None, **settings):
    return judged.judge_figures(
        said,
        labels,
        settings=SETTINGS | settings,
        metrics={"judge_cost": 0.5, "pairs": 1, **(metrics or {})},
        principles={"kind": "Kinder?", "fair": "Fairer?"},
        constitution="household",
        references=references or {},
    )


def test_two_orders_of_one_pair_are_one_comparison():
    (row,) = judged.comparisons(SAID)
    assert (row.x, row.y, row.shown_first) == ("t/0", "t/1", 0.9)
    assert row.shown_second == pytest.approx(0.7, abs=CLOSE)


def test_a_pair_with_a_skipped_order_is_no_comparison_and_is_counted():
    said = [*SAID, verdict("t/0", "t/1", 0.9, "fair"), verdict("t/1", "t/0", None, "fair", "context: 1200 tokens")]
    found = figures(said)
    assert [(each.name, each.fired) for each in found.principles] == [("kind", 1), ("fair", 0)]
    assert (found.questions, dict(found.skips)) == (4, {"context": 1})
    assert figures([verdict("t/0", "t/1", None, skipped="timeout: 3 s")]) is None


def test_the_share_clamped():
    assert figures().clamped is None
    # 0.9 and 0.3 of 0.9, 0.3 lie outside 0.4 to 0.6; of these bounds only 0.9 does.
    assert figures(judge={"thinking": True}).clamped == 1.0
    assert figures(clamp=(0.2, 0.8)).clamped == 0.5


def test_a_text_belongs_to_the_id_that_its_readings_say():
    assert judged.texts_of(LABEL, None) == TEXTS
    assert judged.texts_of(label(0.3, [("t/0", 0.2), ("t/1", 0.6)]), None) == TEXTS
    # Clamped, kind gives the first (0.6 + 0.5) / 2 and fair (0.4 + 0.4) / 2, together 0.475; raw it was 0.56.
    readings = [("t/0", 0.99), ("t/1", 0.5), ("t/0", 0.4, "fair"), ("t/1", 0.65, "fair")]
    assert judged.texts_of(label(0.475, readings), (0.4, 0.6)) == TEXTS


def test_length_bias_goes_by_the_texts():
    # The label is for the shorter one.
    assert figures().longer.value == 0


def test_the_majority_of_people_is_their_side_and_every_vote_counts():
    sides = people_sides([human("t/0", "t/1", wins=2, n=3), human("t/1", "t/0", wins=2, n=2)])
    (side,) = sides.values()
    # Two and none for t/0, one and two for t/1.
    assert side == Side(TEXTS["t/1"], {TEXTS["t/0"]: 2, TEXTS["t/1"]: 3})
    assert people_sides([human("t/0", "t/1", p=0.5, wins=1, n=2)]) == {}
    assert people_sides([human("t/0", "t/0")]) == {}
    # One of three for t/0, two undecided: no majority.
    assert people_sides([human("t/0", "t/1", wins=1, ties=2, n=3)]) == {}


def test_ai_labels_beside_people_on_the_same_pair():
    votes = people_sides([human("t/0", "t/1", wins=3, n=4)])
    (found,) = figures(references={"people": votes, "gold": {}}).references
    assert (found.by, found.n, found.accuracy.value) == ("people", 1, 1.0)
    # Stated 0.8, right: off by 0.2.
    assert found.calibration_error == pytest.approx(0.2, abs=CLOSE)
    assert (found.one_person.value, found.two_people.value) == (0.75, 0.5)
    assert (found.longer.value, found.longer_by_judge.value) == (0.0, 0.0)
    assert figures(references={"people": votes}).principles[0].right.value == 1


def test_people_who_judged_other_pairs_are_not_beside():
    other = Preference(prompt="Another", chosen=TEXTS["t/0"], rejected=TEXTS["t/1"], task_id="t")
    assert figures(references={"people": people_sides([other])}).references == ()


def test_gold_takes_a_side_unless_both_are_worth_the_same():
    worth = {TEXTS["t/0"]: 0.0, TEXTS["t/1"]: 1.0}
    sides = judged.gold_sides([LABEL], lambda prompt, text: worth[text])
    assert [side.better for side in sides.values()] == [TEXTS["t/1"]]
    (found,) = figures(references={"gold": sides}).references
    assert (found.accuracy.value, found.calibration_error) == (0.0, pytest.approx(0.8, abs=CLOSE))
    assert (found.longer.value, found.longer_by_judge.value) == (1.0, 0.0)
    assert judged.gold_sides([LABEL], lambda prompt, text: 1.0) == {}


def test_an_even_label_is_half_right_and_states_nothing():
    even = label(0.5, [("t/0", 0.9), ("t/1", 0.9)])
    (found,) = figures(
        labels=[even], references={"gold": judged.gold_sides([even], lambda _, text: len(text))}
    ).references
    assert (found.accuracy.value, found.calibration, found.calibration_error) == (0.5, (), 0.0)


def test_a_preference_model_knows_of_no_principle_and_is_counted_all_the_same():
    said = [verdict("t/0", "t/1", 0.9, principle=None), verdict("t/1", "t/0", 0.1, principle=None)]
    found = judged.judge_figures(
        said, (LABEL,), settings=SETTINGS, metrics={}, principles={}, constitution="", references={}
    )
    assert found is not None
    assert found.principles == ()
    assert found.questions == 2
    assert found.averaged == pytest.approx((0.9,), abs=CLOSE)


def test_a_temperature_is_told_with_what_it_was_worth():
    known = {"temperature": 0.5, "people_pairs": 78, "calibration_error_before": 0.0906, "calibration_error": 0.0372}
    found = figures(metrics=known)
    assert found.temperature == TemperatureFigures(0.5, 78, 0.0906, 0.0372)
    said = judge_sentences(found)[-1]
    assert said == (
        "Its confidence was set by 78 pairs that people compared, temperature 0.50: off by 9.1 points before, by 3.7 after."
    )
    few = judge_sentences(figures(metrics={"temperature": 1.0, "people_pairs": 12}))[-1]
    assert few == "Its confidence was set by 12 pairs that people compared, temperature 1."
