"""Loading: what cannot be used is refused in one line, stop ids are a union, the pad token is never EOS."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from heedful.errors import ModelError
from heedful.models.folders import folder_digest, resolve_source, source_digest
from heedful.models.loading import context_length, load_language_model, load_tokenizer, stop_ids
from heedful.testing.policies import byte_tokenizer
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_encoder_decoder, tiny_tokenizer
from tests.families import t5gemma


@pytest.fixture
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Any) -> Path:
    return save_model(tmp_path / "causal", tiny_causal(tokenizer), tokenizer)


@pytest.mark.parametrize("make", [tiny_causal, tiny_encoder_decoder])
def test_weights_come_back_bit_for_bit(tmp_path: Path, tokenizer: Any, make: Any) -> None:
    model = make(tokenizer, seed=3)
    loaded = load_language_model(save_model(tmp_path / "model", model, tokenizer))
    assert not loaded.training
    for (name, ours), (_, theirs) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent.*no such model folder"):
        load_language_model(tmp_path / "absent")


def test_a_mistyped_folder_is_said_to_have_been_taken_for_a_hub_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"^modles/base: no such folder, so it was taken for a hub name"):
        load_language_model("modles/base")


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_language_model(tmp_path)


def test_a_folder_without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="no tokenizer") as caught:
        load_language_model(folder)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused_unless_asked_for_by_name(folder: Path, tokenizer: Any) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tiny_causal(tokenizer, seed=5).state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="only pickled weights"):
        load_language_model(folder)
    asked = load_language_model(folder, allow_pickle=True)
    assert torch.equal(
        asked.get_input_embeddings().weight, tiny_causal(tokenizer, seed=5).get_input_embeddings().weight
    )


def test_weights_that_are_missing_altogether(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load_language_model(folder)


def test_an_encoder_is_no_policy(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="BertModel does not write text"):
        load_language_model(save_model(tmp_path / "bert", tiny_encoder(tokenizer), tokenizer))


def test_a_damaged_config_is_one_line(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError) as caught:
        load_language_model(folder)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_whose_pad_is_eos_gets_a_pad_of_its_own_and_the_model_a_row(folder: Path, tokenizer: Any) -> None:
    tokenizer.pad_token = "<eos>"
    tokenizer.save_pretrained(str(folder))
    loaded = load_tokenizer(folder)
    assert loaded.pad_token_id not in (loaded.eos_token_id, None)
    assert load_language_model(folder).config.pad_token_id == loaded.pad_token_id


def test_a_pad_token_beyond_the_embeddings_gets_the_mean_row(folder: Path, tokenizer: Any) -> None:
    old = AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight.detach()
    tokenizer.add_special_tokens({"pad_token": "<new pad>"})
    tokenizer.save_pretrained(str(folder))
    new = load_language_model(folder).get_input_embeddings().weight
    assert len(new) == len(old) + 1
    assert torch.equal(new[:-1], old)
    assert torch.equal(new[-1], old.mean(0))


def test_a_free_row_is_used_before_embeddings_grow(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny_causal(tokenizer)
    model.resize_token_embeddings(len(tokenizer) + 8)
    tokenizer.add_special_tokens({"pad_token": "<new pad>"})
    loaded = load_language_model(save_model(tmp_path / "roomy", model, tokenizer))
    assert len(loaded.get_input_embeddings().weight) == len(tokenizer) - 1 + 8


def test_stop_ids_are_the_union_of_all_who_name_one(tokenizer: Any) -> None:
    model = tiny_causal(tokenizer)
    tokenizer.add_tokens(["<|im_end|>", "<|eot_id|>"], special_tokens=True)
    names = tokenizer.get_vocab()
    assert stop_ids(model, tokenizer) == {1}
    model.generation_config.eos_token_id = [7, 8]
    model.config.eos_token_id = 9
    tokenizer.chat_template = "{{ messages }}<|im_end|>"
    assert stop_ids(model, tokenizer) == {1, 7, 8, 9, names["<|im_end|>"]}


def test_context_is_known_for_absolute_positions_only(tokenizer: Any) -> None:
    assert context_length(tiny_causal(tokenizer, max_positions=77)) == 77
    assert context_length(tiny_encoder_decoder(tokenizer)) is None


@pytest.mark.parametrize(("written", "expected"), [(None, 2), (0, 0)])
def test_the_decoders_start_is_found_where_a_family_keeps_it(
    tmp_path: Path, written: int | None, expected: int
) -> None:
    model = t5gemma()
    del model.config.decoder_start_token_id
    model.generation_config.decoder_start_token_id = written
    loaded = load_language_model(save_model(tmp_path / "t5gemma", model, byte_tokenizer()))
    assert loaded.config.decoder_start_token_id == expected


def test_the_digest_sees_weights_and_tokenizer_but_not_the_folders_name(folder: Path, tokenizer: Any) -> None:
    before = folder_digest(folder)
    copy = shutil.copytree(folder, folder.with_name("copy"))
    assert folder_digest(copy) == before
    tiny_causal(tokenizer, seed=9).save_pretrained(str(copy))
    assert folder_digest(copy) != before
    (folder / "notes.md").write_text("not part of the model")
    assert folder_digest(folder) == before


def test_the_digest_sees_pickles_where_they_are_the_weights(folder: Path, tokenizer: Any) -> None:
    before = folder_digest(folder)
    torch.save({}, folder / "training_args.bin")
    assert folder_digest(folder) == before
    (folder / "model.safetensors").unlink()
    digests = set()
    for seed in (1, 2):
        torch.save(tiny_causal(tokenizer, seed=seed).state_dict(), folder / "pytorch_model.bin")
        digests.add(folder_digest(folder))
    assert len(digests) == 2


def test_sources_are_seen_from_the_recipes_folder(folder: Path) -> None:
    assert resolve_source("causal", folder.parent) == str(folder.resolve())
    assert resolve_source("org/name", folder.parent) == "org/name"
    assert source_digest("org/name", revision="v1") == "hub:org/name@v1"
    with pytest.raises(ModelError, match="no such model folder"):
        resolve_source("./absent", folder.parent)
