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
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "2.10.0")
    monkeypatch.setattr("pathlib.Path.is_dir", lambda _path: True)  # a driver, and a build of torch that can use it
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_class() == "cpu" == byte_policy(byte_causal(0)).device.type


@pytest.mark.parametrize("found", [True, False])
def test_the_doctor_says_that_a_gpu_is_not_used_yet(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    monkeypatch.setattr(doctor, "gpus", lambda: ["H100"] if found else [])
    device = doctor.device()
    assert device.found == ("cpu (GPU found: H100)" if found else "cpu")
    assert bool(device.problem) is found
    assert not found or "not used yet" in device.problem
    assert not device.fatal


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
