"""Where models run: what `HEED_DEVICE` may say, and what is said when it is wrong."""

from pathlib import Path

import pytest

from heedful.errors import ConfigError
from heedful.models import placement


@pytest.mark.parametrize(
    ("given", "gpus", "name"),
    [(None, 0, "cpu"), (None, 2, "cuda:0"), ("cpu", 2, "cpu"), ("cuda", 1, "cuda:0"), ("cuda:1", 2, "cuda:1")],
)
def test_the_device_by_variable_and_gpus(
    monkeypatch: pytest.MonkeyPatch, given: str | None, gpus: int, name: str
) -> None:
    monkeypatch.delenv("HEED_DEVICE", raising=False)
    if given is not None:
        monkeypatch.setenv("HEED_DEVICE", given)
    monkeypatch.setattr(placement, "num_gpus", lambda: gpus)
    assert placement.device_name() == name
    assert str(placement.device()) == name


@pytest.mark.parametrize("given", ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "mps"])
def test_what_is_no_device_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HEED_DEVICE", given)
    with pytest.raises(ConfigError, match="cpu, cuda or cuda:N was expected"):
        placement.device_name()


@pytest.mark.parametrize(
    ("given", "gpus", "said"),
    [("cuda", 0, "torch can use no GPU here"), ("cuda:2", 2, "the last GPU here is cuda:1")],
)
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, given: str, gpus: int, said: str) -> None:
    monkeypatch.setenv("HEED_DEVICE", given)
    monkeypatch.setattr(placement, "num_gpus", lambda: gpus)
    with pytest.raises(ConfigError, match=said):
        placement.device_name()


def test_a_linux_without_a_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(placement, "DRIVERS", (str(tmp_path / "absent"),))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert placement.num_gpus() == 0
    monkeypatch.setattr(placement, "DRIVERS", (str(tmp_path / "absent"), str(tmp_path)))
    assert placement.num_gpus() == 3
