"""reward, mode kwise: learns from consensus, single rankings and files; held-out prompts and left-out labelers do not teach."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.engines.rewards.comparison import ComparisonTeacher
from heedful.engines.rewards.kwise import Lesson, ranking_loss_sum, ranking_teacher
from heedful.engines.rewards.pairwise import pair_loss_sum, tasks
from heedful.errors import ConfigError, DataError
from heedful.models.backbones import Reading, body_of
from heedful.models.reward import RewardModel, new_reward_model
from heedful.numerics.preference_losses import plackett_luce
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Preference, Ranking
from heedful.stages import consensus, data, reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_tokenizer
from tests.tolerances import FP32_SUM

TEXTS = {"a": "drink cold water", "b": "open the window", "c": "close the door", "d": "you fool !"}
FAST: dict[str, Any] = {"epochs": 6, "minibatch_rows": 4, "optimizer": {"lr": 5e-3}}


def ranking(task: int, labeler: str = "Ada", *, order: str = "abcd", **fields: Any) -> Ranking:
    texts = {key: f"{text} {task}" if key != "d" else text for key, text in TEXTS.items()}
    groups = tuple((key,) for key in order)
    return Ranking(
        task_id=str(task), prompt=f"house {task} ?", completions=texts, ranking=groups, labeler=labeler, criterion="good",
        **fields,
    )  # fmt: skip


@pytest.fixture
def backbone(tmp_path: Path) -> dict[str, Any]:
    tokenizer = tiny_tokenizer()
    return {"source": str(save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer))}


def collected(store: Path, rows: list[Ranking], *, stage: str = "collect") -> Artifact:
    with Workspace(store, Identity(stage, 1, {"rows": len(rows)}, 0).manifest()) as out:
        out.write("rankings", rows)
        out.write_json("labelers.json", {})
        return out.finish()


@pytest.mark.parametrize("loss", ["plackett_luce", "all_pairs", "pick_best"])
def test_it_learns_from_a_consensus_whose_tune_prompts_are_held_out(
    tmp_path: Path, backbone: dict[str, Any], loss: str
) -> None:
    rankings = collected(tmp_path / "r", [ranking(task) for task in range(24)])
    agreed = run_stage(consensus, consensus.Config(tune_fraction=0.25), {"rankings": rankings}, tmp_path)
    config = reward.Config(mode="kwise", ranking_loss=loss, backbone=backbone, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, {"rankings": agreed}, tmp_path)
    figures: Any = artifact.metrics
    assert (figures["rankings"], figures["tasks"]) == (18, 18)
    assert (figures["accuracy"]["n"], figures["accuracy"]["clusters"]) == (36, 6)
    if loss != "pick_best":
        assert figures["accuracy"]["value"] >= 0.9
    rows = artifact.records("tune_scores", Preference)
    best = [row for row in rows if row.meta["chosen_id"] == "a"]
    assert len(best) == 18
    assert all(row.meta["chosen_score"] > row.meta["rejected_score"] for row in best)  # type: ignore[operator]
    assert json.loads(artifact.file("reward.json").read_text())["mode"] == "kwise"


def teacher(
    tmp_path: Path, rows: list[Ranking], pairs: list[Preference], excluded: list[str]
) -> ComparisonTeacher[Lesson]:
    source = collected(tmp_path / "r", rows)
    with Workspace(tmp_path / "p", Identity("consensus", 1, {}, 0).manifest()) as out:
        out.write("tune.preferences", pairs)
        heldout = out.finish(facts={"excluded": list(excluded)})
    return ranking_teacher(source, heldout, loss="plackett_luce", centering=0.0, seed=0)


def test_single_rankings_without_held_out_prompts_and_left_out_labelers(tmp_path: Path) -> None:
    rows = [ranking(task, name) for task in range(4) for name in ("Ada", "Ben")]
    pairs = [Preference(prompt="house 3 ?", chosen="drink", rejected="fool", task_id="3")]
    figures = teacher(tmp_path, rows, pairs, ["Ben"]).judge(model())
    assert (figures["rankings"], figures["tasks"]) == (3, 3)


def test_a_ruling_stands_in_place_of_all_answers_to_its_task(tmp_path: Path) -> None:
    rows = [ranking(0), ranking(0, "Ben"), ranking(0, "ruling", order="dcba", source="ruling"), ranking(1)]
    assert teacher(tmp_path, rows, [], []).judge(model())["rankings"] == 2


def model() -> RewardModel:
    tokenizer = tiny_tokenizer()
    return new_reward_model(body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading()), "pairwise", seed=1)


def test_a_rankings_texts_are_read_once_and_equal_ones_stand_at_their_better_place(tmp_path: Path) -> None:
    row = ranking(0, order="acdb").model_copy(update={"completions": TEXTS | {"b": TEXTS["a"]}, "fails": ()})
    scorer = model()
    (lesson,) = _lessons(tmp_path, [row], scorer)
    assert (len(lesson.texts), lesson.levels) == (3, [0, 1, 2])
    scores = scorer.score([row.prompt] * 3, [TEXTS[key] for key in "acd"])
    expected = plackett_luce(torch.tensor(scores), [0, 1, 2])
    torch.testing.assert_close(
        ranking_loss_sum(scorer, [lesson], plackett_luce), expected, atol=FP32_SUM, rtol=FP32_SUM
    )


def _lessons(tmp_path: Path, rows: list[Ranking], scorer: RewardModel) -> list[Any]:
    from heedful.engines.rewards.kwise import _lesson

    return [_lesson(row, scorer) for row in rows]


def test_fails_come_last_and_are_tied(tmp_path: Path) -> None:
    row = ranking(0, order="ab", fails=("c", "d"))
    assert _lessons(tmp_path, [row], model())[0].levels == [0, 1, 2, 2]


def test_pairs_weigh_1_over_all_pairs_of_their_prompt_where_prompts_weigh_the_same() -> None:
    scorer = model()
    rows = [
        Preference(prompt="hot ?", chosen=TEXTS[a], rejected=TEXTS[b], task_id="t") for a, b in ("ab", "ac", "bc")
    ]  # fmt: skip
    one, three = (tasks(rows[:n], scorer, weigh="prompts") for n in (1, 3))
    assert [task.unit.weight for task in one + three] == [1.0, 1.0]
    plain = pair_loss_sum(scorer, tasks(rows, scorer), 0.0)
    torch.testing.assert_close(pair_loss_sum(scorer, three, 0.0), plain / 3, atol=FP32_SUM, rtol=FP32_SUM)


def test_rankings_from_a_file(tmp_path: Path, backbone: dict[str, Any]) -> None:
    lines = [
        {"prompt": f"house {task} ?", "completions": list(TEXTS.values()), "ranking": [[0], [1, 2]], "fails": [3]}
        for task in range(20)
    ]
    (tmp_path / "ranked.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = {"path": "ranked.jsonl", "kind": "rankings", "split": {"train": 0.7, "tune": 0.3}}
    config = data.Config(sources=[source])  # type: ignore[list-item]
    read = run_stage(data, config, {}, tmp_path, base=tmp_path)
    first = read.records("train.rankings", Ranking)[0]
    assert (first.ranking, first.fails) == ((("0",), ("1", "2")), ("3",))
    trained = run_stage(reward, reward.Config(mode="kwise", backbone=backbone, **FAST), {"rankings": read}, tmp_path)  # type: ignore[arg-type]
    figures: Any = trained.metrics
    assert figures["rankings"] + figures["accuracy"]["clusters"] == 20
    assert figures["accuracy"]["n"] == 5 * figures["accuracy"]["clusters"]
    assert figures["accuracy"]["value"] >= 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"ranking": [[0], [1]]},
            r"ranked.jsonl:1: field 'ranking': every completion was expected once \(0, 1, 2, 3\), got",
        ),
        ({"completions": "text"}, "field 'completions': a list or a table of texts was expected, got .text."),
        ({"completions": ["x"] * 4}, "field 'completions': at least two different completions were expected"),
        ({"ranking": {"0": 1}}, "field 'ranking': a list was expected"),
    ],
)
def test_a_bad_ranking_is_named_with_its_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    row = {"prompt": "p", "completions": list(TEXTS.values()), "ranking": [[0], [1], [2], [3]]} | change
    (tmp_path / "ranked.jsonl").write_text(json.dumps(row), encoding="utf-8")
    config = data.Config(sources=[{"path": "ranked.jsonl", "kind": "rankings"}])  # type: ignore[list-item]
    with pytest.raises(DataError, match=words):
        run_stage(data, config, {}, tmp_path / "store", base=tmp_path)


def test_rankings_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    pairs = [Preference(prompt="house 0 ?", chosen="drink", rejected="fool", task_id="0")]
    with pytest.raises(DataError, match="no ranking of two different completions outside the held-out prompts"):
        teacher(tmp_path, [ranking(0)], pairs, [])


def test_a_ranking_of_other_completions_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rankings.jsonl:2: field 'ranking': completion 'd' must stand in the ranking"):
        teacher(tmp_path, [ranking(0), ranking(1, order="abc")], [], [])


def test_kwise_needs_rankings() -> None:
    with pytest.raises(ConfigError, match="mode 'kwise' learns from the input 'rankings', which is missing"):
        reward.check(reward.Config(mode="kwise"), {"policy"})


def test_a_pair_of_equal_answers_is_refused_with_its_line(tmp_path: Path) -> None:
    good = Preference(prompt="p", chosen="a", rejected="b", task_id="t")
    source = artifact_of(
        tmp_path, "data", train__preferences=[good, good.model_copy(update={"rejected": "a", "task_id": "u"})]
    )
    config = reward.Config(backbone={"source": "unused"})  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match=r"train.preferences.jsonl:2: field 'rejected': chosen and rejected of task 'u'"
    ):
        run_stage(reward, config, {"preferences": source}, tmp_path / "store", base=tmp_path)
