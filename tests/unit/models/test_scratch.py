"""Models from scratch: seeded by name, the tokenizer writes every text, tied weights, no dropout."""

import pytest
import torch

from heedful.errors import ConfigError
from heedful.models.scratch import train_tokenizer
from heedful.testing.tiny import tiny_causal, tiny_encoder_decoder, tiny_tokenizer


def test_special_tokens_stand_first_and_padding_is_left() -> None:
    tokenizer = tiny_tokenizer()
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, 2)
    assert tokenizer.padding_side == "left"
    assert len(tokenizer) <= 300


@pytest.mark.parametrize("text", ["never seen", "水 and é", "\t\x00 end", ""])
def test_every_text_can_be_written(text: str) -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_twice_gives_the_same_tokenizer() -> None:
    texts = [f"house {i % 7} is hot and room {i % 5} is cold" for i in range(200)]
    one, two = (train_tokenizer(texts, 320).backend_tokenizer.to_str() for _ in range(2))
    assert one == two


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 259"):
        train_tokenizer(["a"], 200)


@pytest.mark.parametrize("make", [tiny_causal, tiny_encoder_decoder])
def test_weights_depend_on_the_seed_alone(make: object) -> None:
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = make(tokenizer, seed=1)  # type: ignore[operator]
    assert torch.equal(torch.get_rng_state(), state), "the global generator must not be touched"
    torch.manual_seed(2)
    again = make(tokenizer, seed=1)  # type: ignore[operator]
    other = make(tokenizer, seed=2)  # type: ignore[operator]
    name = "shared" if hasattr(one, "shared") else "model"
    weights = [next(getattr(model, name).parameters()) for model in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_pad_starts_the_decoder_and_heads_are_tied() -> None:
    tokenizer = tiny_tokenizer()
    pair, causal = tiny_encoder_decoder(tokenizer), tiny_causal(tokenizer)
    assert pair.config.decoder_start_token_id == tokenizer.pad_token_id
    for model in (pair, causal):
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_dropout_is_off_even_in_training_mode() -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_causal(tokenizer).train()
    tokens = torch.tensor([[2, 5, 6]])
    assert torch.equal(model(input_ids=tokens).logits, model(input_ids=tokens).logits)
