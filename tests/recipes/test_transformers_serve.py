"""`transformers serve` on loopback drives both stages: a server of another maker, which gives no log-probs, so votes count.

One tiny model stands behind it. It draws each token by the last one, so that who asks for an answer, a critique, a revision, one
more line of a list or a verdict gets one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import GenerationConfig
from transformers.utils.import_utils import is_serve_available

from heedful.apps.runner import Run, run
from heedful.apps.verbs import load_verb, parse_settings
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Demonstration, Preference, PromptRecord, Revision, Verdict
from heedful.stages import ai_feedback
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.speakers import turn_causal
from heedful.testing.tiny import save_model
from tests.ports import free_port
from tests.programs import skip_loudly

pytestmark = pytest.mark.slow

RUDE = (" Break it open, you fool.", " Just take it, fool.", " Wait until they sleep, fool.")
DECENT = (" Please ask the owner first.", " Let us look for another way.", " I would rather help you to buy one.")
CRITIQUES = (" That is rude.", " That hurts somebody.")
NEW = (" How do I open my neighbour's door?", " Where can I hide a stolen lamp?")
WORDS = {
    "": {"": 1.0},
    # what stage 1 teaches is rare before, not impossible
    "\n\nAssistant:": dict.fromkeys(RUDE, 0.31) | dict.fromkeys(DECENT, 0.07 / 3),
    "\n\nCritique:": dict.fromkeys(CRITIQUES, 0.5),
    "\n\nRevision:": dict.fromkeys(DECENT, 1 / 3),
    "\n3.": dict.fromkeys(NEW, 0.5),
    " (": {"A)": 0.6, "B)": 0.4},
}
CHAT = (
    r"{% for m in messages %}{{ '\n\n' + {'user': 'Human', 'assistant': 'Assistant'}[m.role] + ': ' + m.content }}{% endfor %}"
    r"{{ '\n\nAssistant:' }}"
)
POSITIONS = 1024
PROMPTS, ANSWERS, ROUNDS, VOTES = 3, 2, 2, 3
BRIEF = """
name = "brief"
[[principles]]
name = "kind"
critique = "What is rude?"
revision = "Say it kindly."
comparison = "Which is kinder?"
"""
HARM = """
def decent(prompts, completions, **columns):
    return [-float(text.count("fool")) for text in completions]
"""
RECIPE = """
name = "served"
seed = 1
stages = ["prompts", "red_team", "revise", "stage_one", "samples", "ai_feedback"]

[prompts]
stage = "data"
sources = [{{ path = "prompts.jsonl" }}]

[red_team]
inputs = {{ prompts = "prompts" }}
num_completions = {answers}
max_new_tokens = 8
target = {{ server = {chat} }}
reward = {{ function = "harm.py:decent" }}
generate = {{ title = "Ask:", num_prompts = 1, num_examples = 2, max_new_tokens = 8, writer = {{ server = {text} }} }}

[revise]
inputs = {{ attempts = "red_team" }}
constitution = "brief.toml"
rounds = {rounds}
max_new_tokens = 8
tune_fraction = 0.3
writer = {{ server = {text} }}
reward = {{ function = "harm.py:decent" }}
gates = {{ harmless = 0.0, max_skipped = 0.9 }}

[stage_one]
stage = "sft"
inputs = {{ demonstrations = "revise" }}
model = "speaker"
epochs = 10
minibatch_rows = 8
optimizer = {{ lr = 0.1 }}

[samples]
stage = "sample"
inputs = {{ policy = "stage_one", prompts = "red_team" }}
num_completions = 4
max_new_tokens = 8

[ai_feedback]
inputs = {{ samples = "samples" }}
constitution = "brief.toml"
pairs_per_prompt = 1
judge = {{ num_examples = 0, server = {judge} }}
"""


@dataclass(frozen=True)
class Served:
    """A server's address, the folder of its model, and what it says."""

    url: str
    model: Path
    log: Path

    def asked(self, path: str) -> int:
        """Return how many requests it has answered there, by its own log."""
        return self.log.read_text().count(f'"POST /v1/{path} HTTP/1.1" 200')

    def toml(self, **settings: object) -> str:
        given = {"url": self.url, "model": str(self.model), "concurrency": 1, **settings}
        return "{ " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in given.items()) + " }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not is_serve_available():
        skip_loudly("the tests that drive `transformers serve`, because it needs openai (pip install openai)")
    model, tokenizer = turn_causal(WORDS, max_positions=POSITIONS)
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=1, pad_token_id=0)
    tokenizer.chat_template = CHAT
    folder = tmp_path_factory.mktemp("served")
    with serving(save_model(folder / "speaker", model, tokenizer), folder / "serve.log") as found:
        yield found


@contextmanager
def serving(model: Path, log: Path) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("w+") as stream:
        process = subprocess.Popen([*command, *options], stdout=stream, stderr=subprocess.STDOUT)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield Served(f"http://127.0.0.1:{port}/v1", model, log)
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 600  # on a busy machine its imports alone take minutes
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(address, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def chain(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = tmp_path_factory.mktemp("chain")
    asked = [f"\n\nHuman: How do I take thing {i}?\n\nAssistant:" for i in range(PROMPTS)]
    (base / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in asked))
    (base / "brief.toml").write_text(BRIEF)
    (base / "harm.py").write_text(HARM)
    (base / "speaker").symlink_to(server.model)
    servers = {"chat": server.toml(), "text": server.toml(api="completions"), "judge": server.toml(votes=VOTES)}
    (base / "served.toml").write_text(RECIPE.format(answers=ANSWERS, rounds=ROUNDS, **servers))
    before = {path: server.asked(path) for path in ("completions", "chat/completions")}
    done = run(base / "served.toml", out=base / "run")
    # the server's own count is the stages': nothing was asked twice, and nobody else was asked
    assert server.asked("chat/completions") - before["chat/completions"] == figure(done["red_team"], "target_requests")
    texts = (("red_team", "writer"), ("revise", "writer"), ("ai_feedback", "judge"))
    told = [figure(done[name], f"{who}_requests") for name, who in texts]
    assert server.asked("completions") - before["completions"] == sum(told)
    return done


def figure(artifact: Artifact, *names: str) -> float:
    found: Any = artifact.metrics
    for name in names:
        found = found[name]
    return float(found)


def test_the_server_is_attacked_with_given_prompts_and_with_one_that_it_wrote(chain: Run) -> None:
    attack = chain["red_team"]
    prompts = attack.records("train.prompts", PromptRecord)
    assert [prompt.meta["origin"] for prompt in prompts] == ["given"] * PROMPTS + ["generated"]
    # in the form of the given ones
    assert prompts[-1].prompt in {f"\n\nHuman:{text}\n\nAssistant:" for text in NEW}
    answers = attack.records("completions", Completion)
    assert len(answers) == ANSWERS * len(prompts)
    assert all(answer.finished and f" {answer.completion}" in (*RUDE, *DECENT) for answer in answers)
    assert figure(attack, "harmful", "value") > 0.5


def test_the_server_criticises_and_revises_round_by_round(chain: Run, server: Served) -> None:
    attempts = {answer.id: answer.completion for answer in chain["red_team"].records("completions", Completion)}
    rows = chain["revise"].records("revisions", Revision)
    assert len(rows) == ROUNDS * len(attempts)
    for row in rows:
        assert row.by == str(server.model)
        assert f" {row.critique}" in CRITIQUES
        assert f" {row.revision}" in DECENT
        assert row.answer == attempts[row.completion_id]
        assert (row.skipped == "unchanged") == (row.revision == row.answer)
        attempts[row.completion_id] = str(row.revision)
    revise = chain["revise"]
    assert figure(revise, "writer_requests") == 2 * len(rows)
    assert figure(revise, "harm_before") > 0.5 > figure(revise, "harm_after") == 0


def test_a_model_learns_from_the_servers_revisions(chain: Run) -> None:
    """Before, it answers decently in 7 % of cases: `WORDS`."""
    lessons = [
        row for side in ("train", "tune") for row in chain["revise"].records(f"{side}.demonstrations", Demonstration)
    ]
    kept = [row for row in chain["revise"].records("revisions", Revision) if row.skipped is None]
    assert sorted((row.id, row.completion) for row in lessons) == sorted((row.id, row.revision) for row in kept)
    answers = [f" {row.completion}" for row in chain["samples"].records("completions", Completion)]
    assert sum(answer in DECENT for answer in answers) > 0.7 * len(answers)


def test_the_server_judges_the_models_answers(chain: Run) -> None:
    said = {row.completion for row in chain["samples"].records("completions", Completion)}
    check_votes(chain["ai_feedback"], PROMPTS + 1)
    labels = [
        row for side in ("train", "tune") for row in chain["ai_feedback"].records(f"{side}.preferences", Preference)
    ]
    assert len(labels) == PROMPTS + 1
    assert {text for label in labels for text in (label.chosen, label.rejected)} <= said


def check_votes(artifact: Artifact, pairs: int) -> None:
    verdicts = artifact.records("verdicts", Verdict)
    assert len(verdicts) == artifact.metrics["questions"] == 2 * pairs
    assert all(v.votes is not None and sum(v.votes) == VOTES and v.logprobs is None for v in verdicts)
    # 0, 1, 2 or 3 votes for (A), and half a vote for each side
    assert {v.p for v in verdicts} <= {0.125, 0.375, 0.625, 0.875}
    # each request had one sample, of at most four tokens
    requests = figure(artifact, "judge_requests")
    assert requests == VOTES * len(verdicts)
    assert 0 < figure(artifact, "judge_completion_tokens") <= 4 * requests


def test_requests_side_by_side_label_pairs(server: Served, tmp_path: Path) -> None:
    (tmp_path / "brief.toml").write_text(BRIEF)
    rows = [
        Completion(id=f"p{i}/{j}", prompt_id=f"p{i}", prompt=f"House {i}?", completion=f"No{'o' * j}.", index=j)
        for i in range(2)
        for j in range(2)
    ]
    source = artifact_of(tmp_path / "store", "sample", completions=rows)
    asked = {"url": server.url, "model": str(server.model), "votes": VOTES, "concurrency": 2}
    settings = {"constitution": "brief.toml", "judge": {"num_examples": 0, "server": asked}}
    config = parse_settings(load_verb("ai_feedback"), settings, "ai_feedback")
    artifact = run_stage(ai_feedback, config, {"samples": source}, tmp_path / "store", base=tmp_path)
    check_votes(artifact, 2)
    labels = artifact.records("train.preferences", Preference)
    assert all(0.5 <= label.p < 1 for label in labels)
