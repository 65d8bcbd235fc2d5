"""A stand-in for a GPU that keeps values: its tensors compute on the CPU, call themselves cuda:0, and refuse what a GPU refuses.

A tensor of it may meet CPU tensors only where torch lets a GPU's: as a single number, as row numbers (`x[index]`), as the source
or target of a copy. What meets otherwise raises `MixedDevicesError`. Values are the CPU's own, so a whole computation can run on it
and be compared bit by bit with the CPU's. It knows nothing of kernels, memory or speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from heedful.models import placement

DEVICE = torch.device("cuda:0")
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
"""Take row numbers from the CPU too."""
COPIED = {"copy_", "_to_copy"}


class MixedDevicesError(RuntimeError):
    """Tensors of two devices met."""


class FarTensor(Tensor):
    """A tensor of the stand-in; `near` holds its values."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, near.stride(), near.storage_offset(), dtype=near.dtype, requires_grad=False
        )
        made.near = near
        return made  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """What our code sees."""
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """What our code sees."""
        return True

    def __repr__(self) -> str:  # type: ignore[override]
        return f"FarTensor({self.near})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        _check(name, args, kwargs)
        if name == "_to_copy" and kwargs.get("device") is not None:
            kwargs["device"] = "cpu"
        found = func(*tree_map(_near, args), **tree_map(_near, kwargs))
        given = {id(each.near): each for each in tree_flatten((args, kwargs))[0] if isinstance(each, FarTensor)}

        def far(each: Any) -> Any:
            if not isinstance(each, Tensor):
                return each
            return given[id(each)] if id(each) in given else FarTensor(each)

        return tree_map(far, found)


def _near(each: Any) -> Any:
    if isinstance(each, FarTensor):
        return each.near
    return torch.device("cpu") if isinstance(each, torch.device) else each


def _check(name: str, args: Any, kwargs: Any) -> None:
    looked_at = args[0] if name in INDEXED else (args, kwargs)
    if name in INDEXED and len(args) > 2:
        looked_at = (args[0], args[2])
    tensors = [each for each in tree_flatten(looked_at)[0] if isinstance(each, Tensor)]
    here = [each for each in tensors if not isinstance(each, FarTensor)]
    if name not in COPIED and any(each.dim() for each in here):
        shapes = [(type(each).__name__, tuple(each.shape)) for each in tensors]
        raise MixedDevicesError(f"{name} got tensors of two devices: {shapes}")


class Accelerated(TorchFunctionMode):
    """What is made on cuda:0, or brought there, becomes a `FarTensor`; CPU tensors are not indexed by far ones."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return func(*args, **kwargs)
        if name in ("to", "cpu", "cuda") and isinstance(args[0], Tensor):
            return _moved(func, name, args, kwargs)
        indexed_here = name in ("__getitem__", "__setitem__") and not isinstance(args[0], FarTensor)
        if indexed_here and any(isinstance(each, FarTensor) and each.dim() for each in tree_flatten(args[1:])[0]):
            raise MixedDevicesError("a CPU tensor met one of the accelerator in an index")
        if name == "tolist" and isinstance(args[0], FarTensor):
            return args[0].near.tolist()
        if _is_far(kwargs.get("device")):
            made = func(*args, **kwargs | {"device": "cpu"})
            return FarTensor(made) if isinstance(made, Tensor) and not isinstance(made, FarTensor) else made
        return func(*args, **kwargs)


def _is_far(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class _Bring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return FarTensor(tensor.detach().clone())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope.near if isinstance(slope, FarTensor) else slope


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        assert isinstance(tensor, FarTensor)
        return tensor.near.detach().clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope if isinstance(slope, FarTensor) else FarTensor(slope)


def _moved(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    tensor, rest = args[0], list(args[1:])
    wanted: Any = {"cpu": "cpu", "cuda": "cuda:0"}.get(name)
    for place, each in enumerate(rest):
        if isinstance(each, str | torch.device):
            wanted = rest.pop(place)
            break
        if isinstance(each, Tensor):
            wanted, rest[place] = each.device, each.dtype
            break
    wanted = kwargs.pop("device", wanted)
    if wanted is not None:
        if _is_far(wanted) and not isinstance(tensor, FarTensor):
            tensor = _Bring.apply(tensor)
        elif not _is_far(wanted) and isinstance(tensor, FarTensor):
            tensor = _Fetch.apply(tensor)
    rest = [each for each in rest if each is not None and not isinstance(each, bool)]  # a bool says not to wait
    kwargs.pop("non_blocking", None)
    return tensor.to(*rest, **kwargs) if rest or kwargs else tensor


def brought(module: nn.Module) -> nn.Module:
    """Return the module with all parameters and buffers on the accelerator; what is shared stays shared."""
    seen: dict[int, Any] = {}
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, tensor in store.items():
                if tensor is None or isinstance(tensor, FarTensor):
                    continue
                if id(tensor) not in seen:
                    far: Any = FarTensor(tensor.detach().clone())
                    seen[id(tensor)] = nn.Parameter(far, tensor.requires_grad) if store is part._parameters else far
                store[name] = seen[id(tensor)]
    return module


@contextmanager
def accelerator() -> Iterator[None]:
    """Let a GPU be there inside the block, and models belong on it."""
    plain = nn.Module.to

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        # torch would replace each parameter by itself, since a far one has another type, and so untie what is tied
        return brought(module) if args[:1] == (DEVICE,) else plain(module, *args, **kwargs)

    with Accelerated(), patch.object(nn.Module, "to", to), patch.object(placement, "num_gpus", lambda: 1):
        yield
