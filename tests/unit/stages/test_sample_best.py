"""sample with a reward model: the same answers, scored; the best are kept, and what that gains is told."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from heedful.errors import ConfigError
from heedful.models.backbones import Backbone, Reading
from heedful.models.reward import load_reward_model, new_reward_model
from heedful.numerics.best_of_n import expected_best
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Completion, PromptRecord
from heedful.stages import sample
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_tokenizer
from heedful.testing.speakers import letters_causal, policy_artifact
from heedful.testing.tiny import tiny_encoder, tiny_tokenizer
from tests.tolerances import FP32_SUM

K = 6


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    rows = [PromptRecord(id=f"p{i}", prompt=f"house {i}?", meta={"number": i}) for i in range(4)]
    tokenizer = tiny_tokenizer()
    with Workspace(tmp_path / "r", Identity("reward", 1, {}, 0).manifest()) as out:
        backbone = Backbone(tiny_encoder(tokenizer, seed=1), tokenizer, Reading())
        new_reward_model(backbone, "pairwise", seed=1).save(out.folder("model"))
        reward = out.finish()
    return {
        "policy": policy_artifact(tmp_path, letters_causal("abcdefgh"), byte_tokenizer()),
        "prompts": artifact_of(tmp_path, "data", train__prompts=rows),
        "reward": reward,
    }


def drawn(store: Path, inputs: dict[str, Artifact], **settings: Any) -> Artifact:
    config = sample.Config(num_completions=K, max_new_tokens=8, **settings)
    return run_stage(sample, config, inputs, store, seed=3)


def by_prompt(artifact: Artifact) -> dict[str, list[Completion]]:
    found: dict[str, list[Completion]] = {}
    for row in artifact.records("completions", Completion):
        found.setdefault(row.prompt_id, []).append(row)
    return found


def test_the_best_of_the_same_answers_are_kept(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    plain = by_prompt(drawn(tmp_path, {name: inputs[name] for name in ("policy", "prompts")}))
    best = by_prompt(drawn(tmp_path, inputs, keep=2))
    scorer = load_reward_model(inputs["reward"].path / "model")
    assert list(best) == list(plain)
    for prompt, rows in plain.items():
        scores = dict(
            zip(
                [row.id for row in rows],
                scorer.score([r.prompt for r in rows], [r.completion for r in rows]),
                strict=True,
            )
        )
        expected = sorted(scores, key=lambda name: -scores[name])[:2]  # type: ignore[operator]
        assert [row.id for row in best[prompt]] == expected
        assert [row.meta["place"] for row in best[prompt]] == [1, 2]
        assert {row.meta["best_of"] for row in best[prompt]} == {K}
        assert [row.meta["score"] for row in best[prompt]] == pytest.approx([scores[i] for i in expected], abs=FP32_SUM)
        texts = {row.id: row.completion for row in rows}
        assert all(row.completion == texts[row.id] for row in best[prompt])


def test_what_the_best_of_1_2_4_and_all_are_worth(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    every = drawn(tmp_path, inputs)
    scores = [[float(row.meta["score"]) for row in rows] for rows in by_prompt(every).values()]  # type: ignore[arg-type]
    assert [len(own) for own in scores] == [K] * 4, "without `keep` all are there"
    metrics: Any = every.metrics
    assert list(metrics["best_of"]) == ["1", "2", "4", "6"]
    for k, value in metrics["best_of"].items():
        assert value == pytest.approx(sum(expected_best(own, int(k)) for own in scores) / 4)
    assert metrics["gain"]["value"] == pytest.approx(metrics["best_of"]["6"] - metrics["best_of"]["1"])
    assert metrics["gain"]["low"] > 0
    kept = drawn(tmp_path, inputs, keep=1)
    assert kept.metrics["best_of"] == metrics["best_of"]
    assert (kept.metrics["completions"], kept.metrics["finished_share"]) == (4, metrics["finished_share"])


def test_keeping_needs_a_reward_model_and_enough_completions() -> None:
    with pytest.raises(ConfigError, match="the setting 'keep' needs the input 'reward'"):
        sample.check(sample.Config(keep=1), {"policy", "prompts"})
    with pytest.raises(ValidationError, match="keep = 5 is more than num_completions = 4"):
        sample.Config(keep=5)
