"""What all tests share: shapes checked in every call of the numerics, one thread, golden numbers, and where the data is."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import settings

# An int is a float here, as it is for mypy.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook("heedful.numerics", CHECKER)
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for what tests start: beside other workers, waiting threads take 20 times as long
os.environ["HEED_DEVICE"] = "cpu"  # numbers and digests are compared with those of the CPU
settings.register_profile("same_every_time", derandomize=True, deadline=None)
settings.load_profile("same_every_time")

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def heed_data() -> Path:
    """The folder with the real data sets; skips where it is absent."""
    folder = Path(os.environ.get("HEED_DATA", ROOT.parent / "shared" / "data")).expanduser()
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set HEED_DATA")
    return folder


@pytest.fixture(scope="session")
def golden() -> Callable[[str], tuple[dict[str, Any], dict[str, Any]]]:
    """Read `(inputs, expected)` of a golden file; lists become tensors."""

    def read(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        content = json.loads((GOLDEN / name).read_text())
        return _tensors(content["inputs"]), _tensors(content["expected"])

    return read


@pytest.fixture
def without_shape_hook() -> Any:
    """Switch jaxtyping off, as in production, so that our own shape checks are the ones that speak."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _tensors(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _tensors(value) for name, value in x.items()}
    return torch.tensor(x) if isinstance(x, list) else x
