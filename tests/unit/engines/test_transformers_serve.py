"""`transformers serve` on loopback labels pairs end to end: a server of another maker, which gives no log-probs, so votes count."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from transformers import GenerationConfig
from transformers.utils.import_utils import is_serve_available

from heedful.apps.verbs import load_verb, parse_settings
from heedful.records.types import Completion, Preference, Verdict
from heedful.stages import ai_feedback
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.speakers import phrase_causal
from heedful.testing.tiny import save_model
from tests.ports import free_port
from tests.programs import skip_loudly

PROMPTS, VOTES = 2, 3
BRIEF = 'name = "brief"\n[[principles]]\nname = "short"\ncomparison = "Shorter?"\n'


@contextmanager
def served(model: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with (model.parent / "serve.log").open("w+") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, model.parent / "serve.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(address, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.mark.slow
def test_a_server_of_another_maker_labels_pairs(tmp_path: Path) -> None:
    if not is_serve_available():
        skip_loudly("the test that drives `transformers serve`, because it needs openai (pip install openai)")
    model, tokenizer = phrase_causal({"A)": 0.6, "B)": 0.4})
    model.config.max_position_embeddings = 512
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=1, pad_token_id=0)
    folder = save_model(tmp_path / "model", model, tokenizer)
    (tmp_path / "brief.toml").write_text(BRIEF)
    rows = [
        Completion(id=f"p{i}/{j}", prompt_id=f"p{i}", prompt=f"House {i}?", completion=f"No{'o' * j}.", index=j)
        for i in range(PROMPTS)
        for j in range(2)
    ]
    source = artifact_of(tmp_path / "store", "sample", completions=rows)
    with served(folder) as url:
        server = {"url": url, "model": str(folder), "votes": VOTES, "concurrency": 2}
        settings = {"constitution": "brief.toml", "judge": {"num_examples": 0, "server": server}}
        config = parse_settings(load_verb("ai_feedback"), settings, "ai_feedback")
        artifact = run_stage(ai_feedback, config, {"samples": source}, tmp_path / "store", base=tmp_path)
    verdicts = artifact.records("verdicts", Verdict)
    assert len(verdicts) == artifact.metrics["questions"] == 2 * PROMPTS
    assert all(v.votes is not None and sum(v.votes) == VOTES and v.logprobs is None for v in verdicts)
    # 0, 1, 2 or 3 votes for (A), and half a vote for each side
    assert {v.p for v in verdicts} <= {0.125, 0.375, 0.625, 0.875}
    labels = artifact.records("train.preferences", Preference)
    assert all(0.5 <= label.p < 1 for label in labels)
    # each request had one sample, of at most four tokens
    assert artifact.metrics["judge_requests"] == VOTES * artifact.metrics["questions"]  # type: ignore[operator]
    assert 0 < artifact.metrics["judge_completion_tokens"] <= 4 * artifact.metrics["judge_requests"]  # type: ignore[operator]
