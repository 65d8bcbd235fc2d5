import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from heedful.engines.memory import ForwardBudget
from heedful.engines.rollout import RewardSettings, TextRollout, score_all
from heedful.errors import HealthError
from heedful.models.adapters import add_lora
from heedful.models.policy import LanguagePolicy, Reference, base_reference, copied_reference, fixed_reference
from heedful.models.roles import Scorer
from heedful.models.table import Table
from heedful.numerics.kl import AdaptiveKL, FixedKL
from heedful.testing.policies import LetterShare, byte_causal, byte_encoder_decoder, byte_policy
from tests.families import ALL, VOCAB, gpt2
from tests.tolerances import FP32_SUM

PROMPTS = ["My house is too hot.", "Why?", "How do I sleep well", "x"]
SEEDS = [1, 2, 3, 4]
COEF = 0.3


class Given:
    """A scorer with its answers written down; remembers what it was asked."""

    def __init__(self, scores: Sequence[float | None]) -> None:
        self.scores = list(scores)
        self.columns: dict[str, Sequence[Any]] = {}

    def score(self, prompts: Any, completions: Any, **columns: Sequence[Any]) -> list[float | None]:
        self.columns = columns
        return self.scores


def rollout(
    policy: LanguagePolicy, reference: Reference, scorer: Scorer, rewards: RewardSettings | None = None, **options: Any
) -> TextRollout:
    given: dict[str, Any] = {"kl": FixedKL(COEF), "max_new_tokens": 6} | options
    return TextRollout(policy, reference, scorer, rewards=rewards or RewardSettings(), **given)


def apart(build: Any = byte_causal) -> tuple[LanguagePolicy, Reference]:
    """A policy and a reference that differ, and so many stop tokens that completions have different lengths."""
    policy = byte_policy(build(0))
    policy.stop = frozenset(range(1, 60))
    return policy, fixed_reference(byte_policy(build(1)))


def shortened_table(settings: RewardSettings | None = None, scores: Sequence[float] = (1.0, 2.0, 3.0, 4.0)) -> Table:
    table = rollout(*apart(), Given(scores), settings, max_new_tokens=2)(PROMPTS, SEEDS)
    assert table.truncated.any()
    assert not table.truncated.all()
    return table


def test_rewards_are_penalty_per_token_and_score_at_the_end() -> None:
    table = shortened_table(RewardSettings(missing_eos_value=0.5))
    assert table.ref_logprobs is not None
    assert table.kl is not None
    for row, score in enumerate((1.0, 2.0, 3.0, 4.0)):
        n = int(table.mask[row].sum())
        expected = [-COEF * float(table.logprobs[row, t] - table.ref_logprobs[row, t]) for t in range(n)]
        expected[-1] += score - (0.5 if table.truncated[row] else 0.0)
        assert_close(table.rewards[row, :n], torch.tensor(expected), atol=FP32_SUM, rtol=FP32_SUM)
        assert table.rewards[row, n:].abs().sum() == 0


def test_the_exact_penalty_also_tells_each_decision_its_own_part() -> None:
    """coef * (exact KL - k1), which has mean 0 over the decisions that could have been taken in this state."""
    policy, reference = apart()
    playing = rollout(policy, reference, Given([0.0] * 4), RewardSettings(kl_estimator="exact"))
    table = playing(PROMPTS, SEEDS)
    beside = policy.evaluate_beside(reference, table.context, table.actions, table.mask)
    expected = COEF * (beside.exact_kl - (beside.logprobs - beside.ref_logprobs))
    assert table.own_rewards is not None
    assert_close(table.own_rewards, expected, atol=FP32_SUM, rtol=FP32_SUM)
    assert (table.own_rewards[table.mask] != 0).all()
    assert table.own_rewards[~table.mask].abs().sum() == 0
    vocabulary = torch.arange(VOCAB)
    context, every = table.context[torch.zeros(VOCAB, dtype=torch.long)], torch.ones(VOCAB, 1, dtype=torch.bool)
    whole = policy.evaluate_beside(reference, context, vocabulary[:, None], every)
    mean_k1 = (whole.logprobs.exp() * (whole.logprobs - whole.ref_logprobs)).sum()
    assert_close(mean_k1, whole.exact_kl[0, 0], atol=FP32_SUM, rtol=FP32_SUM)
    assert shortened_table().own_rewards is None


def test_missing_eos_can_replace_the_score() -> None:
    table = shortened_table(RewardSettings(missing_eos="replace", missing_eos_value=-1.0))
    expected = torch.where(table.truncated, -1.0, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert torch.equal(table.scores, expected)


def test_what_is_reported_as_score_is_what_the_scorer_said() -> None:
    table = shortened_table()
    assert table.metrics["score_mean"] == 2.5
    assert table.metrics["score_sd"] == pytest.approx(math.sqrt(1.25))
    assert table.metrics["truncated_share"] == table.truncated.float().mean()
    assert table.metrics["length_mean"] == table.mask.sum(1).float().mean()
    assert table.metrics["kl_coef"] == COEF


def test_the_exact_estimator_puts_the_sum_over_the_vocabulary_into_the_rewards() -> None:
    policy, reference = apart()
    sampled = rollout(policy, reference, Given([0.0] * 4), RewardSettings(missing_eos_value=0.0))(PROMPTS, SEEDS)
    exact_settings = RewardSettings(kl_estimator="exact", missing_eos_value=0.0)
    exact = rollout(policy, reference, Given([0.0] * 4), exact_settings)(PROMPTS, SEEDS)
    assert torch.equal(sampled.actions, exact.actions)
    beside = policy.evaluate_beside(reference, exact.context, exact.actions, exact.mask)
    assert_close(exact.rewards, -COEF * beside.exact_kl, atol=FP32_SUM, rtol=FP32_SUM)
    assert (exact.kl[exact.mask] > 0).all()
    assert not torch.allclose(sampled.kl, exact.kl)
    for name in ("kl_per_token", "kl_per_sequence", "kl_estimate"):
        assert sampled.metrics[name] == pytest.approx(exact.metrics[name])
    total = beside.exact_kl.sum() / 4
    assert exact.metrics["kl_per_sequence"] == pytest.approx(float(total))
    assert exact.metrics["kl_per_token"] == pytest.approx(float(beside.exact_kl.sum() / exact.mask.sum()))
    assert sampled.metrics["kl_estimate"] == pytest.approx(float(sampled.kl.sum() / 4), rel=FP32_SUM)


@pytest.mark.parametrize("family", ALL)
def test_kl_is_zero_at_step_zero_and_old_logprobs_are_those_of_training(family: str) -> None:
    policy = byte_policy(ALL[family]())
    table = rollout(policy, copied_reference(policy), Given([0.0] * 4))(PROMPTS, SEEDS)
    assert table.metrics["kl_per_token"] <= FP32_SUM
    assert abs(table.metrics["kl_estimate"]) <= FP32_SUM
    again = policy.evaluate(table)
    assert_close(again.logprobs, table.logprobs, atol=FP32_SUM, rtol=FP32_SUM)
    assert torch.equal(table.values, torch.zeros_like(table.values))


def test_kl_is_zero_at_step_zero_with_adapters() -> None:
    policy = byte_policy(add_lora(byte_encoder_decoder(), r=4, alpha=8.0, targets=["q", "v"], seed=0))
    table = rollout(policy, base_reference(policy), Given([0.0] * 4))(PROMPTS, SEEDS)
    assert table.metrics["kl_per_token"] == 0
    assert torch.equal(table.kl, torch.zeros_like(table.kl))


@pytest.mark.parametrize("cells", [1, 40, 100_000])
def test_the_size_of_a_forward_changes_nothing(cells: int) -> None:
    policy = byte_policy(gpt2())
    policy.stop = frozenset(range(1, 60))
    reference = fixed_reference(byte_policy(byte_causal(9)))
    one = rollout(policy, reference, Given([1.0] * 4))(PROMPTS, SEEDS)
    other = rollout(policy, reference, Given([1.0] * 4), budget=ForwardBudget(cells))(PROMPTS, SEEDS)
    for name in ("logprobs", "ref_logprobs", "kl", "rewards", "values"):
        assert_close(getattr(other, name), getattr(one, name), atol=FP32_SUM, rtol=FP32_SUM, msg=name)


def test_costs_count_the_prompt() -> None:
    table = shortened_table()
    lengths = [len(p) + 1 for p in PROMPTS]  # bytes and a BOS
    assert table.costs.tolist() == [n + int(m) for n, m in zip(lengths, table.mask.sum(1), strict=True)]


def test_answers_and_columns_stay_with_their_prompts() -> None:
    scorer = Given([1.0] * 4)
    playing = rollout(*apart(), scorer)
    table = playing(PROMPTS, SEEDS, id=["a", "b", "c", "d"])
    assert scorer.columns == {"id": ["a", "b", "c", "d"]}
    assert playing.answers.prompts == PROMPTS
    assert playing.answers.scores == [1.0] * 4
    tokenizer = playing.policy.renderer.tokenizer
    for row in range(4):
        tokens = table.actions[row, table.mask[row]].tolist()
        assert playing.answers.completions[row] == tokenizer.decode(tokens, skip_special_tokens=True).removeprefix(" ")


def test_the_scorer_of_a_known_function() -> None:
    assert LetterShare("e").score(["p", "p", "p"], ["eel", "", "xx"]) == [2 / 3, 0.0, 0.0]


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_names_the_row(bad: float | None) -> None:
    with pytest.raises(HealthError, match=f"the scorer gave {bad} for row 2: 'third'"):
        score_all(Given([0.0, 1.0, bad]), ["p"] * 3, ["first", "second", "third"])


def test_a_wrong_number_of_scores_is_refused() -> None:
    with pytest.raises(HealthError, match="2 scores for 3 completions"):
        score_all(Given([0.0, 1.0]), ["p"] * 3, ["a", "b", "c"])


def test_the_controller_acts_on_the_next_rollout() -> None:
    """k1 summed over a sequence, 256 episodes, target 6, horizon 10,000: 0.2 becomes 0.201024 at a KL of 12."""
    policy, reference = apart()
    playing = rollout(
        policy, reference, Given([0.0] * 4), RewardSettings(missing_eos_value=0.0), kl=AdaptiveKL(0.2, 6.0, 1e4)
    )
    first = playing(PROMPTS, SEEDS)
    playing.kl = playing.kl.update(12.0, 256)
    second = playing(PROMPTS, SEEDS)
    assert second.metrics["kl_coef"] == pytest.approx(0.201024)
    assert_close(second.rewards / 0.201024, first.rewards / 0.2, atol=FP32_SUM, rtol=FP32_SUM)
