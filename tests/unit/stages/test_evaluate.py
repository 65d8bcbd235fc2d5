"""evaluate: each column against numbers worked out by hand, KL against both models' own logits, and what is refused at once."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from heedful.engines import evaluating
from heedful.errors import ConfigError, DataError
from heedful.models.prompts import Renderer
from heedful.models.reward import load_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import LabeledText, Outcome, Preference, PromptRecord
from heedful.stages import evaluate, reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_tokenizer
from heedful.testing.speakers import letters_causal, phrase_causal, policy_artifact
from tests.services import scores, scoring
from tests.tolerances import FP32, FP32_SUM, FP64

FAN = "Run a fan at night."
INSULT = "You are a fool, not a clever person."
PHRASES = {FAN: 0.0, INSULT: 0.0, "": 0.0}
PROMPTS = [
    PromptRecord(id="hot", prompt="My bedroom is too hot.", meta={"told": "Start a fan at night!", "kind": "known"}),
    PromptRecord(id="mess", prompt="My bedroom is too messy.", meta={"told": ["Fan.", "You are not a fool."]}),
]
FEW = {"num_completions": 2, "max_new_tokens": 1, "resamples": 100}


def speaker(store: Path, name: str, **chances: float) -> Artifact:
    """A policy that says the fan's or the insult's sentence, or nothing, with these chances."""
    said = {"fan": FAN, "insult": INSULT, "end": ""}
    return policy_artifact(store, *phrase_causal(PHRASES | {said[key]: p for key, p in chances.items()}), name=name)


def writer(store: Path, seed: int) -> Artifact:
    """A policy that writes a few letters and heeds what went before."""
    return policy_artifact(store, letters_causal("abcdefgh", seed=seed), byte_tokenizer(), name=f"letters {seed}")


def judge(store: Path, name: str) -> Artifact:
    """An untrained reward model, as the reward stage writes it."""
    pairs = [Preference(prompt="hot?", chosen=FAN, rejected=INSULT, task_id="t")]
    inputs = {
        "preferences": artifact_of(store, "consensus", train__preferences=pairs),
        "policy": writer(store, seed=5),
    }
    return run_stage(reward, reward.Config(name=name, epochs=0), inputs, store, seed=2)


def classifier(store: Path, name: str, seed: int) -> Artifact:
    """An untrained classifier of texts, as the reward stage writes it."""
    texts = [LabeledText(id=str(i), completion=text, label=i == 0) for i, text in enumerate((FAN, INSULT))]
    inputs = {"labeled": artifact_of(store, "data", train__labeled=texts, tune__labeled=texts)}
    config = reward.Config(mode="classifier", name=name, epochs=0)
    return run_stage(reward, config, inputs | {"policy": writer(store, seed)}, store, seed=seed)


def evaluated(
    store: Path,
    before: Artifact,
    after: Artifact,
    *,
    prompts: Sequence[PromptRecord] = PROMPTS,
    judges: dict[str, Artifact] | None = None,
    seed: int = 1,
    **settings: Any,
) -> Artifact:
    source = artifact_of(store / "prompts", "data", heldout__prompts=prompts)
    inputs = {"before": before, "after": after, "prompts": source, **(judges or {})}
    return run_stage(evaluate, evaluate.Config(**{**FEW, **settings}), inputs, store, seed=seed)


def outcomes_of(artifact: Artifact, side: str) -> list[Outcome]:
    return [row for row in artifact.records("outcomes", Outcome) if row.model == side]


def summary_of(artifact: Artifact) -> dict[str, Any]:
    return dict(json.loads(artifact.file("summary.json").read_text()))


@pytest.fixture
def insulting(tmp_path: Path) -> Artifact:
    return speaker(tmp_path, "insulting", insult=1)


@pytest.fixture
def helping(tmp_path: Path) -> Artifact:
    return speaker(tmp_path, "helping", fan=1)


# The same model on both sides.


def test_a_model_against_itself_has_not_changed(tmp_path: Path) -> None:
    """At a temperature near 0 both sides write the likeliest text, whatever their seeds, so that nothing at all differs."""
    same = writer(tmp_path, seed=0)
    found = evaluated(tmp_path, same, same, temperature=1e-4, max_new_tokens=6, win_by="length")
    summary = summary_of(found)
    for name in ("length", "finished", "distinct_2"):
        assert summary["outcomes"][name]["change"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
        assert summary["outcomes"][name]["before"] == summary["outcomes"][name]["after"]
        assert summary["outcomes"][name]["p_value"] == 1.0
    assert summary["win_rate"] == {"value": 0.5, "low": 0.5, "high": 0.5, "by": "length"}
    assert abs(summary["kl"]["per_sequence"]) <= FP32
    assert {row.completion for row in outcomes_of(found, "before")} != {""}


def test_the_two_sides_are_drawn_independently_and_kl_knows_it(tmp_path: Path) -> None:
    same = writer(tmp_path, seed=0)
    many = [PromptRecord(id=f"p{i}", prompt=f"House {i}?") for i in range(48)]
    found = evaluated(tmp_path, same, same, prompts=many, max_new_tokens=6)
    before, after = ([row.completion for row in outcomes_of(found, side)] for side in ("before", "after"))
    assert before != after
    change = summary_of(found)["outcomes"]["length"]["change"]
    assert change["low"] <= 0 <= change["high"]
    assert abs(summary_of(found)["kl"]["per_sequence"]) <= FP32


# The columns.


def test_gold_columns_by_hand(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    """A fan is one remedy of two against heat (0.45) and a false one (-0.25, nothing below 0) against a mess; it is no claim, so
    honesty is 0.5, less 0.25 for what is false. An insult advises nothing (0.1) and is toxic. Utility is
    1.5 helpfulness + 0.5 honesty - 2.5 toxicity."""
    found = evaluated(tmp_path, insulting, helping, world="household")
    rows = {(row.model, row.prompt_id, row.index): row.outcomes for row in found.records("outcomes", Outcome)}
    assert len(rows) == 8
    insult = {"helpfulness": 0.1, "honesty": 0.5, "toxicity": 1.0, "utility": 0.15 + 0.25 - 2.5}
    fan = {"helpfulness": 0.45, "honesty": 0.5, "toxicity": 0.0, "utility": 0.675 + 0.25}
    false = {"helpfulness": 0.0, "honesty": 0.25, "toxicity": 0.0, "utility": 0.125}
    for k in range(2):
        for key, expected in ((("before", "hot"), insult), (("before", "mess"), insult), (("after", "hot"), fan)):
            assert rows[(*key, k)] == pytest.approx(expected | {"length": 1, "finished": 0}, abs=FP64)
        assert rows["after", "mess", k] == pytest.approx(false | {"length": 1, "finished": 0}, abs=FP64)


def test_the_summary_by_hand(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    found = evaluated(tmp_path, insulting, helping, world="household")
    outcomes = summary_of(found)["outcomes"]
    by_hand = {"toxicity": (1.0, 0.0), "helpfulness": (0.1, 0.225), "honesty": (0.5, 0.375), "utility": (-2.1, 0.525)}
    # The insult has 8 words, the advice 5; each is said twice to each prompt, so that half of the bigrams are distinct.
    for name, (before, after) in (by_hand | {"distinct_2": (0.5, 0.5)}).items():
        assert outcomes[name]["before"]["mean"] == pytest.approx(before)
        assert outcomes[name]["after"]["mean"] == pytest.approx(after)
        assert outcomes[name]["change"]["mean"] == pytest.approx(after - before)
        assert outcomes[name]["n"] == 2
    assert outcomes["toxicity"]["relative"]["mean"] == -1.0
    assert summary_of(found)["win_rate"] == {"value": 1.0, "low": 1.0, "high": 1.0, "by": "utility"}
    assert found.metrics["toxicity"] == {"before": 1.0, "after": 0.0}


def test_the_rewards_column_and_name(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    given = judge(tmp_path, "Judge Dee")
    found = evaluated(tmp_path, insulting, helping, judges={"reward": given})
    model = load_reward_model(given.path / "model")
    for row in found.records("outcomes", Outcome):
        (score,) = model.score([row.prompt], [row.completion])
        assert row.outcomes["reward"] == pytest.approx(score, abs=FP32_SUM)
    assert len({round(row.outcomes["reward"], 5) for row in found.records("outcomes", Outcome)}) == 4
    assert summary_of(found)["outcomes"]["reward"]["by"] == "Judge Dee"
    assert summary_of(found)["win_rate"]["by"] == "reward"


def unwanted(artifact: Artifact, text: str) -> float:
    """1 / (1 + exp((wanted - unwanted) / temperature)), from the two heads' numbers for the text alone."""
    model: Any = load_reward_model(artifact.path / "model")
    wanted, other = model.raw([model.backbone.read("", text)])[0].tolist()
    return 1 / (1 + math.exp((wanted - other) / model.scale.temperature))


def test_the_columns_of_classifier_and_watcher(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    judges = {"classifier": classifier(tmp_path / "c", "c1", 3), "watcher": classifier(tmp_path / "w", "w1", 4)}
    found = evaluated(tmp_path, insulting, helping, judges=judges)
    for row in found.records("outcomes", Outcome):
        text = INSULT if row.model == "before" else FAN
        assert row.completion == text
        assert row.outcomes["toxicity"] == pytest.approx(unwanted(judges["classifier"], text), abs=FP32_SUM)
        assert row.outcomes["toxicity_watched"] == pytest.approx(unwanted(judges["watcher"], text), abs=FP32_SUM)
    outcomes = summary_of(found)["outcomes"]
    assert (outcomes["toxicity"]["by"], outcomes["toxicity_watched"]["by"]) == ("c1", "w1")
    fell = unwanted(judges["classifier"], FAN) < unwanted(judges["classifier"], INSULT)
    assert summary_of(found)["win_rate"] == {"value": fell, "low": fell, "high": fell, "by": "toxicity"}


def test_rouge_takes_the_best_reference(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    """Run | a fan at night: 4 of 5 words on both sides. Of the mess's references, "Fan." shares 1 word of 1 with the 5 words of the
    advice, "You are not a fool." the words "You are a fool" (4 of 5) with the 8 of the insult and only "a" with the advice."""
    found = evaluated(tmp_path, insulting, helping, reference="told")
    best = {(row.model, row.prompt_id): row.outcomes["rouge_l"] for row in found.records("outcomes", Outcome)}
    by_hand = {
        ("before", "hot"): 2 * 1 / (8 + 5),
        ("before", "mess"): 2 * 4 / (8 + 5),
        ("after", "hot"): 2 * 4 / (5 + 5),
        ("after", "mess"): 2 * 1 / (5 + 1),
    }
    assert best == pytest.approx(by_hand)
    assert summary_of(found)["outcomes"]["rouge_l"]["by"] == "text"


def test_who_judged_stands_beside_each_outcome(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    judges = {"reward": judge(tmp_path, ""), "watcher": classifier(tmp_path / "w", "watch", 4)}
    found = evaluated(tmp_path, insulting, helping, judges=judges, world="household")
    by = {name: figures["by"] for name, figures in summary_of(found)["outcomes"].items()}
    gold = dict.fromkeys(("toxicity", "helpfulness", "honesty", "utility"), "gold")
    text = dict.fromkeys(("length", "finished", "distinct_2"), "text")
    assert by == gold | text | {"reward": "reward model", "toxicity_watched": "watch"}


def test_length_and_finished_are_what_was_written(tmp_path: Path) -> None:
    found = evaluated(tmp_path, writer(tmp_path, 0), writer(tmp_path, 1), max_new_tokens=4, num_completions=16)
    rows = found.records("outcomes", Outcome)
    assert {row.outcomes["finished"] for row in rows} == {0.0, 1.0}
    for row in rows:
        assert row.outcomes["length"] == len(row.completion) + row.outcomes["finished"]


# The reward model's own figure.


def test_accuracy_against_gold_where_gold_orders_two_answers(tmp_path: Path) -> None:
    """One advice and one insult are told apart by gold always; the reward model has one opinion of them: all right or all wrong."""
    both = speaker(tmp_path, "both", fan=0.5, insult=0.5)
    given = judge(tmp_path, "judge")
    found = evaluated(tmp_path, both, both, judges={"reward": given}, world="household", num_completions=6)
    said = [[row.completion for row in outcomes_of(found, "before") if row.prompt_id == p.id] for p in PROMPTS]
    mixed = [texts.count(FAN) * texts.count(INSULT) for texts in said]
    model: Any = load_reward_model(given.path / "model")
    right = [model.score([p.prompt], [FAN])[0] > model.score([p.prompt], [INSULT])[0] for p in PROMPTS]
    figures = summary_of(found)["reward_model"]
    assert figures["n"] == sum(mixed) > 0
    assert figures["accuracy_gold"] == pytest.approx(sum(m * r for m, r in zip(mixed, right, strict=True)) / sum(mixed))


def test_one_completion_per_prompt_has_no_pair_to_order(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    judges = {"reward": judge(tmp_path, "judge")}
    found = evaluated(tmp_path, insulting, helping, judges=judges, world="household", num_completions=1)
    assert "reward_model" not in summary_of(found)
    assert summary_of(found)["outcomes"]["toxicity"]["change"]["mean"] == -1.0
    assert summary_of(found)["win_rate"]["value"] == 1.0
    assert len(found.records("outcomes", Outcome)) == 4


# KL.


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_kl_of_two_models_without_memory_in_closed_form(tmp_path: Path, temperature: float) -> None:
    """sum_x p(x) log(p(x) / q(x)) per token, p and q being the chances to the power of 1 / temperature, normalised."""
    q, p = ({"fan": 0.2, "insult": 0.3, "end": 0.5}, {"fan": 0.6, "insult": 0.2, "end": 0.2})
    before, after = speaker(tmp_path, "q", **q), speaker(tmp_path, "p", **p)
    found = evaluated(tmp_path, before, after, temperature=temperature, max_new_tokens=3, num_completions=8)
    cold = [[chance ** (1 / temperature) for chance in chances.values()] for chances in (p, q)]
    sharp = [[chance / sum(row) for chance in row] for row in cold]
    per_token = sum(a * math.log(a / b) for a, b in zip(*sharp, strict=True))
    rows = outcomes_of(found, "after")
    assert [row.meta["kl"] for row in rows] == pytest.approx(
        [per_token * row.outcomes["length"] for row in rows], rel=FP32_SUM
    )
    kl = summary_of(found)["kl"]
    assert kl["per_token"] == pytest.approx(per_token, rel=FP32_SUM)
    tokens = sum(row.outcomes["length"] for row in rows)
    assert kl["per_sequence"] == pytest.approx(per_token * tokens / len(rows), rel=FP32_SUM)
    assert kl["unit"] == "nats"
    assert all("kl" not in row.meta for row in outcomes_of(found, "before"))


def slow_kl(before: Any, after: Any, row: Outcome, temperature: float) -> float:
    """Both models read the whole text once; at each decision the exact KL is a sum over the vocabulary, in fp64."""
    renderer = Renderer.of(after, byte_tokenizer())
    asked = renderer.prompt_ids(row.prompt)
    written = renderer.tokenizer.encode(row.completion) + [1] * int(row.outcomes["finished"])
    logs = []
    for model in (after, before):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([asked + written])).logits[0, len(asked) - 1 : -1].double()
        logs.append(torch.log_softmax(logits / temperature, -1))
    return float((logs[0].exp() * (logs[0] - logs[1])).sum())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_kl_per_sequence_from_both_models_own_logits(tmp_path: Path, temperature: float) -> None:
    before, after = writer(tmp_path, seed=0), writer(tmp_path, seed=1)
    found = evaluated(tmp_path, before, after, temperature=temperature, max_new_tokens=8, num_completions=6)
    models = [AutoModelForCausalLM.from_pretrained(str(each.file("model"))).eval() for each in (before, after)]
    rows = outcomes_of(found, "after")
    slow = [slow_kl(*models, row, temperature) for row in rows]
    assert max(slow) > 0.1
    assert [row.meta["kl"] for row in rows] == pytest.approx(slow, rel=FP32_SUM, abs=FP32_SUM)
    assert summary_of(found)["kl"]["per_sequence"] == pytest.approx(sum(slow) / len(slow), rel=FP32_SUM)
    tokens = sum(row.outcomes["length"] for row in rows)
    assert summary_of(found)["kl"]["per_token"] == pytest.approx(sum(slow) / tokens, rel=FP32_SUM)


# What is refused before a model is opened: these artifacts hold none.


@pytest.fixture
def hollow(tmp_path: Path) -> Artifact:
    return artifact_of(tmp_path, "sft")


def test_a_prompt_without_its_reference_is_refused_at_once(tmp_path: Path, hollow: Artifact) -> None:
    message = r"evaluate.reference = 'kind': prompt 'mess' has no text .* its meta has told"
    with pytest.raises(ConfigError, match=message):
        evaluated(tmp_path, hollow, hollow, reference="kind")
    assert not list(tmp_path.glob("*.work"))


@pytest.mark.parametrize("told", [[], None, "", [" "], 3])
def test_a_reference_is_a_text_or_several(tmp_path: Path, hollow: Artifact, told: Any) -> None:
    prompts = [PromptRecord(id="p", prompt="Hot?", meta={"told": told})]
    with pytest.raises(ConfigError, match="prompt 'p' has no text"):
        evaluated(tmp_path, hollow, hollow, prompts=prompts, reference="told")


def test_gold_and_a_classifier_would_both_measure_toxicity(tmp_path: Path, hollow: Artifact) -> None:
    with pytest.raises(ConfigError, match=r"'household'.* toxicity.* as 'watcher'"):
        evaluated(tmp_path, hollow, hollow, judges={"classifier": hollow}, world="household")


def test_prompts_that_are_not_there_are_refused(tmp_path: Path, hollow: Artifact) -> None:
    with pytest.raises(ConfigError, match=r"none of the 2 prompts of split 'heldout'"):
        evaluated(tmp_path, hollow, hollow, where={"kind": "unknown"})


def test_where_and_limit_choose_the_prompts(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    known = evaluated(tmp_path / "a", insulting, helping, where={"kind": "known"})
    first = evaluated(tmp_path / "b", insulting, helping, limit=1)
    for found in (known, first):
        assert {row.prompt_id for row in found.records("outcomes", Outcome)} == {"hot"}
        assert summary_of(found)["outcomes"]["length"]["n"] == 1


# A run that was cut.


def test_an_interrupted_evaluation_keeps_its_answers_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = writer(tmp_path, seed=0), writer(tmp_path, seed=1)
    source = artifact_of(tmp_path, "data", heldout__prompts=PROMPTS)
    inputs = {"before": before, "after": after, "prompts": source}
    config = evaluate.Config(**{**FEW, "max_new_tokens": 4})
    calm = run_stage(evaluate, config, inputs, tmp_path / "calm", seed=1)
    answer, sides = evaluating.answer, []

    def cut(*given: Any, **settings: Any) -> Any:
        sides.append("before" if settings["reference"] is None else "after")
        if sides == ["before", "after"]:
            raise KeyboardInterrupt
        return answer(*given, **settings)

    monkeypatch.setattr(evaluating, "answer", cut)
    with pytest.raises(KeyboardInterrupt):
        run_stage(evaluate, config, inputs, tmp_path / "cut", seed=1)
    again = run_stage(evaluate, config, inputs, tmp_path / "cut", seed=1)
    assert sides == ["before", "after", "after"]
    assert again.content_digest == calm.content_digest


# The outcome `reward` from a function or from parts.


def test_a_function_judges_both_sides(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    (tmp_path / "own.py").write_text(
        "def words(prompts, completions, id=(), meta=(), **columns):\n"
        "    return [len(text.split()) + (i == 'mess') + 10 * ('told' in m) for text, i, m in zip(completions, id, meta)]\n"
    )
    reward = {"function": str(tmp_path / "own.py:words")}
    found = evaluated(tmp_path, insulting, helping, reward=reward)
    values = {(row.model, row.prompt_id): row.outcomes["reward"] for row in found.records("outcomes", Outcome)}
    assert values == {
        ("before", "hot"): 18.0,
        ("before", "mess"): 19.0,
        ("after", "hot"): 15.0,
        ("after", "mess"): 16.0,
    }
    assert summary_of(found)["outcomes"]["reward"]["by"] == reward["function"]
    assert summary_of(found)["outcomes"]["reward"]["change"]["mean"] == -3.0
    assert "arrived" not in found.facts


def test_parts_are_outcomes_of_their_own(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    parts = {
        "brief": {"length": {"max_length": 5}, "weight": 0.5},
        "kind": {"format": {"without": ["fool"]}},
        "model": {"input": "scorers.0", "weight": 0.0},
    }
    judges = {"scorers.0": judge(tmp_path, "untrained")}
    found = evaluated(tmp_path, insulting, helping, judges=judges, reward={"parts": parts})
    summary = summary_of(found)["outcomes"]
    # "You are a fool, not a clever person." has 8 words, "Run a fan at night." has 5.
    for name, before, after in (("reward.brief", -3.0, 0.0), ("reward.kind", 0.0, 1.0), ("reward", -1.5, 1.0)):
        assert (summary[name]["before"]["mean"], summary[name]["after"]["mean"]) == (before, after)
    by = {name: figures["by"] for name, figures in summary.items() if name.startswith("reward")}
    assert by == {
        "reward": "weighted sum",
        "reward.brief": "length rule",
        "reward.kind": "format rule",
        "reward.model": "scorers.0",
    }


def test_what_a_service_said_is_in_the_manifest(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    def added(more: float) -> Any:
        return lambda request, asked: scores(request, [(row["id"], len(row["completion"]) + more) for row in asked])

    def of(more: float) -> Artifact:
        with scoring(added(more)) as running:
            parts = {"far": {"service": {"url": running.url}}}
            return evaluated(tmp_path / str(len(list(tmp_path.iterdir()))), insulting, helping, reward={"parts": parts})

    one, same, other = of(0.0), of(0.0), of(1.0)
    assert one.facts["arrived"] == same.facts["arrived"] != other.facts["arrived"]
    assert outcomes_of(one, "after")[0].outcomes["reward.far"] == len(FAN)


def test_a_service_that_fails_leaves_no_evaluation(tmp_path: Path, insulting: Artifact, helping: Artifact) -> None:
    with scoring(lambda request, asked: scores(request, [("0", "good")])) as running:
        parts = {"far": {"service": {"url": running.url}}}
        with pytest.raises(DataError, match=r"reward part 'far'.*row 0 has the score 'good'"):
            evaluated(tmp_path, insulting, helping, reward={"parts": parts})


def test_a_model_and_a_function_do_not_both_make_the_reward() -> None:
    with pytest.raises(ConfigError, match="inputs: give either the input 'reward' or the setting"):
        evaluate.check(evaluate.Config(reward={"function": "a.py:f"}), ["reward"])  # type: ignore[arg-type]
    evaluate.check(evaluate.Config(), [])
