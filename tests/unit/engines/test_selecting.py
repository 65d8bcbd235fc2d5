"""A prompt that the model cannot answer is refused before anything is generated, with its place, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heedful.errors import DataError
from heedful.records.artifacts import Artifact
from heedful.records.types import PromptRecord
from heedful.stages import align, evaluate, sample
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import POSITIONS, byte_causal, byte_tokenizer
from heedful.testing.speakers import policy_artifact
from tests.alignment import SCORERS, settings

LONG = 140
"""Prompts before the long one: more than one shard holds."""


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    (tmp_path / "scorers.py").write_text(SCORERS)
    rows = [PromptRecord(id=f"p{i}", prompt="hot?", meta={"n": i % 2}) for i in range(LONG)]
    rows.append(PromptRecord(id="long", prompt="hot " * POSITIONS, meta={"n": 0}))
    policy = policy_artifact(tmp_path / "store", byte_causal(0), byte_tokenizer())
    return {"policy": policy, "prompts": artifact_of(tmp_path / "store", "data", heldout__prompts=rows)}


def run(name: str, inputs: dict[str, Artifact], base: Path, **changes: Any) -> Artifact:
    where: dict[str, Any] = {"split": "heldout", "max_new_tokens": 4, **changes}
    match name:
        case "sample":
            stage: Any = sample
            config: Any = sample.Config(num_completions=1, **where)
            given = inputs
        case "align":
            stage, config, given = align, settings(iterations=2, rollout={"rows": 4, **where}), inputs
        case _:
            stage, config = evaluate, evaluate.Config(num_completions=1, world="household", **where)
            given = {"before": inputs["policy"], "after": inputs["policy"], "prompts": inputs["prompts"]}
    return run_stage(stage, config, given, base / "store", base=base)


@pytest.mark.parametrize("name", ["sample", "align", "evaluate"])
def test_a_prompt_that_does_not_fit(tmp_path: Path, inputs: dict[str, Artifact], name: str) -> None:
    file = inputs["prompts"].path / "heldout.prompts.jsonl"
    with pytest.raises(DataError) as caught:
        run(name, inputs, tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{file}:{LONG + 1}: id 'long': the prompt has ")
    assert said.endswith("shorten the prompt or choose a model with a longer context")
    assert not list((tmp_path / "store").glob("*.work"))


@pytest.mark.parametrize("name", ["sample", "align", "evaluate"])
def test_completions_that_never_fit(tmp_path: Path, inputs: dict[str, Artifact], name: str) -> None:
    with pytest.raises(
        DataError, match=r":1: id 'p0': .*; lower max_new_tokens or choose a model with a longer"
    ) as caught:
        run(name, inputs, tmp_path, max_new_tokens=POSITIONS)
    assert "shorten" not in str(caught.value)


def test_prompts_that_are_not_chosen_may_be_long(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    assert run("sample", inputs, tmp_path, where={"n": 1}).metrics["prompts"] == LONG // 2
