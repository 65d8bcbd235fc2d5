"""consensus: pairs with their share of votes, flagged labelers left out, no prompt on both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from heedful.errors import DataError
from heedful.feedback.exchange.exports import consensus_of, preferences_of
from heedful.feedback.exchange.simulated import SimulatedLabeler, SimulatedTask, rank_tasks
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Completion, Consensus, Message, Preference, Ranking
from heedful.stages import consensus
from heedful.testing.artifacts import run_stage

ABOUT = {"planted": {"turned": "reversed"}, "careful": ["a", "b", "c", "d"], "agreement_with_gold": {"value": 0.8}}


def ranking(labeler: str, text: str, fails: str = "", *, task: str = "t", texts: str = "") -> Ranking:
    """`ranking("anna", "ab c")`: a and b tied, then c; every id is its own text unless `texts` says otherwise."""
    ids = sorted(set(text.replace(" ", "") + fails))
    return Ranking(
        task_id=task,
        prompt=f"prompt of {task}",
        completions=dict(zip(ids, texts or ids, strict=True)),
        ranking=tuple(tuple(group) for group in text.split()),
        fails=tuple(fails),
        labeler=labeler,
        criterion="better",
    )


def source(store: Path, rankings: list[Ranking]) -> Artifact:
    with Workspace(store, Identity("collect", 1, {"n": [r.model_dump_json() for r in rankings]}, 0).manifest()) as out:
        out.write("rankings", rankings)
        out.write_json("labelers.json", ABOUT)
        return out.finish()


def agreed(store: Path, rankings: list[Ranking], *, seed: int = 0, **settings: Any) -> Artifact:
    config = consensus.Config(**settings)
    return run_stage(consensus, config, {"rankings": source(store, rankings)}, store, seed=seed)


def panel_rankings(n: int = 120) -> list[Ranking]:
    """Two prompts in three tasks: some prompts have more than one task."""
    import numpy as np

    rng = np.random.default_rng(0)
    tasks = []
    for i in range(n):
        completions = tuple(
            Completion(id=f"t{i}-{k}", prompt_id=f"p{i // 2}", prompt=f"prompt {i // 2}", completion=f"text {i} {k}")
            for k in range(4)
        )
        tasks.append(SimulatedTask(f"t{i}", completions, tuple(rng.normal(size=4).tolist()), (False,) * 4))
    careful = [SimulatedLabeler(name) for name in "abcd"]
    bad = [SimulatedLabeler("turned", fault="reversed")]
    return rank_tasks(tasks, careful + bad, overlap=3, criterion="better", seed=1)


def pairs(
    *answers: Ranking, source: Literal["labelers", "consensus"] = "labelers", smoothing: float = 1.0
) -> dict[str, Preference]:
    found = preferences_of(consensus_of(answers), answers, pairs_from=source, smoothing=smoothing)
    return {preference.chosen + preference.rejected: preference for preference in found}


def test_votes_decide_the_side_of_a_pair() -> None:
    found = pairs(ranking("u", "a b c"), ranking("v", "b a c"), ranking("w", "a b", "c"))
    assert set(found) == {"ab", "ac", "bc"}
    # a over b in two of three; over c in all three. p = (wins + ties / 2 + 1) / (n + 2).
    assert found["ab"].p == pytest.approx(3 / 5)
    assert found["ac"].p == pytest.approx(4 / 5)
    assert (found["ab"].wins, found["ab"].ties, found["ab"].n) == (2, 0, 3)
    assert found["ab"].meta == {"chosen_id": "a", "rejected_id": "b"}
    assert (found["ab"].task_id, found["ab"].criterion, found["ab"].by) == ("t", "better", "labelers")
    assert (found["ab"].prompt, found["ab"].source) == ("prompt of t", "rankings")


def test_ties_count_half_and_even_votes_give_no_pair() -> None:
    found = pairs(ranking("u", "ab c"), ranking("v", "a b c"), ranking("w", "ca b"), smoothing=0.5)
    # a-b: one win, one tie, one win. a-c: win, win, tie. b-c: win, win, loss.
    assert {key: (p.wins, p.ties, p.n) for key, p in found.items()} == {
        "ab": (2, 1, 3),
        "ac": (2, 1, 3),
        "bc": (2, 0, 3),
    }
    assert found["ab"].p == pytest.approx((2 + 0.5 + 0.5) / 4)
    assert pairs(ranking("u", "a b"), ranking("v", "b a")) == {}
    assert pairs(ranking("u", "ab")) == {}


def test_fails_are_below_and_never_a_pair() -> None:
    found = pairs(ranking("u", "a b", "cd"))
    assert set(found) == {"ab", "ac", "ad", "bc", "bd"}
    assert pairs(ranking("u", "", "ab")) == {}


def test_one_labeler_is_named() -> None:
    found = pairs(ranking("u", "a b"))
    assert (found["ab"].by, found["ab"].p) == ("u", pytest.approx(2 / 3))


def test_pairs_of_the_consensus() -> None:
    answers = (ranking("u", "a b c"), ranking("v", "b c a"), ranking("w", "a b c"))
    found = pairs(*answers, source="consensus")
    assert {key: p.p for key, p in found.items()} == pytest.approx({"ab": 3 / 5, "ac": 3 / 5, "bc": 4 / 5})
    assert {p.by for p in found.values()} == {"consensus"}
    # A cycle: the consensus orders c below a against the majority; p says no more than "even".
    cycle = (*[ranking(f"u{i}", "a b c") for i in range(4)], *[ranking(f"v{i}", "b c a") for i in range(3)])
    cycle += (ranking("w0", "c a b"), ranking("w1", "c a b"))
    found = pairs(*cycle, source="consensus")
    assert set(found) == {"ab", "ac", "bc"}
    assert found["ac"].p == 0.5
    assert (found["ac"].wins, found["ac"].n) == (4, 9)


def test_equal_texts_are_no_pair() -> None:
    assert set(pairs(ranking("u", "a b c", texts="xxy"))) == {"xy"}


def test_the_consensus_says_by_how_much_it_leads() -> None:
    # Two answers a > b: "a b" costs nothing, a tie of both costs half a pair per answer.
    assert consensus_of([ranking("u", "a b"), ranking("v", "a b")]).margin == pytest.approx(1.0)
    split = consensus_of([ranking("u", "a b"), ranking("v", "b a")])
    assert (split.margin, split.unique) == (0, False)


def test_consensus_record() -> None:
    found = consensus_of([ranking("u", "a b", "c"), ranking("v", "a b", "c"), ranking("w", "b a c")])
    assert found == Consensus(
        task_id="t",
        prompt="prompt of t",
        completions={"a": "a", "b": "b", "c": "c"},
        ranking=(("a",), ("b",)),
        fails=("c",),
        cost=1,
        unique=True,
        margin=0.5,  # a and b tied would cost half a pair with each of the three
        labelers=("u", "v", "w"),
        criterion="better",
    )


def test_no_prompt_is_on_both_sides(tmp_path: Path) -> None:
    found = agreed(tmp_path, panel_rankings(), tune_fraction=0.25)
    train, tune = (found.records(f"{side}.preferences", Preference) for side in ("train", "tune"))
    assert not {p.prompt for p in train} & {p.prompt for p in tune}
    assert len({p.prompt for p in tune}) == 15
    assert len({p.prompt for p in train}) == 45
    assert found.metrics["pairs_train"] == len(train)
    assert found.metrics["pairs_tune"] == len(tune)
    assert found.metrics["tasks"] == len(found.records("consensus", Consensus)) == 120


def test_a_flagged_labeler_is_left_out_and_named(tmp_path: Path) -> None:
    found = agreed(tmp_path / "a", panel_rankings())
    assert found.metrics["flagged"] == found.metrics["excluded"] == ["turned"]
    assert found.facts["excluded"] == ["turned"]
    assert not any("turned" in one.labelers for one in found.records("consensus", Consensus))
    about = json.loads(found.file("labelers.json").read_text())
    assert (about["flagged"], about["excluded"], about["planted"]) == (["turned"], ["turned"], {"turned": "reversed"})
    rows = {row["name"]: row for row in about["labelers"]}
    assert set(rows) == {"a", "b", "c", "d", "turned"}
    assert (rows["turned"]["diagnosis"], rows["turned"]["planted"]) == ("reversed", "reversed")
    assert "worst first" in rows["turned"]["reason"]
    assert (rows["a"]["flagged"], rows["a"]["diagnosis"], rows["a"]["planted"]) == (False, None, None)
    assert rows["a"]["agreement"]["low"] < rows["a"]["agreement"]["value"] < rows["a"]["agreement"]["high"]
    kept = agreed(tmp_path / "b", panel_rankings(), exclude_flagged=False)
    assert (kept.metrics["flagged"], kept.metrics["excluded"]) == (["turned"], [])
    assert any("turned" in one.labelers for one in kept.records("consensus", Consensus))
    for name in ("agreement_s1", "agreement_s2"):
        assert found.metrics[name]["value"] > kept.metrics[name]["value"]  # type: ignore[index,call-overload,operator]
    assert found.metrics["alpha"] > kept.metrics["alpha"]  # type: ignore[operator]


def test_limits_are_passed_on(tmp_path: Path) -> None:
    for number, limits in enumerate(({"minimum_tasks": 100}, {"minimum_gap": 0.9}, {"q": 1e-99})):
        assert agreed(tmp_path / str(number), panel_rankings(), **limits).metrics["flagged"] == []


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    rankings = panel_rankings(40)
    one, again = (agreed(tmp_path / name, rankings, seed=1) for name in "ab")
    assert one.content_digest == again.content_digest
    other = agreed(tmp_path / "c", rankings, seed=2)
    sides = [{p.prompt for p in found.records("tune.preferences", Preference)} for found in (one, other)]
    assert sides[0] != sides[1]


def test_small_sets_keep_something_to_train_on(tmp_path: Path) -> None:
    two = [ranking("u", "a b", task="t1"), ranking("u", "a b", task="t2")]
    found = agreed(tmp_path / "a", two, tune_fraction=0.01)
    assert (found.metrics["pairs_train"], found.metrics["pairs_tune"]) == (1, 1)
    found = agreed(tmp_path / "b", two, tune_fraction=0.99)
    assert (found.metrics["pairs_train"], found.metrics["pairs_tune"]) == (1, 1)
    none = agreed(tmp_path / "c", two, tune_fraction=0)
    assert (none.metrics["pairs_train"], none.metrics["pairs_tune"]) == (2, 0)
    one = agreed(tmp_path / "d", two[:1])
    assert (one.metrics["pairs_train"], one.metrics["agreement_s2"], one.metrics["alpha"]) == (1, None, None)


def test_chats_are_split_by_prompt_too(tmp_path: Path) -> None:
    chat = (Message(role="user", content="My house is too hot."),)
    rows = [ranking("u", "a b", task=f"t{i}").model_copy(update={"prompt": chat}) for i in range(3)]
    found = agreed(tmp_path, [*rows, ranking("u", "a b", task="t9")], tune_fraction=0.5)
    prompts = [{p.prompt for p in found.records(f"{side}.preferences", Preference)} for side in ("train", "tune")]
    assert sorted(map(len, prompts)) == [1, 1]
    assert prompts[0] != prompts[1]


def test_nothing_but_ties_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pair to train on"):
        agreed(tmp_path, [ranking("u", "ab"), ranking("v", "ab", task="t2")])


def ruled(text: str, fails: str = "", *, task: str) -> Ranking:
    return ranking("ruling", text, fails, task=task).model_copy(update={"source": "ruling"})


def test_a_ruling_decides_its_task_alone_and_is_no_labeler(tmp_path: Path) -> None:
    everybody = [ranking(name, "a b c", task=task) for task in ("t", "u", "v") for name in ("anna", "ben", "cleo")]
    plain = agreed(tmp_path / "plain", everybody, tune_fraction=0)
    found = agreed(
        tmp_path / "ruled", [*everybody, ruled("c b", "a", task="u"), ruled("b a", task="w")], tune_fraction=0
    )
    orders = {one.task_id: (one.ranking, one.fails, one.labelers) for one in found.records("consensus", Consensus)}
    assert orders["t"] == ((("a",), ("b",), ("c",)), (), ("anna", "ben", "cleo"))
    assert orders["u"] == ((("c",), ("b",)), ("a",), ("ruling",))
    assert orders["w"] == ((("b",), ("a",)), (), ("ruling",))  # nobody else has answered it
    pairs = {(p.task_id, p.chosen, p.rejected): p.n for p in found.records("train.preferences", Preference)}
    assert {pair for pair in pairs if pair[0] == "u"} == {("u", "c", "b"), ("u", "c", "a"), ("u", "b", "a")}
    assert {pairs[pair] for pair in pairs if pair[0] == "u"} == {1}
    # All agree with each other, the ruling with nobody: it must not show.
    assert found.metrics["agreement_s2"] == plain.metrics["agreement_s2"]
    assert found.metrics["alpha"] == plain.metrics["alpha"] == 1
    assert (found.metrics["labelers"], found.metrics["rulings"]) == (3, 2)
    assert "rulings" not in plain.metrics
    table = json.loads(found.file("labelers.json").read_text())
    assert [row["name"] for row in table["labelers"]] == ["anna", "ben", "cleo"]


def test_two_rulings_on_one_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="task 't' has two rulings"):
        agreed(tmp_path, [ranking("anna", "a b", task="t"), ruled("b a", task="t"), ruled("a b", task="t")])
