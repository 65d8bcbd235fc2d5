"""Models and tokenizers from a folder or the hub: safetensors only, no foreign code, unless asked for by name.

`transformers` does the loading. What is ours: one line for a person when something does not fit, a pad token that is
not the EOS token, and the set of tokens that end a completion.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)
from transformers.utils import logging as transformers_logging

from heedful.errors import ModelError
from heedful.models.folders import checked_folder, refuse_pickle, require_tokenizer
from heedful.models.quantizing import Quantization, check_blocks, quantized
from heedful.models.weights import load_weights, one_line

transformers_logging.disable_progress_bar()  # bars on the terminal are ours to draw

Kind = Literal["causal", "encoder_decoder", "encoder"]

END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|end_of_text|>", "<|endoftext|>")
PAD_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>")


def load_tokenizer(
    source: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a folder or hub name, padding on the left, with a pad token that is not its EOS token.

    Raises:
        ModelError: the folder is missing or holds no tokenizer, or the tokenizer has no EOS token.
    """
    if not trust_remote_code:  # foreign code may keep its vocabulary elsewhere
        require_tokenizer(checked_folder(source))
    with one_line(source, "no tokenizer could be read; save one there with tokenizer.save_pretrained"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(source), revision=revision, trust_remote_code=trust_remote_code, padding_side="left"
        )
    if tokenizer.eos_token_id is None and tokenizer.sep_token_id is None:
        raise ModelError(f"{source}: the tokenizer has no EOS token; set eos_token in its tokenizer_config.json")
    _ensure_pad(tokenizer)
    return cast(PreTrainedTokenizerFast, tokenizer)


def load_language_model(
    source: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    quantization: Quantization = "none",
) -> PreTrainedModel:
    """Return the causal or encoder-decoder language model of a folder or hub name, in eval mode.

    Embeddings get a row for the pad token where the tokenizer had none and no row is free. A folder that holds an
    adapter is opened by `opening.open_model`.

    Raises:
        ConfigError: `quantization` needs a library that is not installed.
        ModelError: a missing folder, no config, no tokenizer, only pickled weights, weights of another model or not all of
            them, or not a language model.
    """
    folder = checked_folder(source)
    options: Any = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = load_config(source, **options)
    family = _family(source, config)
    if not allow_pickle:
        refuse_pickle(folder)
    tokenizer = load_tokenizer(source, **options)
    options |= quantized(quantization, dtype)
    model = load_weights(family, source, allow_pickle=allow_pickle, config=config, dtype=dtype, **options)
    check_blocks(model, source)
    fit_tokenizer(model, tokenizer)
    _fit_start(model)
    return cast(PreTrainedModel, model.eval())


def load_config(source: str | Path, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """Return the model configuration of a folder or hub name; ModelError when there is none."""
    folder = checked_folder(source)
    if folder is not None and not (folder / "config.json").is_file():
        raise ModelError(f"{source}: no config.json; expected a folder saved with model.save_pretrained")
    with one_line(source, "its config.json could not be read"):
        return AutoConfig.from_pretrained(str(source), revision=revision, trust_remote_code=trust_remote_code)


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token id that ends a completion.

    The union of the generation config's EOS ids (one or a list), the config's, the tokenizer's, and the end-of-turn
    tokens that the chat template writes.
    """
    found: set[int] = set()
    for owner in (getattr(model, "generation_config", None), model.config, tokenizer):
        ids = getattr(owner, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    template = tokenizer.chat_template
    templates = " ".join(template.values()) if isinstance(template, dict) else template or ""
    vocabulary = tokenizer.get_vocab()
    found.update(vocabulary[name] for name in END_OF_TURN if name in templates and name in vocabulary)
    return frozenset(found)


def context_length(model: Any) -> int | None:
    """Return how many positions the model has, or None where positions are relative (T5)."""
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        length = getattr(model.config, name, None)
        if isinstance(length, int) and not hasattr(model.config, "relative_attention_num_buckets"):
            return length
    return None


def fit_tokenizer(model: Any, tokenizer: Any) -> None:
    """Give the model the tokenizer's pad id, and where none is free an embedding row for it, the others' mean."""
    embedding: nn.Embedding = model.get_input_embeddings()
    old = embedding.weight.shape[0]
    if len(tokenizer) > old:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            for layer in {
                id(layer): layer for layer in (model.get_input_embeddings(), model.get_output_embeddings())
            }.values():
                if layer is not None:
                    layer.weight[old:] = layer.weight[:old].mean(0)
    model.config.pad_token_id = tokenizer.pad_token_id
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def _fit_start(model: Any) -> None:
    """Write the decoder's start token, which some families keep elsewhere (T5Gemma), where every reader looks for it."""
    config = model.config
    if not getattr(config, "is_encoder_decoder", False) or getattr(config, "decoder_start_token_id", None) is not None:
        return
    inner = config.get_text_config(decoder=True)
    written = getattr(model.generation_config, "decoder_start_token_id", None)
    config.decoder_start_token_id = inner.bos_token_id if written is None else written
    if config.decoder_start_token_id is None:
        raise ModelError(f"{type(model).__name__}: no decoder_start_token_id; set it in the folder's config.json")


def model_kind(config: Any) -> Kind:
    """Return what a configuration builds: a causal decoder, an encoder-decoder, or an encoder."""
    kind = type(config)
    if getattr(config, "is_encoder_decoder", False):
        return "encoder_decoder" if _known(kind, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, config) else "encoder"
    return "causal" if _known(kind, MODEL_FOR_CAUSAL_LM_MAPPING, config) and _is_decoder(config) else "encoder"


def _family(source: str | Path, config: Any) -> Any:
    match model_kind(config):
        case "causal":
            return AutoModelForCausalLM
        case "encoder_decoder":
            return AutoModelForSeq2SeqLM
    name = ", ".join(config.architectures or []) or config.model_type
    raise ModelError(f"{source}: {name} does not write text; expected a causal or an encoder-decoder language model")


def _known(kind: type, mapping: Any, config: Any) -> bool:
    return kind in mapping or hasattr(config, "auto_map")


def _is_decoder(config: Any) -> bool:
    # transformers also lists encoders such as BERT among the causal models, for those who turn them into decoders
    written = ("ForCausalLM", "LMHeadModel")
    says_so = any(name.endswith(written) for name in config.architectures or [])
    return (
        says_so
        or hasattr(config, "auto_map")
        or getattr(config, "is_decoder", False)
        or type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    )


def _ensure_pad(tokenizer: Any) -> None:
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    vocabulary = tokenizer.get_vocab()
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    free = next((name for name in PAD_NAMES if name in vocabulary and name not in taken), "<pad>")
    tokenizer.add_special_tokens({"pad_token": free})
