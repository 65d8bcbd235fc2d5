"""Checkpoints: whole or not at all, verified, older good ones as a fall-back, optimizer state bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from heedful.engines.checkpoints import Checkpointer, optimizer_tensors, restore_optimizer
from heedful.errors import CheckpointError


def saved(folder: Path, *steps: int, keep: int = 9) -> Checkpointer:
    checkpoints = Checkpointer(folder, keep=keep)
    for step in steps:
        checkpoints.save(step, {"weight": torch.full((3,), float(step))}, {"step": step, "third": 1 / 3})
    return checkpoints


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert Checkpointer(tmp_path / "absent").latest() is None


def test_what_was_saved_comes_back_exactly(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(4, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "view": torch.arange(6.0).reshape(2, 3).T,
        "count": torch.tensor(7),
    }
    tensors["tied"] = tensors["half"]
    Checkpointer(tmp_path).save(3, tensors, {"third": 1 / 3, "names": ["a"]})
    step, loaded, state = Checkpointer(tmp_path).latest() or (0, {}, {})
    assert step == 3
    assert state == {"third": 1 / 3, "names": ["a"]}
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 10, keep=2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step-10", "step-2"]


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_damaged_one_is_passed_over_for_an_older_good_one(tmp_path: Path, file: str) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    damage(tmp_path / "step-2" / file)
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 1


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_counts_as_damage_and_all_damaged_is_an_error(tmp_path: Path, file: str) -> None:
    checkpoints = saved(tmp_path, 1)
    (tmp_path / "step-1" / file).unlink()
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        checkpoints.latest()


def test_a_half_written_one_is_never_read_and_is_cleared_away(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    torn = tmp_path / "step-2.tmp"
    torn.mkdir()
    (torn / "tensors.safetensors").write_bytes(b"half")
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 1
    checkpoints.save(2, {}, {})
    assert not torn.exists()


def test_a_step_saved_again_replaces_the_first(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    checkpoints.save(1, {}, {"again": True})
    assert (checkpoints.latest() or (0, {}, {}))[2] == {"again": True}


def test_a_disk_that_lies_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = saved(tmp_path, 1)
    monkeypatch.setattr("heedful.engines.checkpoints._read", lambda _: None)
    with pytest.raises(CheckpointError, match="does not read back"):
        checkpoints.save(2, {}, {})
    assert (tmp_path / "step-1").is_dir(), "the older one must stay"


def model_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    decayed = {"params": [model[0].weight, model[2].weight], "weight_decay": 0.1}
    return model, torch.optim.AdamW([decayed, {"params": [model[0].bias, model[2].bias]}], lr=0.01)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def test_an_optimizer_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, whole_optimizer = model_and_optimizer()
    train(whole, whole_optimizer, range(6))
    first, first_optimizer = model_and_optimizer()
    train(first, first_optimizer, range(3))
    weights = {f"w.{name}": value for name, value in first.state_dict().items()}
    Checkpointer(tmp_path).save(3, weights | optimizer_tensors(first_optimizer), {})
    second, second_optimizer = model_and_optimizer()
    _, tensors, _ = Checkpointer(tmp_path).latest() or (0, {}, {})
    second.load_state_dict({name[2:]: value for name, value in tensors.items() if name.startswith("w.")})
    restore_optimizer(second_optimizer, tensors)
    train(second, second_optimizer, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_state_of_another_model_is_refused() -> None:
    model, optimizer = model_and_optimizer()
    train(model, optimizer, range(1))
    tensors = optimizer_tensors(optimizer)
    with pytest.raises(CheckpointError, match="fits no parameter"):
        restore_optimizer(torch.optim.AdamW(nn.Linear(4, 2).parameters()), tensors)
