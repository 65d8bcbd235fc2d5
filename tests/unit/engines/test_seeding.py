from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from heedful.engines.seeding import device_class, generator, num_threads, pin
from heedful.errors import ConfigError


def test_a_stream_depends_on_its_names_and_on_nothing_else() -> None:
    torch.manual_seed(5)
    first = torch.rand(4, generator=generator(1, "align", 3, "order"))
    torch.rand(9)
    assert torch.equal(first, torch.rand(4, generator=generator(1, "align", 3, "order")))
    assert not torch.equal(first, torch.rand(4, generator=generator(1, "align", 4, "order")))


def test_threads_are_what_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEED_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert num_threads() == 3
    monkeypatch.setenv("HEED_THREADS", "2")
    assert num_threads() == 2
    for wrong in ("0", "two", "-1", ""):
        monkeypatch.setenv("HEED_THREADS", wrong)
        with pytest.raises(ConfigError, match="a whole number above 0 was expected"):
            num_threads()
    monkeypatch.delenv("HEED_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert num_threads() >= 1


def test_pinning_takes_the_threads_and_only_deterministic_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        pin(3)
        assert torch.get_num_threads() == 3
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_the_device_class_needs_no_torch() -> None:
    code = "import sys; from heedful.engines.seeding import device_class; device_class(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_device_class_is_what_torch_says() -> None:
    assert device_class() == ("cuda" if torch.cuda.is_available() else "cpu")
