"""sample: K answers per prompt, each from (seed, prompt id, k) alone, the same bytes however often the run was cut."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from heedful.engines import answering, generation
from heedful.errors import ConfigError
from heedful.models.prompts import Renderer
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, PromptRecord
from heedful.stages import sample
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_tokenizer
from heedful.testing.speakers import letters_causal, phrase_causal, policy_artifact
from tests.tolerances import STANDARD_ERRORS

LETTERS = "abcdefgh"
SHARD = 128
"""Prompts per shard, part of the contract with a killed run."""


def prompts(count: int = 6) -> list[PromptRecord]:
    """Prompts of many lengths, every third of them labeled, no two alike."""
    return [
        PromptRecord(id=f"p{i}", prompt=f"{'hot ' * (i % 5)}house {i}?", meta={"labeled": i % 3 == 0, "place": i})
        for i in range(count)
    ]


@pytest.fixture
def policy(tmp_path: Path) -> Artifact:
    return policy_artifact(tmp_path, letters_causal(LETTERS), byte_tokenizer())


def data_of(store: Path, rows: list[PromptRecord]) -> Artifact:
    return artifact_of(store, "data", train__prompts=rows, heldout__prompts=prompts(2))


def sampled(
    store: Path, policy: Artifact, source: Artifact | None = None, *, seed: int = 3, **settings: Any
) -> Artifact:
    source = source or data_of(store, prompts())
    config = sample.Config(**{"num_completions": 3, "max_new_tokens": 8, **settings})
    return run_stage(sample, config, {"policy": policy, "prompts": source}, store, seed=seed)


def rows_of(artifact: Artifact) -> list[Completion]:
    return artifact.records("completions", Completion)


def texts_of(artifact: Artifact) -> dict[str, str]:
    return {row.id: row.completion for row in rows_of(artifact)}


def test_k_answers_to_each_prompt_in_order(tmp_path: Path, policy: Artifact) -> None:
    found = sampled(tmp_path, policy)
    rows = rows_of(found)
    assert [(row.prompt_id, row.index) for row in rows] == [(f"p{i}", k) for i in range(6) for k in range(3)]
    assert [row.prompt for row in rows[::3]] == [prompt.prompt for prompt in prompts()]
    assert [row.meta for row in rows[::3]] == [prompt.meta for prompt in prompts()]
    assert {row.source for row in rows} == {policy.digest}
    assert len({row.id for row in rows}) == 18
    assert len({row.completion for row in rows}) > 9
    assert (found.metrics["prompts"], found.metrics["completions"]) == (6, 18)


def test_out_of_memory_decodes_fewer_rows_together_and_a_later_try_begins_with_them(
    tmp_path: Path, policy: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second shard of 128 prompts is interrupted; the next try meets no shortage, and still decodes the fewer rows."""
    rows, options = data_of(tmp_path, prompts(SHARD + 4)), {"num_completions": 1, "max_new_tokens": 3}
    whole = texts_of(sampled(tmp_path / "whole", policy, rows, **options))
    sample_batch = generation._sample_batch
    sizes: list[int] = []

    def scarce(policy: Any, packed: Any, draws: Any) -> Any:
        sizes.append(len(packed))
        if len(packed) > 32 and len(sizes) < 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if len(sizes) == 7:
            raise KeyboardInterrupt
        return sample_batch(policy, packed, draws)

    monkeypatch.setattr(generation, "_sample_batch", scarce)
    with pytest.raises(KeyboardInterrupt):
        sampled(tmp_path / "short", policy, rows, **options)
    assert sizes == [128, 64, 32, 32, 32, 32, 4]
    again = sampled(tmp_path / "short", policy, rows, **options)
    assert sizes[7:] == [4]
    assert (again.facts["decoded_rows"], texts_of(again)) == (32, whole)


def test_finished_means_that_the_end_was_written_within_the_limit(tmp_path: Path, policy: Artifact) -> None:
    """A letter is a token and the end is one more, so that text and tokens tell the same."""
    found = sampled(tmp_path, policy, num_completions=8)
    rows = rows_of(found)
    assert {row.finished for row in rows} == {True, False}
    for row in rows:
        assert set(row.completion) <= set(LETTERS)
        assert row.num_tokens == len(row.completion) + row.finished
        assert len(row.completion) == 8 if not row.finished else len(row.completion) < 8
    assert found.metrics["finished_share"] == sum(row.finished for row in rows) / 48


def test_where_and_limit_choose_the_prompts(tmp_path: Path, policy: Artifact) -> None:
    def answered(name: str, **settings: Any) -> list[str]:
        return [row.prompt_id for row in rows_of(sampled(tmp_path / name, policy, num_completions=1, **settings))]

    assert answered("all") == ["p0", "p1", "p2", "p3", "p4", "p5"]
    assert answered("labeled", where={"labeled": True}) == ["p0", "p3"]
    assert answered("both", where={"labeled": False, "place": 4}) == ["p4"]
    assert answered("first", limit=2) == ["p0", "p1"]
    assert answered("first_labeled", where={"labeled": True}, limit=1) == ["p0"]
    assert answered("heldout", split="heldout") == ["p0", "p1"]


@pytest.mark.parametrize("where", [{"labeled": "yes"}, {"no_such_key": 1}, {"labeled": True, "place": 1}])
def test_a_where_that_leaves_nothing_is_refused(tmp_path: Path, policy: Artifact, where: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"where = .*none of the 6 prompts of split 'train'"):
        sampled(tmp_path, policy, where=where)
    assert not list(tmp_path.glob("*.work"))


def test_an_answer_depends_on_seed_prompt_id_and_k_alone(tmp_path: Path, policy: Artifact) -> None:
    together = texts_of(sampled(tmp_path / "together", policy))
    alone = texts_of(sampled(tmp_path / "alone", policy, where={"place": 4}, num_completions=2))
    turned = texts_of(sampled(tmp_path / "turned", policy, data_of(tmp_path, prompts()[::-1]), num_completions=5))
    assert alone == {key: together[key] for key in ("p4/0", "p4/1")}
    assert {key: turned[key] for key in together} == together
    assert texts_of(sampled(tmp_path / "again", policy)) == together
    assert texts_of(sampled(tmp_path / "seed", policy, seed=4)) != together


def test_two_prompts_that_read_alike_get_answers_of_their_own(tmp_path: Path, policy: Artifact) -> None:
    twins = [PromptRecord(id=name, prompt="house?") for name in ("one", "two")]
    found = texts_of(sampled(tmp_path, policy, data_of(tmp_path, twins), num_completions=16))
    assert [found[f"one/{k}"] for k in range(16)] != [found[f"two/{k}"] for k in range(16)]


def slow_answer(model: Any, prompt: str, *, seed: int, limit: int, temperature: float) -> str:
    """One token at a time, the whole text read anew, the uniform number turned into a token by a running sum."""
    renderer = Renderer.of(model, byte_tokenizer())
    ids = renderer.prompt_ids(prompt)
    uniforms = torch.rand(limit, generator=torch.Generator().manual_seed(seed % 2**63), dtype=torch.float64)
    written: list[int] = []
    for uniform in uniforms.tolist():
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + written])).logits[0, -1].double()
        chances = torch.softmax(logits / temperature, 0).tolist()
        token, total = 0, chances[0]
        while total <= uniform:
            token += 1
            total += chances[token]
        if token == model.config.eos_token_id:
            break
        written.append(token)
    return str(renderer.tokenizer.decode(written))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_answers_by_the_slow_definition(tmp_path: Path, policy: Artifact, temperature: float) -> None:
    found = texts_of(sampled(tmp_path, policy, temperature=temperature))
    model = AutoModelForCausalLM.from_pretrained(str(policy.file("model"))).eval()
    for prompt in prompts():
        for k in range(3):
            seed = derive_seed(3, "answer", prompt.id, k)
            slow = slow_answer(model, str(prompt.prompt), seed=seed, limit=8, temperature=temperature)
            assert found[f"{prompt.id}/{k}"] == slow


def test_answers_come_as_often_as_the_policy_says(tmp_path: Path) -> None:
    """Chances 0.7, 0.2 and 0.1 at temperature 1; squared and normalised (49, 4 and 1 of 54) at temperature 1/2."""
    policy = policy_artifact(tmp_path, *phrase_causal({"yes": 0.7, "no": 0.2, "": 0.1}))
    for temperature, chance in ((1.0, 0.7), (0.5, 49 / 54)):
        store = tmp_path / str(temperature)
        rows = rows_of(sampled(store, policy, temperature=temperature, num_completions=64, max_new_tokens=1))
        share = sum(row.completion == "yes" for row in rows) / len(rows)
        assert abs(share - chance) < STANDARD_ERRORS * (chance * (1 - chance) / len(rows)) ** 0.5
        assert [row.finished for row in rows] == [row.completion == "" for row in rows]


def cut_after(calls: int, seen: list[list[str]]) -> Any:
    """The real `answer`, which notes the prompts it is given, and is interrupted after so many calls."""
    answer = answering.answer

    def cut(policy: Any, rows: list[PromptRecord], **settings: Any) -> list[Completion]:
        if len(seen) == calls:
            raise KeyboardInterrupt
        seen.append([row.id for row in rows])
        return answer(policy, rows, **settings)

    return cut


def test_an_interrupted_run_goes_on_after_its_last_shard_and_ends_the_same(
    tmp_path: Path, policy: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = prompts(2 * SHARD + 3)
    source = data_of(tmp_path, many)
    settings = {"num_completions": 2, "max_new_tokens": 3}
    calm = sampled(tmp_path / "calm", policy, source, **settings)
    first: list[list[str]] = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(answering, "answer", cut_after(1, first))
        sampled(tmp_path / "cut", policy, source, **settings)
    assert first == [[prompt.id for prompt in many[:SHARD]]]
    assert len(list((tmp_path / "cut").glob("*.work/parts/*.jsonl"))) == 1
    rest: list[list[str]] = []
    with monkeypatch.context() as patch:
        patch.setattr(answering, "answer", cut_after(9, rest))
        again = sampled(tmp_path / "cut", policy, source, **settings)
    assert [ids[0] for ids in rest] == [f"p{SHARD}", f"p{2 * SHARD}"]
    assert again.content_digest == calm.content_digest
    assert again.file("completions.jsonl").read_bytes() == calm.file("completions.jsonl").read_bytes()
    assert not (again.path / "parts").exists()
