"""The renderer: one BOS at most, one EOS, training tokens equal to those at answering time, and only the assistant's turns."""

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from heedful.errors import DataError
from heedful.models.loading import stop_ids
from heedful.models.prompts import Renderer, plain_text
from heedful.records.types import Message
from heedful.testing.tiny import tiny_causal, tiny_encoder_decoder, tiny_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WRITES_BOS = "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
OPENS_WITH_BOS = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}"
BOS_EACH_TURN = "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}{% endif %}{{ m.content }}{% endfor %}"
FORGETFUL = "{% for m in messages %}{% if m.role == 'user' or loop.last %}[{{ m.content }}]{% endif %}{% endfor %}"
CHAT = (
    Message(role="system", content="Be kind."),
    Message(role="user", content="hot ?"),
    Message(role="assistant", content="drink water"),
    Message(role="user", content="and now ?"),
)


@pytest.fixture
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture
def chat_tokenizer(tokenizer: Any) -> Any:
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.chat_template = CHATML
    return tokenizer


def joined(renderer: Renderer, prompt: Any, completion: str) -> list[int]:
    return [token for ids, _ in renderer.segments(prompt, completion) for token in ids]


def test_text_prompt_begins_with_bos_and_completion_ends_with_eos(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer, False)
    assert renderer.prompt_ids("why ?") == [2, *tokenizer.encode("why ?", add_special_tokens=False)]
    assert renderer.completion_ids("why ?", "so hot") == [*tokenizer.encode(" so hot", add_special_tokens=False), 1]


@pytest.mark.parametrize("prompt", ["Answer:\n", "Answer: ", ""])
def test_no_space_is_added_where_the_prompt_ends_in_white_space_or_is_empty(tokenizer: Any, prompt: str) -> None:
    ids = Renderer(tokenizer, False).completion_ids(prompt, "hot")
    assert tokenizer.decode(ids[:-1]) == "hot"


@pytest.mark.parametrize("prompt", ["why ?", "why ?\n", "", CHAT])
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("chat", [False, True])
def test_training_tokens_are_those_met_when_answering(tokenizer: Any, prompt: Any, pair: bool, chat: bool) -> None:
    if chat:
        tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
        tokenizer.chat_template = CHATML
    renderer = Renderer(tokenizer, pair)
    answered = renderer.prompt_ids(prompt) + renderer.completion_ids(prompt, "so hot ;")
    assert joined(renderer, prompt, "so hot ;") == answered


@pytest.mark.parametrize("text", ["so hot", "", "a  b\n\nc", "é ß 水"])
@pytest.mark.parametrize("pair", [False, True])
def test_completion_survives_the_way_there_and_back(tokenizer: Any, text: str, pair: bool) -> None:
    renderer = Renderer(tokenizer, pair)
    assert renderer.completion_text(renderer.completion_ids("why ?", text)) == text


def test_a_completion_that_already_ends_with_eos_gets_no_second(tokenizer: Any) -> None:
    ids = Renderer(tokenizer, False).completion_ids("why ?", "hot<eos>")
    assert ids.count(1) == 1


def test_only_the_assistants_turns_are_targets_in_a_plain_chat(tokenizer: Any) -> None:
    told = [(tokenizer.decode(ids), target) for ids, target in Renderer(tokenizer, False).segments(CHAT, "rest")]
    assert told == [
        ("<bos>Be kind.\n\nHuman: hot ?\n\nAssistant:", False),
        (" drink water<eos>", True),
        ("\n\nHuman: and now ?\n\nAssistant:", False),
        (" rest<eos>", True),
    ]


def test_only_the_assistants_turns_with_their_end_are_targets_in_a_template(chat_tokenizer: Any) -> None:
    renderer = Renderer(chat_tokenizer, False, stop=stop_ids(tiny_causal(chat_tokenizer), chat_tokenizer))
    told = [chat_tokenizer.decode(ids) for ids, target in renderer.segments(CHAT, "rest") if target]
    assert told == ["drink water<|im_end|>", "rest<|im_end|>"]


def test_a_templated_prompt_is_what_the_template_writes_and_nothing_before_it(chat_tokenizer: Any) -> None:
    renderer = Renderer(chat_tokenizer, False)
    turns = [message.model_dump() for message in CHAT]
    written = chat_tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert chat_tokenizer.decode(renderer.prompt_ids(CHAT)) == written


def test_a_template_that_rewrites_earlier_turns_trains_only_the_last(tokenizer: Any) -> None:
    tokenizer.chat_template = FORGETFUL
    flags = [target for _, target in Renderer(tokenizer, False).segments(CHAT, "rest")]
    assert flags == [False, True]


def user(content: str) -> tuple[Message, ...]:
    return (Message(role="user", content=content),)


def test_double_bos_is_refused(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="2 BOS"):
        Renderer(tokenizer, False).prompt_ids("<bos><bos>why ?")
    for prompt in ("why <bos>?", "<bos>why ?<bos>", user("why <bos>?")):
        with pytest.raises(DataError, match="2 BOS"):
            Renderer(tokenizer, False).prompt_ids(prompt)
        with pytest.raises(DataError, match="2 BOS"):
            Renderer(tokenizer, False).segments(prompt, "so hot")
    tokenizer.chat_template = WRITES_BOS
    with pytest.raises(DataError, match="2 BOS"):
        Renderer(tokenizer, False).prompt_ids(CHAT)


@pytest.mark.parametrize("pair", [False, True])
def test_a_second_bos_behind_a_template_that_opens_with_one_is_refused(tokenizer: Any, pair: bool) -> None:
    tokenizer.chat_template = OPENS_WITH_BOS
    renderer = Renderer(tokenizer, pair)
    assert renderer.prompt_ids(CHAT).count(2) == 1
    with pytest.raises(DataError, match="2 BOS"):
        renderer.prompt_ids(user("why <bos>?"))


@pytest.mark.parametrize("pair", [False, True])
def test_a_template_may_open_each_turn_with_the_bos(tokenizer: Any, pair: bool) -> None:
    tokenizer.chat_template = BOS_EACH_TURN
    assert Renderer(tokenizer, pair).prompt_ids(CHAT).count(2) == 2  # one for each turn of the user
    assert Renderer(tokenizer, pair).prompt_ids("<bos>hot ?so<bos>why ?").count(2) == 2  # the same, written out
    with pytest.raises(DataError, match="2 BOS"):
        Renderer(tokenizer, pair).prompt_ids("<bos><bos>why ?")


@pytest.mark.parametrize("template", [None, OPENS_WITH_BOS])
def test_an_encoder_whose_tokenizer_adds_bos_reads_one(tokenizer: Any, template: str | None) -> None:
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    tokenizer.chat_template = template
    renderer = Renderer(tokenizer, True)
    for prompt in ("why ?", "<bos>why ?", CHAT):
        assert renderer.prompt_ids(prompt).count(2) == 1
    with pytest.raises(DataError, match="2 BOS"):
        renderer.prompt_ids("why <bos>?")


def test_a_bos_that_is_also_eos_may_stand_between_turns(tokenizer: Any) -> None:
    tokenizer.bos_token = "<eos>"
    assert Renderer(tokenizer, False).prompt_ids(CHAT).count(1) == 1
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    assert Renderer(tokenizer, False).prompt_ids(CHAT).count(1) == 2


def test_a_prompt_that_brings_its_bos_gets_no_second(tokenizer: Any) -> None:
    assert Renderer(tokenizer, False).prompt_ids("<bos>why ?").count(2) == 1


def test_a_bos_that_is_also_eos_is_not_put_before_text(tokenizer: Any) -> None:
    tokenizer.bos_token = "<eos>"
    assert 1 not in Renderer(tokenizer, False).prompt_ids("why ?")


def test_an_encoder_reads_eos_at_the_end_and_no_bos(tokenizer: Any) -> None:
    renderer = Renderer.of(tiny_encoder_decoder(tokenizer), tokenizer)
    ids = renderer.prompt_ids("why ?")
    assert ids[-1] == 1
    assert 2 not in ids
    assert renderer.max_positions is None


def test_a_prompt_longer_than_the_context_is_refused_with_both_lengths(tokenizer: Any) -> None:
    renderer = Renderer.of(tiny_causal(tokenizer, max_positions=16), tokenizer)
    tokens = len(renderer.without_limit().prompt_ids("x" * 30))
    with pytest.raises(DataError, match=rf"{tokens} tokens.*context is 16"):
        renderer.prompt_ids("x" * 30)
    with pytest.raises(DataError, match="10 are to follow"):
        renderer.prompt_ids("x" * 8, room=10)


def test_a_chat_prompt_must_end_with_the_user(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="turn of the user"):
        Renderer(tokenizer, False).prompt_ids(CHAT[:3])


def test_fingerprint_tells_renderers_apart(tokenizer: Any) -> None:
    same = Renderer(tiny_tokenizer(), False).fingerprint
    assert Renderer(tokenizer, False).fingerprint == same
    assert Renderer(tokenizer, True).fingerprint != same
    assert Renderer(tiny_tokenizer(vocab_size=290), False).fingerprint != same
    tokenizer.chat_template = CHATML
    assert Renderer(tokenizer, False).fingerprint != same


def test_plain_text_names_the_speakers() -> None:
    assert plain_text(CHAT[:3]) == "Be kind.\n\nHuman: hot ?\n\nAssistant: drink water"
