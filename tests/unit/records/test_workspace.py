"""A folder in the making: killed at any moment it leaves a workspace to go on with or a whole artifact, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import ArtifactError, DataError, HealthError, WaitingForPeople
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import PromptRecord

RECORDS = [PromptRecord(id=str(i), prompt=f"prompt {i}") for i in range(3)]


def identity(**given: Any) -> Identity:
    return Identity(**({"stage": "data", "version": 1, "config": {"limit": 3}, "seed": 7} | given))


def made(store: Path, **given: Any) -> Artifact:
    with Workspace(store, identity(**given).manifest()) as out:
        out.write("train.prompts", RECORDS)
        out.write_json("notes.json", {"b": 1, "a": [2]})
        (out.folder("model") / "weights.bin").write_bytes(b"\x00\x01")
        (out.folder("checkpoints") / "step-1").write_bytes(b"scratch")
        out.log({"iteration": 0, "loss": 1.5})
        out.time({"seconds": time.perf_counter()})
        return out.finish(metrics={"rows": 3}, facts={"kind": "made"})


def test_an_artifact_holds_what_was_written(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    assert artifact.path == tmp_path / artifact.digest
    assert artifact.records("train.prompts", PromptRecord) == RECORDS
    assert artifact.metrics == {"rows": 3}
    assert artifact.facts == {"kind": "made"}
    assert sorted(artifact.manifest["files"]) == [
        "metrics.jsonl",
        "model/weights.bin",
        "notes.json",
        "train.prompts.jsonl",
    ]
    assert artifact.manifest["files"]["model/weights.bin"] == hashlib.sha256(b"\x00\x01").hexdigest()
    assert not (artifact.path / "checkpoints").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [artifact.digest]  # no workspace, no lock


def test_the_content_digest_is_that_of_the_manifest(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    raw = (artifact.path / "manifest.json").read_bytes()
    assert artifact.content_digest == hashlib.sha256(raw).hexdigest()


def test_two_makings_give_the_same_manifest_although_their_times_differ(tmp_path: Path) -> None:
    first, second = made(tmp_path / "1"), made(tmp_path / "2")
    assert (first.path / "timings.jsonl").read_text() != (second.path / "timings.jsonl").read_text()
    assert (first.path / "manifest.json").read_bytes() == (second.path / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "sft"},
        {"version": 2},
        {"config": {"limit": 4}},
        {"seed": 8},
        {"external": {"data.csv": "00"}},
        {"versions": {"torch": "2"}},
        {"device": "cuda"},
    ],
)
def test_everything_that_goes_in_changes_the_digest(change: dict[str, Any]) -> None:
    assert identity(**change).digest != identity().digest


def test_an_input_counts_by_its_content(tmp_path: Path) -> None:
    one, other = made(tmp_path, seed=1), made(tmp_path, seed=2)
    assert identity(inputs={"data": one}).digest != identity(inputs={"data": other}).digest
    assert identity(inputs={"data": one}).digest == identity(inputs={"data": Artifact.open(one.path)}).digest
    reference = identity(inputs={"data": one}).manifest(tmp_path)["inputs"]["data"]
    assert reference == {"stage": "data", "digest": one.digest, "content": one.content_digest, "path": one.path.name}


def test_an_input_from_another_store_is_found_by_its_path(tmp_path: Path) -> None:
    one = made(tmp_path / "elsewhere")
    path = identity(inputs={"data": one}).manifest(tmp_path / "here")["inputs"]["data"]["path"]
    assert (tmp_path / "here" / path).resolve() == one.path.resolve()


def test_our_own_version_does_not_change_the_digest() -> None:
    assert identity(heedful="9").digest == identity().digest
    assert identity(heedful="9").manifest()["versions"]["heedful"] == "9"


def test_without_rows_there_is_no_file(tmp_path: Path) -> None:
    with Workspace(tmp_path, identity().manifest()) as out:
        out.write("tune.prompts", RECORDS)
        assert out.write("tune.prompts", []) == 0
        assert "tune.prompts.jsonl" not in out.finish().manifest["files"]


def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has no 'heldout.prompts.jsonl'; it has .*train.prompts.jsonl"):
        made(tmp_path).records("heldout.prompts", PromptRecord)


def test_no_manifest_no_artifact(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    (artifact.path / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="not a finished artifact"):
        Artifact.open(artifact.path)
    with pytest.raises(ArtifactError, match="no such artifact"):
        Artifact.open(tmp_path / "absent")


def test_every_altered_byte_is_seen(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    for name in artifact.manifest["files"]:
        path = artifact.path / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(ArtifactError, match="altered"):
                artifact.verify()
        path.write_bytes(whole)
    artifact.verify()


def test_a_quick_check_sees_what_was_touched(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    artifact.verify(quick=True)
    path = artifact.path / "notes.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    os.utime(path, ns=(1, 1))
    with pytest.raises(ArtifactError, match=r"notes.json: altered"):
        artifact.verify(quick=True)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"notes.json: missing"):
        artifact.verify(quick=True)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"{", b'{"format": 99}'])
def test_a_manifest_that_is_none(tmp_path: Path, raw: bytes) -> None:
    artifact = made(tmp_path)
    (artifact.path / "manifest.json").write_bytes(raw)
    with pytest.raises(ArtifactError, match="run the recipe again"):
        Artifact.open(artifact.path)


def test_the_log_goes_back_to_a_checkpoint(tmp_path: Path) -> None:
    with Workspace(tmp_path, identity().manifest()) as out:
        assert out.last_row() == {}
        for i in range(5):
            out.log({"iteration": i})
        out.truncate_log(2)
        assert out.rows() == [{"iteration": 0}, {"iteration": 1}]
        assert out.last_row() == {"iteration": 1}
        with pytest.raises(ArtifactError, match="has 2 rows where 3 were logged"):
            out.truncate_log(3)


def test_a_torn_last_line_is_cut_off_when_the_workspace_is_opened_again(tmp_path: Path) -> None:
    with Workspace(tmp_path, identity().manifest()) as out:
        out.log({"iteration": 0})
        path = out.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"iterat')
    with Workspace(tmp_path, identity().manifest()) as out:
        assert out.rows() == [{"iteration": 0}]


def test_a_number_that_is_none_is_not_logged(tmp_path: Path) -> None:
    with Workspace(tmp_path, identity().manifest()) as out:
        with pytest.raises(HealthError, match="not finite"):
            out.log({"loss": float("nan")})
        assert out.rows() == []


def test_a_refusal_leaves_nothing_and_an_interruption_leaves_its_work(tmp_path: Path) -> None:
    with pytest.raises(DataError), Workspace(tmp_path, identity().manifest()) as out:
        out.write("train.prompts", RECORDS)
        raise DataError("bad row")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(HealthError), Workspace(tmp_path, identity().manifest()) as out:
        out.folder("checkpoints")
        raise HealthError("stopped half-way")
    assert (tmp_path / f"{identity().digest}.work" / "checkpoints").is_dir()
    with pytest.raises(WaitingForPeople), Workspace(tmp_path, identity(seed=1).manifest()) as out:
        out.write("tasks", RECORDS)
        raise WaitingForPeople("12 tasks wait", address="http://localhost")
    assert (tmp_path / f"{identity(seed=1).digest}.work" / "tasks.jsonl").is_file()


def test_a_workspace_that_was_not_used_leaves_no_trace(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    with Workspace(tmp_path, identity().manifest()):
        pass  # as when another run finished the same artifact meanwhile
    assert [entry.name for entry in tmp_path.iterdir()] == [artifact.digest]


def test_a_manifest_without_its_rename_is_taken_up(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    work = artifact.path.with_suffix(".work")
    artifact.path.rename(work)
    with Workspace(tmp_path, identity().manifest()) as out:
        recovered = out.recover()
    assert recovered is not None
    assert recovered.content_digest == artifact.content_digest
    recovered.path.rename(work)
    (work / "notes.json").write_text("{}")
    with Workspace(tmp_path, identity().manifest()) as out:
        assert out.recover() is None
        assert not (out.path / "manifest.json").exists()


HOLD = """
import sys, time
from pathlib import Path
from heedful.records.artifacts import Identity, Workspace
with Workspace(Path(sys.argv[1]), Identity("data", 1, {"limit": 3}, 7).manifest()):
    print("held", flush=True)
    time.sleep(60)
"""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def test_two_runs_cannot_share_a_workspace_and_a_dead_one_cannot_keep_it(tmp_path: Path) -> None:
    holder = started(HOLD, str(tmp_path))
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match=f"in use by process {holder.pid} on {os.uname().nodename}"):
            Workspace(tmp_path, identity().manifest()).__enter__()
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert (tmp_path / f"{identity().digest}.lock").is_file()  # the dead run's file
    with Workspace(tmp_path, identity().manifest()) as out:
        out.write("train.prompts", RECORDS)
        out.finish()


MAKE = """
import sys
from pathlib import Path
from heedful.records.artifacts import Identity, Workspace
from heedful.records.types import PromptRecord
store, rows = Path(sys.argv[1]), 100
identity = Identity("data", 1, {}, 0)
with Workspace(store, identity.manifest()) as out:
    if (store / identity.digest).is_dir() or out.recover():
        sys.exit()
    print("making", flush=True)
    out.truncate_log(0)
    for i in range(rows):
        out.log({"iteration": i})
        if i % 20 == 0:
            out.write(f"part-{i}", [PromptRecord(id=str(j), prompt="x" * 200) for j in range(i + 1)])
    out.finish(metrics={"rows": rows})
"""
KILLS = 8


def test_killed_at_random_moments_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    undisturbed = started(MAKE, str(tmp_path / "calm"))
    assert undisturbed.wait() == 0
    (calm,) = (tmp_path / "calm").iterdir()
    rng = random.Random(0)
    store = tmp_path / "killed"
    for _ in range(KILLS):
        process = started(MAKE, str(store))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        process.wait()
        for path in store.iterdir():
            if path.suffix == "":
                Artifact.open(path).verify()  # whatever carries the name of an artifact is whole
    assert started(MAKE, str(store)).wait() == 0
    killed = store / calm.name
    Artifact.open(killed).verify()
    assert (killed / "manifest.json").read_bytes() == (calm / "manifest.json").read_bytes()
    assert [path.name for path in store.iterdir()] == [calm.name]
    assert len(json.loads((killed / "manifest.json").read_text())["files"]) == 6
