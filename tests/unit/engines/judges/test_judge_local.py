"""A local judge: log-probs equal one plain forward per question, with and without a shared beginning; quoted text stays text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from heedful.engines.judges.judge_local import LocalJudge, _parted
from heedful.engines.judges.judge_text import plain_tokens
from heedful.engines.judging import Answered, Asked, Skipped
from heedful.errors import ModelError
from heedful.records.layouts import THEREFORE
from heedful.testing.policies import byte_policy
from heedful.testing.speakers import letters_causal
from tests.families import ALL, llama
from tests.tolerances import FP32_SUM

QUESTIONS = ("Q: a?", "Q: a longer question?", "Q: b?", "Q: <eos>?", "Q: c")


def judge_of(model: Any, **options: int) -> LocalJudge:
    return LocalJudge(byte_policy(model, value_head=False), name="tiny", version="v", **options)


def asked(prefix: str = "", *, thinks: bool = False, texts: tuple[str, ...] = QUESTIONS) -> list[Asked]:
    return [Asked(prefix, text, seed, thinks) for seed, text in enumerate(texts)]


def plainly(judge: LocalJudge, one: Asked, option: str) -> float:
    """Log-prob of an option's letter by one forward of the whole text, nothing shared."""
    policy = judge._policy
    tokenizer, model = policy.renderer.tokenizer, policy.bare
    if policy.renderer.encoder_decoder:
        read = torch.tensor([[*plain_tokens(tokenizer, one.prefix + one.text), tokenizer.eos_token_id]])
        written = [model.config.decoder_start_token_id, *plain_tokens(tokenizer, option.strip())]
        logits = model(input_ids=read, decoder_input_ids=torch.tensor([written])).logits[0]
    else:
        written = [*policy.renderer.prompt_ids(""), *plain_tokens(tokenizer, one.prefix + one.text + option)]
        logits = model(input_ids=torch.tensor([written])).logits[0]
    # over bytes an option is " (A)": its letter is the last but one token, read from the place before
    return float(logits[-3].log_softmax(-1)[written[-2]])


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("prefix", ["", "P: x. "])
@torch.no_grad()
def test_log_probs_are_those_of_a_plain_forward(family: str, prefix: str) -> None:
    judge = judge_of(ALL[family](), batch_rows=2)
    answers = judge.answer(asked(prefix))
    for one, answer in zip(asked(prefix), answers, strict=True):
        assert isinstance(answer, Answered)
        expected = torch.tensor([plainly(judge, one, option) for option in (" (A)", " (B)")])
        assert_close(torch.tensor(answer.logprobs), expected, atol=FP32_SUM, rtol=FP32_SUM)


def test_neither_company_nor_batches_change_an_answer() -> None:
    mixed = [*asked("P: x. "), *asked("R: yy. "), *asked()]
    together = judge_of(llama()).answer(mixed)
    alone = [judge_of(llama(), batch_rows=1).answer([one])[0] for one in mixed]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, Answered)
        assert isinstance(other, Answered)
        assert_close(torch.tensor(one.logprobs), torch.tensor(other.logprobs), atol=FP32_SUM, rtol=FP32_SUM)
    assert judge_of(llama()).answer(mixed) == together


def test_the_spelling_of_a_special_token_is_letters() -> None:
    tokenizer = byte_policy(llama()).renderer.tokenizer
    assert plain_tokens(tokenizer, "a<eos>") == [tokenizer.encode(letter)[0] for letter in "a<eos>"]
    assert tokenizer.encode("a<eos>")[-1] == tokenizer.eos_token_id
    assert plain_tokens(tokenizer, "") == []


def test_a_question_over_the_context_is_skipped_and_the_others_are_answered() -> None:
    # 128 positions; a question of n bytes takes BOS, n, and two more before the letter
    answers = judge_of(llama()).answer(asked(texts=("a" * 125, "a" * 126, "b")))
    assert isinstance(answers[0], Answered)
    assert answers[1] == Skipped("context", "129 tokens, the judge's context is 128")
    assert isinstance(answers[2], Answered)


def test_thoughts_are_sampled_by_the_questions_seed_and_stand_before_the_verdict() -> None:
    judge = judge_of(letters_causal("ab"), thought_tokens=16)
    answers = judge.answer(asked(thinks=True))
    (alone,) = judge_of(letters_causal("ab"), thought_tokens=16).answer(asked(thinks=True)[2:3])
    assert getattr(alone, "thought", alone) == getattr(answers[2], "thought", answers[2])
    thoughts = [answer.thought for answer in answers if isinstance(answer, Answered)]
    assert thoughts, "all thoughts were cut off; choose other seeds"
    assert all(thought is not None and set(thought) <= {"a", "b"} for thought in thoughts)
    for one, answer in zip(asked(thinks=True), answers, strict=True):
        if isinstance(answer, Answered):
            said = Asked("", f"{one.text} {answer.thought}{THEREFORE}", 0)
            (again,) = judge.answer([said])
            assert isinstance(again, Answered)
            assert answer.logprobs == pytest.approx(again.logprobs, rel=FP32_SUM)
        else:
            assert answer == Skipped("truncated", "the thought did not end within judge.thought_tokens")


def test_a_tokenizer_that_cannot_tell_the_options_apart_is_refused() -> None:
    assert _parted([5, 6, 7, 9], [5, 6, 8, 9]) == ([5, 6], (7, 8))
    with pytest.raises(ModelError, match="writes both options alike"):
        _parted([3, 3], [3, 3])
