"""sft: P(EOS) rises, only completions are learned, the folder loads anywhere, and a kill changes no bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from heedful.engines.supervised import lesson, target_logprobs
from heedful.errors import ConfigError, DataError, HealthError, ModelError
from heedful.models.loading import load_language_model
from heedful.models.opening import open_model
from heedful.models.prompts import Renderer
from heedful.models.trunks import make_trunk
from heedful.records.artifacts import Artifact
from heedful.records.types import Demonstration, Message
from heedful.stages import sft
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_encoder_decoder, tiny_tokenizer
from tests.tolerances import FP32_SUM

ANSWERS = ["open the window", "drink cold water ; close the door"]
TINY = {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64, "vocab_size": 300}
FAST = {"epochs": 5, "minibatch_rows": 8, "optimizer": {"lr": 5e-3}}


def demonstrations(rows: int = 40) -> list[Demonstration]:
    return [Demonstration(id=f"d{i}", prompt=f"house {i} ?", completion=ANSWERS[i % 2]) for i in range(rows)]


@pytest.fixture
def data(tmp_path: Path) -> Artifact:
    rows = demonstrations()
    return artifact_of(tmp_path / "data", "data", train__demonstrations=rows[:32], tune__demonstrations=rows[32:])


def fitted(data: Artifact, store: Path, **settings: Any) -> Artifact:
    config = sft.Config(**{"scratch": TINY, **FAST, **settings})
    return run_stage(sft, config, {"demonstrations": data}, store, seed=1)


def weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    return dict(load_language_model(artifact.path / "model").named_parameters())


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_p_eos_rises_and_held_out_loss_falls(data: Artifact, tmp_path: Path, kind: str) -> None:
    metrics: Any = fitted(data, tmp_path, scratch={**TINY, "kind": kind}).metrics
    assert metrics["heldout_p_eos_after"] > 3 * metrics["heldout_p_eos_before"]
    assert metrics["heldout_loss_after"] < 0.7 * metrics["heldout_loss_before"]


def test_p_eos_rises_also_where_the_tokenizers_pad_was_its_eos(data: Artifact, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = "<eos>"
    folder = save_model(tmp_path / "model", tiny_causal(tokenizer), tokenizer)
    metrics: Any = fitted(data, tmp_path, scratch=None, model=str(folder)).metrics
    assert metrics["heldout_p_eos_after"] > 3 * metrics["heldout_p_eos_before"]


@pytest.mark.parametrize(("kind", "auto"), [("llama", AutoModelForCausalLM), ("t5", AutoModelForSeq2SeqLM)])
def test_transformers_loads_the_folder(data: Artifact, tmp_path: Path, kind: str, auto: Any) -> None:
    folder = fitted(data, tmp_path, scratch={**TINY, "kind": kind}, epochs=0).path / "model"
    model = auto.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = torch.tensor([tokenizer("house 1 ?").input_ids])
    assert model.generate(tokens, max_new_tokens=3, do_sample=False).shape[0] == 1
    assert GenerationConfig.from_pretrained(folder).eos_token_id in (1, [1])


@pytest.mark.parametrize("make", [tiny_causal, tiny_encoder_decoder])
def test_the_log_probs_are_those_of_the_models_own_logits(make: Any) -> None:
    tokenizer = tiny_tokenizer()
    model = make(tokenizer, seed=4)
    renderer = Renderer.of(model, tokenizer)
    rows = [lesson(renderer, row) for row in demonstrations(3)]
    logprobs, targets = target_logprobs(make_trunk(model), rows, torch.device("cpu"))
    assert targets.all(), "a text prompt has no turns between"
    slow = []
    for row in rows:
        if model.config.is_encoder_decoder:
            logits = model(input_ids=torch.tensor([row.prompt]), labels=torch.tensor([row.actions])).logits[0]
        else:
            logits = model(input_ids=torch.tensor([row.prompt + row.actions])).logits[0, len(row.prompt) - 1 : -1]
        slow += [logits[t].log_softmax(-1)[token] for t, token in enumerate(row.actions)]
    torch.testing.assert_close(logprobs, torch.stack(slow), atol=FP32_SUM, rtol=FP32_SUM)


def test_only_the_assistants_turns_are_targets() -> None:
    tokenizer = tiny_tokenizer()
    turns = [("system", "be kind"), ("user", "hot ?"), ("assistant", "water"), ("user", "now ?")]
    prompt = tuple(Message(role=role, content=text) for role, text in turns)  # type: ignore[arg-type]
    row = lesson(Renderer(tokenizer, False), Demonstration(id="c", prompt=prompt, completion="rest"))
    told = [token for token, target in zip(row.actions, row.targets, strict=True) if target]
    assert tokenizer.decode(told) == " water<eos> rest<eos>"
    assert row.unit.weight == len(told)


def test_long_demonstrations_are_left_out_and_counted_never_cut(data: Artifact, tmp_path: Path) -> None:
    rows = [*demonstrations(8), Demonstration(id="long", prompt="x", completion="water " * 600)]
    source = artifact_of(tmp_path / "long", "data", train__demonstrations=rows)
    metrics: Any = fitted(source, tmp_path, epochs=1).metrics
    assert (metrics["demonstrations"], metrics["left_out_too_long"]) == (8, 1)
    only_long = artifact_of(tmp_path / "long", "data", train__demonstrations=rows[8:])
    with pytest.raises(DataError, match="none of 1 demonstrations fits into 512 tokens"):
        fitted(only_long, tmp_path, epochs=1)


def test_an_adapter_is_saved_beside_a_pointer_to_its_base_and_loads_with_the_same_numbers(
    data: Artifact, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer()
    base = save_model(tmp_path / "base", tiny_causal(tokenizer, seed=1), tokenizer)
    artifact = fitted(data, tmp_path, scratch=None, model=str(base), lora={"r": 4})
    folder = artifact.path / "model"
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert (folder / json.loads((folder / "base.json").read_text())["base"]).resolve() == base.resolve()
    assert not (folder / "model.safetensors").exists()
    tokens = torch.tensor([[2, 5, 6]])
    adapted = open_model(folder)(input_ids=tokens).logits
    assert not torch.equal(adapted, load_language_model(base)(input_ids=tokens).logits)
    metrics: Any = artifact.metrics
    assert metrics["heldout_loss_after"] < metrics["heldout_loss_before"]


def test_an_adapter_on_a_pickled_base_needs_no_trust_afterwards(data: Artifact, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    safe = save_model(tmp_path / "safe", tiny_causal(tokenizer, seed=1), tokenizer)
    pickled = save_model(tmp_path / "pickled", tiny_causal(tokenizer, seed=1), tokenizer)
    torch.save(tiny_causal(tokenizer, seed=1).state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    settings = {"scratch": None, "lora": {"r": 4}, "epochs": 1}
    with pytest.raises(ModelError, match="only pickled weights"):
        fitted(data, tmp_path / "refused", model=str(pickled), **settings)
    trusted = fitted(data, tmp_path / "trusted", model=str(pickled), allow_pickle=True, **settings)
    shutil.rmtree(pickled)  # nothing points to it any more
    tokens = torch.tensor([[2, 5, 6]])
    wanted = open_model(fitted(data, tmp_path / "plain", model=str(safe), **settings).path / "model")(input_ids=tokens)
    assert torch.equal(open_model(trusted.path / "model")(input_ids=tokens).logits, wanted.logits)


def test_a_model_is_taken_as_it_is_without_demonstrations(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    base = save_model(tmp_path / "base", tiny_causal(tokenizer, seed=1), tokenizer)
    artifact = run_stage(sft, sft.Config(model=str(base), epochs=0), {}, tmp_path)
    tokens = torch.tensor([[2, 5, 6]])
    assert torch.equal(
        open_model(artifact.path / "model")(input_ids=tokens).logits, load_language_model(base)(input_ids=tokens).logits
    )
    with pytest.raises(ConfigError, match="'demonstrations' is missing"):
        run_stage(sft, sft.Config(model=str(base), epochs=1), {}, tmp_path)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(data: Artifact, tmp_path: Path) -> None:
    settings = sft.Config(scratch=sft.ScratchGroup(**TINY), epochs=1, minibatch_rows=8)
    runs = [
        weights(run_stage(sft, settings, {"demonstrations": data}, tmp_path / name, seed=seed))
        for name, seed in (("one", 1), ("two", 1), ("three", 2))
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not all(torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


DIES_AFTER = 13
KILLED = f"""
import os, sys
from pathlib import Path
import torch
from heedful.engines import fitting
from heedful.records.artifacts import Artifact
from heedful.stages import sft
from heedful.testing.artifacts import run_stage

torch.set_num_threads(1)
steps, step = iter(range({DIES_AFTER})), fitting._step
fitting._step = lambda *a: step(*a) if next(steps, None) is not None else os.kill(os.getpid(), 9)
config = sft.Config.model_validate_json(sys.argv[1])
run_stage(sft, config, {{"demonstrations": Artifact.open(sys.argv[2])}}, Path(sys.argv[3]), seed=1)
"""


def test_killed_with_9_and_started_again_gives_the_same_bits(data: Artifact, tmp_path: Path) -> None:
    config = sft.Config(scratch=sft.ScratchGroup(**TINY), epochs=6, minibatch_rows=8, checkpoint_every=5)
    whole = run_stage(sft, config, {"demonstrations": data}, tmp_path / "whole", seed=1)
    arguments = [sys.executable, "-c", KILLED, config.model_dump_json(), str(data.path), str(tmp_path / "cut")]
    child = subprocess.run(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert [path.name for path in (tmp_path / "cut").glob("*.work/checkpoints/*")] == ["step-10"]
    again = run_stage(sft, config, {"demonstrations": data}, tmp_path / "cut", seed=1)
    assert again.manifest["files"] == whole.manifest["files"]
    assert again.metrics == whole.metrics


def test_numbers_that_are_not_finite_stop_the_run(data: Artifact, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_causal(tokenizer)
    model.get_input_embeddings().weight.data[5:] = torch.inf
    folder = save_model(tmp_path / "broken", model, tokenizer)
    with pytest.raises(HealthError, match="sft, optimizer step 1"):
        fitted(
            artifact_of(tmp_path / "d", "data", train__demonstrations=demonstrations(8)),
            tmp_path,
            scratch=None,
            model=str(folder),
        )


def test_models_that_do_not_fit(data: Artifact, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    encoder = save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer)
    for source, message in ((str(encoder), "does not write text"), ("./absent", "no such model folder")):
        with pytest.raises(ModelError, match=message):
            fitted(data, tmp_path, scratch=None, model=source)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "a", "scratch": TINY}, "either 'model' or the group 'scratch'"),
        ({"scratch": TINY, "lora": {}}, "trained whole"),
        ({"model": "a", "learning_rate": 1}, "learning_rate"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sft.Config(**settings)


def test_it_goes_on_from_an_earlier_stage(data: Artifact, tmp_path: Path) -> None:
    first = fitted(data, tmp_path)
    taken = run_stage(sft, sft.Config(epochs=0), {"start": first}, tmp_path)
    assert all(torch.equal(mine, weights(first)[name]) for name, mine in weights(taken).items())
    rows = [Demonstration(id=f"n{i}", prompt=f"house {i} ?", completion="close the door") for i in range(32)]
    other = artifact_of(tmp_path / "other", "data", train__demonstrations=rows, tune__demonstrations=rows[:8])
    onward: Any = run_stage(sft, sft.Config(**FAST), {"demonstrations": other, "start": first}, tmp_path).metrics
    assert onward["heldout_loss_after"] < onward["heldout_loss_before"]
    # It began with what the first stage had learned: half of its answers are like these, so far from chance.
    assert onward["heldout_loss_before"] < 0.5 * float(torch.tensor(300.0).log())


def test_an_adapter_is_merged_before_all_weights_move(data: Artifact, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    base = save_model(tmp_path / "base", tiny_causal(tokenizer, seed=1), tokenizer)
    adapted = fitted(data, tmp_path, scratch=None, model=str(base), lora={"r": 4})
    taken = run_stage(sft, sft.Config(epochs=0), {"start": adapted}, tmp_path)
    assert not (taken.path / "model" / "base.json").exists()
    tokens = torch.tensor([[2, 5, 6]])
    logits = [open_model(one.path / "model")(input_ids=tokens).logits for one in (adapted, taken)]
    assert torch.allclose(logits[0], logits[1], rtol=0, atol=FP32_SUM)
    with pytest.raises(ConfigError, match="holds an adapter already"):
        run_stage(sft, sft.Config(epochs=0, lora={"r": 4}), {"start": adapted}, tmp_path)


@pytest.mark.parametrize("settings", [{}, {"model": "a"}, {"scratch": TINY}])
def test_there_is_one_beginning(settings: dict[str, Any]) -> None:
    roles = ["demonstrations", *(["start"] if settings else [])]
    with pytest.raises(ConfigError, match="one beginning was expected"):
        sft.check(sft.Config(**settings), roles)


def test_the_model_folder_is_part_of_the_digest(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    save_model(tmp_path / "base", tiny_causal(tokenizer, seed=1), tokenizer)
    config = sft.Config(model="base")
    before = sft.external(config, tmp_path)
    save_model(tmp_path / "base", tiny_causal(tokenizer, seed=2), tokenizer)
    assert sft.external(config, tmp_path) != before
    assert sft.external(sft.Config(scratch=sft.ScratchGroup()), tmp_path) == {}


@pytest.mark.parametrize("module", ["sft", "reward"])
def test_a_stage_is_read_without_torch(module: str) -> None:
    code = (
        f"import sys, heedful.stages.{module}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
