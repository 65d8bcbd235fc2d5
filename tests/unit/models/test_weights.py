"""Weights: what a file lacks is never made up, a head that is not used may stay behind, and a damaged file is one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from heedful.errors import ModelError
from heedful.models.adapters import add_lora, load_adapter, save_adapter
from heedful.models.backbones import Reading, load_backbone
from heedful.models.heads import ScalarHead
from heedful.models.loading import load_language_model, load_tokenizer
from heedful.models.sequence_classifier import load_sequence_classifier
from heedful.testing.tiny import (
    save_model,
    tiny_causal,
    tiny_encoder,
    tiny_encoder_decoder,
    tiny_sequence_classifier,
    tiny_tokenizer,
)

FILE = "model.safetensors"
UP = "layers.0.mlp.up_proj"
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def tokenizer() -> Any:
    return tiny_tokenizer()


def folder_of(place: Path, make: Callable[..., Any], tokenizer: Any, change: Callable[[Tensors], object]) -> Path:
    """A model folder whose weights were changed after they were saved."""
    folder = save_model(place, make(tokenizer), tokenizer)
    tensors = load_file(str(folder / FILE))
    change(tensors)
    save_file(tensors, str(folder / FILE), metadata={"format": "pt"})
    return folder


def refusal(caplog: pytest.LogCaptureFixture, load: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load(*arguments)
    assert "LOAD REPORT" not in caplog.text
    assert "\n" not in str(caught.value)
    return str(caught.value)


Change = Callable[[Tensors], object]
CHANGES: list[tuple[Change, str]] = [
    (lambda t: t.pop(f"model.{UP}.weight"), f"{UP}.weight is missing;"),
    (lambda t: [t.pop(name) for name in list(t) if "up_proj" in name], f"{UP}.weight is missing (and 1 more);"),
    (
        lambda t: t.update({f"model.{UP}.weight": torch.zeros(3, 4)}),
        f"{UP}.weight has the shape (3, 4), (64, 32) was expected;",
    ),
    (lambda t: t.update({f"model.{UP}.bias": torch.zeros(64)}), f"there is model.{UP}.bias, which it has no place"),
    (lambda t: t.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(64, 32)}), "there is model.layers.2.mlp"),
]


@pytest.mark.parametrize("headless", [False, True])
@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_weights_that_are_not_the_models(
    tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture, change: Change, message: str, headless: bool
) -> None:
    folder = folder_of(tmp_path / "m", tiny_causal, tokenizer, change)
    loads = [load_language_model] if not headless else [lambda place: load_backbone(place, Reading())]
    if headless:  # a body alone, as a reward artifact keeps it
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace("LlamaForCausalLM", "LlamaModel"))
    said = refusal(caplog, loads[0], folder)
    assert said.startswith(f"{folder}: its weights are not those of a Llama")
    assert message in said


def test_an_encoders_weights_beside_a_decoders_configuration(
    tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(tmp_path / "m", tiny_causal(tokenizer), tokenizer)
    other = save_model(tmp_path / "bert", tiny_encoder(tokenizer), tokenizer)
    shutil.copy(other / FILE, folder / FILE)
    said = refusal(caplog, load_language_model, folder)
    assert "a LlamaForCausalLM: lm_head.weight is missing (and 20 more), and there is embeddings.LayerNorm.bias" in said


def test_what_an_encoder_or_a_classifier_lacks(
    tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = "encoder.layer.1.output.dense.bias"
    folder = folder_of(tmp_path / "bert", tiny_encoder, tokenizer, lambda tensors: tensors.pop(name))
    assert f"a BertModel: {name} is missing" in refusal(caplog, load_backbone, folder, Reading())
    head = folder_of(tmp_path / "c", tiny_sequence_classifier, tokenizer, lambda tensors: tensors.pop(f"bert.{name}"))
    assert f"{name} is missing" in refusal(caplog, load_sequence_classifier, head, "hate")
    with pytest.raises(ModelError, match=r"pooler\.dense\.bias is missing"):  # a classifier's head reads it
        load_sequence_classifier(
            folder_of(tmp_path / "p", tiny_sequence_classifier, tokenizer, lambda t: t.pop("bert.pooler.dense.bias")),
            "hate",
        )


def masked(tokenizer: Any) -> Any:
    config: BertConfig = tiny_encoder(tokenizer).config
    return BertForMaskedLM(config)


def tied(tokenizer: Any) -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2))


def test_heads_and_poolers_that_a_backbone_does_without(
    tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for name, make in (("masked", masked), ("classifier", tiny_sequence_classifier)):
        model = make(tokenizer)
        loaded = load_backbone(save_model(tmp_path / name, model, tokenizer), Reading())
        assert "LOAD REPORT" not in caplog.text
        ours = dict(loaded.model.named_parameters())
        kept = {key: value for key, value in model.bert.named_parameters() if "pooler" not in key}
        assert len(kept) > 30
        assert all(torch.equal(ours[key], value) for key, value in kept.items())


def with_mask(tensors: Tensors) -> None:
    tensors["transformer.h.0.attn.mask"] = torch.ones(1, 1, 8, 8)


def test_tied_heads_and_old_buffers_are_no_difference(tmp_path: Path, tokenizer: Any) -> None:
    model = tied(tokenizer)
    folder = save_model(tmp_path / "tied", model, tokenizer)
    assert "lm_head.weight" not in load_file(str(folder / FILE))
    loaded = load_language_model(folder)
    assert torch.equal(loaded.get_output_embeddings().weight, model.transformer.wte.weight)
    again = folder_of(tmp_path / "mask", tied, tokenizer, with_mask)
    assert load_language_model(again) is not None
    assert load_language_model(save_model(tmp_path / "t5", tiny_encoder_decoder(tokenizer), tokenizer)) is not None


def test_transformers_reports_again_afterwards(
    tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(tmp_path / "bert", tiny_encoder(tokenizer), tokenizer)
    load_backbone(folder, Reading())
    assert "LOAD REPORT" not in caplog.text
    AutoModelForSequenceClassification.from_pretrained(folder)
    assert "LOAD REPORT" in caplog.text


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_files_that_were_cut_off(tmp_path: Path, tokenizer: Any) -> None:
    folder = save_model(tmp_path / "m", tiny_causal(tokenizer), tokenizer)
    save_adapter(add_lora(load_language_model(folder), r=2, alpha=4.0, targets="all-linear", seed=0), tmp_path / "a")
    ScalarHead(8).save(tmp_path / "head.safetensors")
    base = load_language_model(folder)
    for path in (folder / FILE, tmp_path / "a" / "adapter_model.safetensors", tmp_path / "head.safetensors"):
        cut(path)
    loads: list[tuple[Callable[[], object], Path]] = [
        (lambda: load_language_model(folder), folder),
        (lambda: load_adapter(base, tmp_path / "a"), tmp_path / "a"),
        (lambda: ScalarHead.load(tmp_path / "head.safetensors"), tmp_path / "head.safetensors"),
    ]
    for load, place in loads:
        with pytest.raises(ModelError, match="the file is cut off or damaged") as caught:
            load()
        assert str(caught.value).startswith(f"{place}: ")
        assert "\n" not in str(caught.value)


def test_an_adapter_that_is_not_whole(tmp_path: Path, tokenizer: Any) -> None:
    folder = save_model(tmp_path / "m", tiny_causal(tokenizer), tokenizer)
    save_adapter(add_lora(load_language_model(folder), r=2, alpha=4.0, targets="all-linear", seed=0), tmp_path / "a")
    path = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(str(path))
    assert load_adapter(load_adapter(load_language_model(folder), tmp_path / "a"), tmp_path / "a", name="b") is not None
    gone = next(name for name in sorted(tensors) if "up_proj.lora_B" in name)
    del tensors[gone]
    save_file(tensors, str(path))
    with pytest.raises(ModelError, match=rf"^{tmp_path}/a: not a whole adapter for this model: {gone} is missing"):
        load_adapter(load_language_model(folder), tmp_path / "a")


def test_a_tokenizer_is_never_made_up(tmp_path: Path, tokenizer: Any) -> None:
    """Of a BERT without vocabulary transformers makes a tokenizer of five special tokens."""
    folder = save_model(tmp_path / "bert", tiny_encoder(tokenizer), tokenizer)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"bert: no tokenizer, such as tokenizer\.json; save"):
        load_tokenizer(folder)
    with pytest.raises(ModelError, match="no tokenizer"):
        load_backbone(folder, Reading())


def test_a_tokenizer_that_needs_another_library_says_which(tmp_path: Path, tokenizer: Any) -> None:
    folder = save_model(tmp_path / "m", tiny_causal(tokenizer), tokenizer)
    (folder / "tokenizer.json").rename(folder / "vocab.unused")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="no tokenizer could be read") as caught:
        load_tokenizer(folder)
    assert "one of:" not in str(caught.value)
    assert "sentencepiece" in str(caught.value)
