"""The one-layer GPT-2 and the word tokenizer that all TRL runs share, and how golden files are written."""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast

V = 24
EOS = V - 2
PAD = V - 1
PYTHON = {
    "trl112": "env112/bin/python",
    "trl116": "env116/bin/python",
    "trl0114": "PYTHONPATH=trl0114 env112/bin/python",
    "trl0101": "PYTHONPATH=trl0101 env112/bin/python",
}
"""What runs a script, by the first part of its name; README.md says how these environments are made."""


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {f"t{i}": i for i in range(V - 2)} | {"<eos>": EOS, "[PAD]": PAD}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="[PAD]", padding_side="left")


def config(**more) -> GPT2Config:
    return GPT2Config(
        vocab_size=V,
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=EOS,
        pad_token_id=PAD,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **more,
    )


def four_roles() -> dict[str, torch.nn.Module]:
    """Policy, reference (the policy with noise), reward model and value model, from fixed seeds."""
    torch.manual_seed(0)
    policy = GPT2LMHeadModel(config())
    torch.manual_seed(0)
    reference = GPT2LMHeadModel(config())
    torch.manual_seed(1)
    reward = GPT2ForSequenceClassification(config(num_labels=1))
    torch.manual_seed(2)
    value = GPT2ForSequenceClassification(config(num_labels=1))
    with torch.no_grad():
        for p in reference.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
        reward.score.weight.mul_(50)
        value.score.weight.mul_(20)
    return {"policy": policy, "reference": reference, "reward": reward, "value": value}


def plain(x):
    """Tensors to lists; nine digits keep every fp32 number exactly."""
    if isinstance(x, torch.Tensor):
        return plain(x.tolist())
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    return float(f"{x:.9g}") if isinstance(x, float) else x


def write_golden(folder: Path, name: str, *, desc: str, source: str, inputs: dict, expected: dict) -> None:
    script = Path(sys.argv[0]).name
    made_by = f"{PYTHON[script.split('_')[0]]} tests/oracle/make/{script} tests/golden"
    golden = {"desc": desc, "source": source, "made_by": made_by, "inputs": plain(inputs), "expected": plain(expected)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(golden, separators=(",", ":")) + "\n")
