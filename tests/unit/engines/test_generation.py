from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.testing import assert_close

from heedful.engines import generation
from heedful.engines.generation import Sampled, _decoder, draw, draw_with_logprobs, sample, sums_in_blocks
from heedful.errors import ShapeError
from heedful.models.policy import LanguagePolicy
from heedful.models.trunks import PromptTokens
from heedful.numerics.logprobs import head_logprobs
from heedful.testing.policies import byte_causal, byte_policy
from tests.families import ALL, CAUSAL, VOCAB, bart, llama, some_decisions, some_prompts
from tests.tolerances import FP32_SUM

PROMPTS = some_prompts((3, 7, 1, 5, 7, 2))
SEEDS = [11, 12, 13, 14, 15, 16]
MANY_STOPS = frozenset(range(1, 80))
"""So many tokens end a completion that rows end at different places."""
EDGE = 1e-5
"""How near to the edge of a draw rounding may decide."""
LOGITS = 1e-5
"""How far logits may be from those of a whole forward, fp32."""
SUSPICIOUS = 1e-4
"""p-value below which two distributions are taken to differ; the seeds are fixed."""


def policy_of(model: Any, stop: frozenset[int] = MANY_STOPS, temperature: float = 1.0) -> LanguagePolicy:
    policy = byte_policy(model, temperature=temperature, value_head=False)
    policy.stop = stop
    return policy


def rows_of(sampled: Sampled) -> list[list[int]]:
    return [row[keep].tolist() for row, keep in zip(sampled.actions, sampled.mask, strict=True)]


def completions(policy: LanguagePolicy, rows: list[int] | None = None, **options: int) -> list[list[int]]:
    index = torch.arange(len(PROMPTS)) if rows is None else torch.tensor(rows)
    seeds = [SEEDS[i] for i in index.tolist()]
    return rows_of(sample(policy, PROMPTS[index], seeds, **({"max_new_tokens": 8} | options)))


@pytest.mark.parametrize("family", ALL)
def test_a_completion_does_not_depend_on_its_neighbours(family: str) -> None:
    policy = policy_of(ALL[family]())
    together = completions(policy)
    assert len({len(row) for row in together}) > 1
    assert [completions(policy, [i])[0] for i in range(len(SEEDS))] == together
    assert completions(policy, batch_rows=2) == together
    assert completions(policy, [4, 1, 3]) == [together[i] for i in (4, 1, 3)]


@pytest.mark.parametrize("family", ALL)
def test_dropping_finished_rows_changes_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(ALL[family]())
    found = []
    for share in (0.0, 0.75, 2.0):  # never dropped; as usual; dropped at once
        monkeypatch.setattr(generation, "COMPACT_BELOW", share)
        found.append(completions(policy))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("family", ALL)
@torch.no_grad()
def test_stepwise_and_whole_forward_give_the_same_logprobs(family: str) -> None:
    policy = policy_of(ALL[family](), frozenset())
    drawn = sample(policy, PROMPTS, SEEDS, max_new_tokens=6)
    longest_first = torch.argsort(PROMPTS.lengths, descending=True, stable=True)
    decoder = _decoder(policy, PROMPTS[longest_first], 6)
    actions = drawn.actions[longest_first]
    steps = [decoder.start()] + [decoder.step(actions[:, t]) for t in range(5)]
    steps = [logits[torch.argsort(longest_first)] for logits in steps]
    stepwise = torch.stack(steps, 1).log_softmax(-1).gather(2, drawn.actions[..., None])[..., 0]
    states = policy.trunk.states(PROMPTS, drawn.actions, drawn.mask)
    whole = states.head(states.inputs).log_softmax(-1).gather(1, drawn.actions.flatten()[:, None])[:, 0]
    assert_close(stepwise.flatten(), whole, atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize("family", ["gpt2", "bart"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
@torch.no_grad()
def test_the_sampled_distribution_is_the_softmax(family: str, temperature: float) -> None:
    model, draws = ALL[family](), 20_000
    policy = policy_of(model, temperature=temperature)
    prompts = some_prompts((4,) * draws)
    prompts = PromptTokens(prompts.tokens[:1].expand(draws, -1), prompts.lengths)
    drawn = sample(policy, prompts, range(draws), max_new_tokens=1, batch_rows=draws)
    asked = prompts.tokens[:1]
    extra = {"decoder_input_ids": torch.tensor([[1]])} if family == "bart" else {}
    expected = (model(input_ids=asked, **extra).logits[0, -1].double() / temperature).softmax(-1)
    seen = torch.bincount(drawn.actions[:, 0], minlength=VOCAB)
    assert chi_square(seen, expected * draws) > SUSPICIOUS
    uniform = torch.full_like(expected, draws / VOCAB)
    assert chi_square(seen, uniform) < SUSPICIOUS  # the test can tell


def chi_square(seen: Tensor, expected: Tensor, *, least: float = 5.0) -> float:
    rare = expected < least
    pooled = [torch.cat([x[~rare].double(), x[rare].double().sum()[None]]) for x in (seen, expected)]
    keep = pooled[1] > 0
    return float(chisquare(pooled[0][keep], pooled[1][keep]).pvalue)


def test_draw_inverts_the_cumulative_distribution() -> None:
    """Probabilities 0.2, 0, 0.5, 0.3: cumulative 0.2, 0.2, 0.7, 1."""
    logits = torch.tensor([0.2, 0.0, 0.5, 0.3]).log()
    uniforms = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits.expand(6, -1), uniforms, 1.0).tolist() == [0, 0, 2, 2, 3, 3]


def test_draw_at_a_temperature() -> None:
    """Squared and normalised at temperature 1/2: 1/5 and 2/5 become 1/5 and 4/5 of their sum."""
    logits = torch.tensor([[1.0, 2.0]]).log().expand(2, -1)
    uniforms = torch.tensor([0.199, 0.201], dtype=torch.float64)
    assert draw(logits, uniforms, 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("vocabulary", [4, 400])
def test_a_draw_comes_with_its_log_probability(vocabulary: int) -> None:
    """At temperature 1/2 weights 1 2 3 4 become 1 4 9 16 of 30; the rest of a large vocabulary is impossible."""
    logits = torch.full((4, vocabulary), -torch.inf)
    logits[:, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0]).log()
    uniforms = torch.tensor([0.5, 4.0, 10.0, 20.0], dtype=torch.float64) / 30
    tokens, logprobs = draw_with_logprobs(logits, uniforms, 0.5)
    assert tokens.tolist() == [0, 1, 2, 3]
    assert_close(logprobs, (torch.tensor([1.0, 4.0, 9.0, 16.0]) / 30).log(), atol=FP32_SUM, rtol=0)


@pytest.mark.parametrize("family", ALL)
def test_the_samplers_log_probs_are_those_of_a_whole_forward(family: str) -> None:
    policy = policy_of(ALL[family](), temperature=0.7)
    drawn = sample(policy, PROMPTS, SEEDS, max_new_tokens=6, batch_rows=4)
    states = policy.trunk.states(PROMPTS, drawn.actions, drawn.mask)
    whole, _ = head_logprobs(states.inputs, states.head, drawn.actions[drawn.mask], temperature=0.7)
    assert_close(drawn.logprobs[drawn.mask], whole.detach(), atol=LOGITS, rtol=0)
    assert drawn.logprobs[~drawn.mask].abs().sum() == 0


@pytest.mark.parametrize("family", ALL)
def test_a_completion_ends_with_its_first_stop_token_or_is_truncated(family: str) -> None:
    policy = policy_of(ALL[family](), MANY_STOPS)
    prompts = some_prompts(tuple(1 + i % 7 for i in range(40)))
    drawn = sample(policy, prompts, range(40), max_new_tokens=5)
    for row, truncated in zip(rows_of(drawn), drawn.truncated.tolist(), strict=True):
        assert not any(token in MANY_STOPS for token in row[:-1])
        assert (row[-1] not in MANY_STOPS) is truncated
        assert len(row) == 5 or not truncated
    assert drawn.truncated.any()
    assert not drawn.truncated.all()
    assert drawn.actions[~drawn.mask].abs().sum() == 0


@pytest.mark.parametrize("token", [1, 200])
def test_every_id_of_the_stop_set_ends_a_completion(token: int) -> None:
    model = bart()
    model.final_logits_bias[0, token] = 1000.0
    ended = sample(policy_of(model, frozenset({1, 200})), PROMPTS, SEEDS, max_new_tokens=4)
    assert ended.actions.tolist() == [[token]] * len(SEEDS)
    assert not ended.truncated.any()
    endless = sample(policy_of(model, frozenset({9})), PROMPTS, SEEDS, max_new_tokens=4)
    assert endless.actions.tolist() == [[token] * 4] * len(SEEDS)
    assert endless.truncated.all()


def test_a_draw_of_a_large_vocabulary_is_that_of_a_small_one() -> None:
    """Found block by block, the token is the one whose stretch of the cumulative distribution holds the uniform (NumPy, fp64)."""
    logits = torch.randn(64, 1000, generator=torch.Generator().manual_seed(2)) * 3
    logits[:, 100:400] = -torch.inf
    uniforms = torch.linspace(0, 1 - 2**-53, 64, dtype=torch.float64)
    chances = np.exp(logits.double().numpy() / 0.7)
    edges = np.cumsum(chances / chances.sum(1, keepdims=True), axis=1)
    for token, u, edge in zip(draw(logits, uniforms, 0.7).tolist(), uniforms.tolist(), edges, strict=True):
        low = edge[token - 1] if token else 0.0
        assert low - EDGE <= u <= edge[token] + EDGE
        assert edge[token] > low


@pytest.mark.parametrize("vocabulary", [9, 128, 129, 1000])
@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53, 1.0])
def test_a_token_without_probability_is_never_drawn(vocabulary: int, uniform: float) -> None:
    allowed = vocabulary // 2
    logits = torch.full((1, vocabulary), -torch.inf)
    logits[0, allowed] = -3.0
    assert draw(logits, torch.tensor([uniform], dtype=torch.float64), 1.0).tolist() == [allowed]


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("cells", [1, 8, 10_000])
def test_prompts_read_in_parts_of_any_size_give_the_same(
    family: str, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(CAUSAL[family]())
    expected = completions(policy)
    monkeypatch.setitem(generation.PROMPT_CELLS, "cpu", cells)
    assert completions(policy) == expected


@pytest.mark.parametrize("every", [3, 100])
def test_a_late_look_at_who_has_finished_changes_nothing(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(llama())
    expected = completions(policy)
    monkeypatch.setitem(generation.LOOK_EVERY, "cpu", every)
    assert completions(policy) == expected


@pytest.mark.parametrize("family", ALL)
@torch.no_grad()
def test_logits_with_a_cache_are_those_without(family: str) -> None:
    """Logits after each token, with rows taken out on the way, are those of a whole forward without a cache."""
    policy = policy_of(ALL[family](), frozenset())
    order = torch.argsort(PROMPTS.lengths, descending=True, stable=True)
    prompts = PROMPTS[order]
    actions = some_decisions((6,) * len(prompts))[0]
    decoder = _decoder(policy, prompts, 6)
    rows = torch.arange(len(prompts))
    logits = decoder.start()
    for t in range(6):
        mask = (torch.arange(6) <= t).expand(len(rows), -1)
        states = policy.trunk.states(prompts[rows], actions[rows], mask)
        whole = states.head(states.inputs).view(len(rows), t + 1, -1)[:, -1]
        assert_close(logits, whole, atol=LOGITS, rtol=LOGITS)
        if t in (1, 3):
            running = torch.arange(len(rows)) != t  # one row leaves, from the middle
            rows = rows[decoder.keep(running, len(rows) - 1)]
        if t < 5:
            logits = decoder.step(actions[rows, t])


def test_a_step_beyond_the_limit_is_refused() -> None:
    decoder = _decoder(policy_of(llama()), PROMPTS[torch.tensor([1, 0])], 1)
    decoder.start()
    decoder.step(torch.tensor([5, 6]))
    with pytest.raises(ShapeError, match="9 columns"):
        decoder.step(torch.tensor([5, 6]))


def test_a_first_token_that_stops_everyone() -> None:
    model = bart()
    model.final_logits_bias[0, 1] = 1000.0
    assert sample(policy_of(model), PROMPTS, SEEDS, max_new_tokens=1).mask.tolist() == [[True]] * len(SEEDS)


def test_the_same_seed_gives_the_same_and_another_seed_another() -> None:
    policy = policy_of(llama())
    assert completions(policy) == completions(policy)
    others = rows_of(sample(policy, PROMPTS, [s + 100 for s in SEEDS], max_new_tokens=8))
    assert others != completions(policy)


@pytest.mark.parametrize("family", CAUSAL)
def test_sampling_keeps_out_of_the_global_stream(family: str) -> None:
    policy = policy_of(CAUSAL[family]())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    completions(policy)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_adapter_is_used_when_it_is_on() -> None:
    from heedful.models.adapters import add_lora

    model = add_lora(byte_causal(0), r=4, alpha=64.0, targets="all-linear", seed=0)
    policy = policy_of(model)
    before = completions(policy)
    assert before == completions(policy_of(byte_causal(0)))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            value.data.normal_(generator=torch.Generator().manual_seed(1))
    assert completions(policy) != before


@pytest.mark.parametrize("count", [1, 2, 3, 128, 130, 1187])
def test_running_sums_in_blocks_are_sums_and_never_fall(count: int) -> None:
    """1187 blocks of 128 are a vocabulary of 151,936. Against numpy in extended precision."""
    weights = torch.rand(50, count, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights[:, ::3] = 0.0
    found = sums_in_blocks(weights)
    expected = np.cumsum(weights.numpy().astype(np.longdouble), 1).astype(np.float64)
    assert found.dtype == torch.float64
    assert_close(found, torch.from_numpy(expected), rtol=1e-13, atol=1e-13)
    steps = found.diff(dim=1)
    assert bool((steps >= 0).all())
    assert bool((steps[weights[:, 1:] == 0] == 0).all())
