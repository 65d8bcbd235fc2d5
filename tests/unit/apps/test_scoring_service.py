"""`heed serve-reward`: a real process that serves a reward model, and what the service refuses."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from heedful.apps.scoring_service import BODY_BYTES, make_service, model_folder, serve_reward
from heedful.engines.batching import Batcher
from heedful.errors import ArtifactError, ConfigError, HealthError, ModelError
from heedful.models.backbones import Backbone, Reading
from heedful.models.remote import RemoteScorer, Service
from heedful.models.reward import load_reward_model, new_reward_model
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Message
from heedful.testing.policies import byte_causal, byte_tokenizer
from tests.alignment import aligned, inputs, rows

TEXTS = ["Run a fan.", "x", "You are a fool.", ""]
PROMPTS = ["Too hot?", (Message(role="user", content="Why?"),), "p", "p"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An untrained reward model, as an artifact of the reward stage."""
    store = tmp_path_factory.mktemp("store")
    with Workspace(store, Identity("reward", 1, {}, 0).manifest()) as out:
        backbone = Backbone(byte_causal(3).model, byte_tokenizer(), Reading())
        new_reward_model(backbone, "pairwise", seed=0).save(out.folder("model"))
        out.write_json("reward.json", {"name": "reward model", "mode": "pairwise"})
        return out.finish()


@pytest.fixture(scope="module")
def served(artifact: Artifact) -> Iterator[str]:
    """The command itself, on a free port, with a token."""
    command = [sys.executable, "-m", "heedful.apps.cli", "serve-reward", str(artifact.path), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OWN_TOKEN": "s3cret"}
    child = subprocess.Popen(
        [*command, "--token", "OWN_TOKEN"], env=environment, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip().rpartition(" ")[2]
    finally:
        child.terminate()
        child.wait()


def remote(url: str, **given: Any) -> RemoteScorer:
    return RemoteScorer(Service(url, token_variable="OWN_TOKEN", timeout=30, **given))


def test_it_gives_the_scores_of_the_model(served: str, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_TOKEN", "s3cret")
    local = load_reward_model(artifact.path / "model").score(PROMPTS, TEXTS)
    assert len(set(local)) == len(TEXTS)
    for batch_rows in (4, 1):
        assert remote(served, batch_rows=batch_rows).score(PROMPTS, TEXTS) == pytest.approx(local, abs=1e-6)


def test_a_run_on_the_service_is_the_run_on_the_model(
    served: str, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_TOKEN", "s3cret")
    store = tmp_path / "store"
    given = inputs(store)
    reward: dict[str, Any] = {"function": None, "unproven": "reward model", "parts": {"rm": {"input": "reward"}}}
    near = rows(aligned(store, given | {"reward": artifact}, iterations=1, reward=reward))
    reward["parts"] = {"rm": {"service": {"url": served, "token": "OWN_TOKEN"}}}
    far = aligned(store, given, iterations=1, reward=reward)
    assert rows(far)[0]["score_mean.rm"] == pytest.approx(near[0]["score_mean.rm"], abs=1e-6)
    everything = b"".join(path.read_bytes() for path in far.path.rglob("*") if path.is_file())
    assert b"OWN_TOKEN" in everything and b"s3cret" not in everything


def test_strangers_and_pages_are_refused(served: str) -> None:
    body = {"rows": [{"id": "0", "prompt": "p", "completion": "c"}]}
    right = {"authorization": "Bearer s3cret"}
    assert httpx.post(served, json=body).status_code == 401
    assert httpx.post(served, json=body, headers={"authorization": "Bearer s3cre"}).status_code == 401
    assert httpx.post(served, json=body, headers=right).status_code == 200
    assert httpx.post(served, json=body, headers={**right, "origin": "http://127.0.0.1"}).status_code == 403


class Lengths:
    """Scores with the length; remembers its batches; waits at the gate, and fails on one text."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()

    def score(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        self.gate.wait(10)
        self.batches.append(len(completions))
        return [float("nan") if text == "bad" else float(len(text)) for text in completions]


def client(scorer: Lengths, **given: Any) -> TestClient:
    scorer.gate.set()
    return TestClient(make_service(scorer, "lengths", batch_rows=8, **given))


def row(**changes: Any) -> dict[str, Any]:
    return {"id": "0", "prompt": "p", "completion": "four"} | changes


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"rows": [row(), row(id="b", completion="")]}, 200, ""),
        ({"rows": []}, 422, "rows"),
        ({"rows": [{"id": "0", "prompt": "p"}]}, 422, "rows.0.completion: Field required"),
        ({"rows": [row(completion=3)]}, 422, "rows.0.completion"),
        ({"rows": [row(prompt=[{"role": "owner", "content": "x"}])]}, 422, "rows.0.prompt"),
        ([], 422, ""),
        ({"rows": [row(completion="bad")]}, 500, "the scorer failed"),
    ],
)
def test_questions_good_and_bad(body: Any, status: int, told: str) -> None:
    answer = client(Lengths()).post("/score", json=body)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"scores": [{"id": "0", "score": 4.0}, {"id": "b", "score": 0.0}]}
    else:
        assert told in answer.json()["detail"]


def test_a_body_that_is_no_json_or_too_large() -> None:
    service = client(Lengths())
    assert service.post("/score", content=b"{").status_code == 422
    assert service.post("/score", content=b"\xff").status_code == 422
    assert service.post("/score", content=b" " * (BODY_BYTES + 1)).status_code == 413
    assert service.get("/").json() == {"serves": "lengths", "score": "POST /score"}


def test_what_waits_is_scored_together_and_a_bad_text_spoils_only_its_own() -> None:
    scorer = Lengths()
    batcher = Batcher(scorer, batch_rows=4)
    first = batcher.submit(["p"], ["x"])
    while scorer.gate.is_set() or not first.running():  # it is taken before the others come
        pass
    others = [batcher.submit(["p"] * len(texts), texts) for texts in (["aa"], ["bbb", "bad"], ["cc", "d"], ["e"])]
    scorer.gate.set()
    assert first.result(10) == [1.0]
    assert others[0].result(10) == [2.0]
    with pytest.raises(HealthError, match="gave nan for row 1: 'bad'"):
        others[1].result(10)
    assert others[2].result(10) == [2.0, 1.0]
    assert others[3].result(10) == [1.0]
    batcher.close()
    # One alone; the three that reach 4 rows, refused together, then each by itself; the last.
    assert scorer.batches == [1, 5, 1, 2, 2, 1]


def test_a_model_folder_or_its_artifact(artifact: Artifact, tmp_path: Path) -> None:
    assert model_folder(artifact.path) == model_folder(artifact.path / "model") == artifact.path / "model"
    with Workspace(tmp_path, Identity("sft", 1, {}, 0).manifest()) as out:
        other = out.finish()
    with pytest.raises(ArtifactError, match="the artifact of 'reward' was expected, got that of 'sft'"):
        model_folder(other.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "0.0.0.0"}, "other machines can reach it"),
        ({"host": "0.0.0.0", "behind_tls": True}, "say --token"),
        ({"token_variable": "NO_SUCH_TOKEN"}, "--token NO_SUCH_TOKEN: this environment variable is not set"),
        ({"host": "203.0.113.1", "behind_tls": True, "token_variable": "PATH"}, "cannot listen there"),
    ],
)
def test_where_it_does_not_serve(artifact: Artifact, changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "batch_rows": 8, "token_variable": None}
    with pytest.raises(ConfigError, match=message):
        serve_reward(artifact.path, **{**given, "behind_tls": False, "say": print, **changes})


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text(json.dumps({}))
    with pytest.raises(ModelError, match="not a reward model of ours"):
        serve_reward(tmp_path, "127.0.0.1", 0, batch_rows=8, token_variable=None, behind_tls=False, say=lambda _: None)
