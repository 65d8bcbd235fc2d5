from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heedful.apps import doctor
from heedful.engines.seeding import device_class, generator, num_threads, pin
from heedful.errors import ConfigError
from heedful.models import placement
from heedful.testing.policies import byte_causal, byte_policy


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


def test_the_device_class_is_where_models_run_also_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEED_DEVICE", raising=False)
    monkeypatch.setattr(placement, "num_gpus", lambda: 2)
    assert device_class() == "cuda"
    assert placement.device_name() == "cuda:0"
    monkeypatch.setenv("HEED_DEVICE", "cpu")
    assert device_class() == "cpu"
    model = byte_causal(0)
    assert placement.place(model) is model
    assert byte_policy(model).device.type == "cpu"


def test_the_doctor_says_where_models_run_and_why_a_gpu_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEED_DEVICE", raising=False)
    seen: list[str] = []
    monkeypatch.setattr(doctor, "gpus", lambda: seen)
    monkeypatch.setattr(placement, "num_gpus", lambda: 0)
    assert doctor.device() == doctor.Finding("device", "cpu")
    seen.append("H100")
    assert "this build of torch cannot use it" in doctor.device().problem
    monkeypatch.setattr(placement, "num_gpus", lambda: 1)
    assert doctor.device() == doctor.Finding("device", "cuda:0 (GPU found: H100)")
    monkeypatch.setenv("HEED_DEVICE", "cpu")
    assert "HEED_DEVICE says so" in doctor.device().problem
    monkeypatch.setenv("HEED_DEVICE", "cuda:1")
    wrong = doctor.device()
    assert wrong.fatal
    assert "the last GPU here is cuda:0" in wrong.problem


def test_the_doctor_sees_a_driver_without_a_torch_that_can_use_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "absent")
    assert doctor.gpus() == []
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)
    assert doctor.gpus() == ["NVIDIA, 1 of them"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"card {place}")
    assert doctor.gpus() == ["card 0", "card 1"]
