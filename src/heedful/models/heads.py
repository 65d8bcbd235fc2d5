"""Scalar heads: one number from a hidden state. Small, named, saved beside the model and read back exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import Parameter

from heedful.errors import ModelError
from heedful.models.weights import one_line


class ScalarHead(nn.Module):
    """A linear layer from width D to one number, always fp32.

    Args:
        width: D.
        seed: the weights are drawn from N(0, 1 / sqrt(D + 1)) as standard deviation; bias 0.
        zero: start from 0 instead, as a value head does, which knows nothing at first (the seed is then unused).

    Source: Stiennon et al. 2020 (reward head); Huang et al. 2024, detail on value-head initialisation.
    """

    def __init__(self, width: int, *, seed: int = 0, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(()))
        if not zero:
            generator = torch.Generator().manual_seed(seed)
            self.weight.data = torch.randn(width, generator=generator) / (width + 1) ** 0.5

    def forward(self, hidden: Tensor) -> Tensor:
        """Return [..] numbers for hidden states [.., D]."""
        return hidden.float() @ self.weight + self.bias

    def save(self, path: Path) -> None:
        """Write weight and bias as safetensors."""
        save_file({name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}, str(path))

    @classmethod
    def load(cls, path: Path) -> ScalarHead:
        """Read a saved head; ModelError when the file is missing or is not a head, never a fresh one by accident."""
        if not path.is_file():
            raise ModelError(f"{path}: the scalar head is missing; the model cannot score without it, train it again")
        with one_line(path, "the scalar head could not be read"):
            state = load_file(str(path))
        if set(state) != {"weight", "bias"} or state["weight"].dim() != 1:
            raise ModelError(f"{path}: expected the tensors 'weight' [D] and 'bias', found {sorted(state)}")
        head = cls(len(state["weight"]), zero=True)
        head.load_state_dict(state)
        return head


def log_odds(logits: Tensor) -> Tensor:
    """Return the log odds [N, M] of the wanted class for the numbers [N, 2 M] of wanted and unwanted heads, member after member."""
    return logits[:, 0::2] - logits[:, 1::2]


def mean_head(heads: Sequence[ScalarHead]) -> ScalarHead:
    """Return a head whose weights are the mean of these."""
    mean = ScalarHead(len(heads[0].weight), zero=True)
    with torch.no_grad():
        for name, parameter in mean.named_parameters():
            parameter.copy_(torch.stack([dict(one.named_parameters())[name] for one in heads]).mean(0))
    return mean


def trainable_parameters(model: nn.Module, heads: Sequence[ScalarHead]) -> Iterator[tuple[str, Parameter]]:
    """Yield the named parameters that may be trained: of a backbone those with gradients, of its heads all."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield f"backbone.{name}", parameter
    for number, head in enumerate(heads):
        for name, parameter in head.named_parameters():
            yield f"head.{number}.{name}", parameter
