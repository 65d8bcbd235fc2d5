"""Weights from files: every tensor that the model needs is there and of its shape, or the folder is refused by name.

`transformers` draws what a file lacks at random and goes on, with a report of many lines. A model half of which is random
is not the one that was asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from heedful.errors import ModelError
from heedful.models.placement import place

REFUSED = (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError, SafetensorError)
"""What other libraries raise where a folder does not hold what it should."""


def load_weights(
    family: Any, source: str | Path, *, allow_pickle: bool = False, spare: tuple[str, ...] = (), **options: Any
) -> Any:
    """Return the model of a folder or hub name where models belong, every weight of it read from its file.

    Args:
        family: an `AutoModel...` of transformers.
        source: the folder or hub name.
        allow_pickle: also read pickled weights.
        spare: what the names of weights that nothing uses begin with; they may be missing.
        options: go to `from_pretrained`.

    Raises:
        ModelError: the weights cannot be read, or are not those of the model; names the first that does not fit.
    """
    with one_line(source, "the weights could not be loaded"), _quiet():
        model, report = family.from_pretrained(
            str(source),
            use_safetensors=None if allow_pickle else True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
            **options,
        )
    problem = _misfit(model, report, spare)
    if problem is not None:
        fix = "save configuration and weights together, with model.save_pretrained"
        raise ModelError(f"{source}: its weights are not those of a {type(model).__name__}: {problem}; {fix}")
    return place(model)


@contextlib.contextmanager
def one_line(source: str | Path, problem: str) -> Iterator[None]:
    """Turn what transformers and its like raise inside the block into a ModelError of one line."""
    try:
        yield
    except REFUSED as error:
        # a mistyped folder looks like a hub name
        taken = "" if Path(source).expanduser().exists() else "no such folder, so it was taken for a hub name; "
        raise ModelError(f"{source}: {taken}{problem} ({_said(error)})") from error


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    # a first line that opens a list says nothing yet; what to do about it comes last
    said = lines[-1] if lines[0].endswith(":") else lines[0]
    return f"{said}; the file is cut off or damaged" if isinstance(error, SafetensorError) else said


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _misfit(model: Any, report: Mapping[str, Any], spare: tuple[str, ...]) -> str | None:
    """Return the first thing that keeps the weights from being the model's; None where they are."""
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(spare))
    found = sorted(report["unexpected_keys"])
    odd = [name for name in found if _belongs(name, model)]
    if missing:
        instead = f", and there is {found[0]}" if found else ""
        return f"{missing[0]} is missing{_more(missing)}{instead}"
    for name, shape, expected in sorted(report["mismatched_keys"], key=str):
        return f"{name} has the shape {tuple(shape)}, {tuple(expected)} was expected"
    return f"there is {odd[0]}{_more(odd)}, which it has no place for" if odd else None


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _belongs(name: str, model: Any) -> bool:
    """Return whether a weight without a place is one of the model's own parts, and not a head that was left behind.

    What lies beside the layers of a module that is there is a buffer of an older release, such as a causal mask.
    """
    inner = name.removeprefix(f"{model.base_model_prefix}.")
    for root in (model.base_model, model):
        modules = dict(root.named_modules())
        first, parent = inner.partition(".")[0], modules.get(inner.rpartition(".")[0])
        if first in dict(root.named_children()):
            return parent is None or not list(parent.children())
    return False
