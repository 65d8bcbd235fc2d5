from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from heedful.engines.aligned import aligned_in
from heedful.engines.chat import side_by_side
from heedful.engines.exporting import export, push
from heedful.errors import ArtifactError, ConfigError, ModelError
from heedful.models.opening import open_generator
from tests.alignment import run_folder
from tests.tolerances import FP32_SUM


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    tokens = torch.tensor([[2, 40, 41, 42, 43]])
    extra = {"decoder_input_ids": torch.tensor([[0, 50, 51]])} if model.config.is_encoder_decoder else {}
    return model(input_ids=tokens, **extra).logits


@pytest.mark.parametrize(("kind", "method"), [("causal", "lora"), ("causal", "full"), ("encoder_decoder", "lora")])
def test_the_exported_folder_loads_anywhere_with_the_policys_logits(tmp_path: Path, kind: str, method: str) -> None:
    made = run_folder(tmp_path, kind, method)
    folder = export(made, tmp_path / "out")
    family = AutoModelForCausalLM if kind == "causal" else AutoModelForSeq2SeqLM
    loaded = family.from_pretrained(folder)
    policy = open_generator(made / "align" / "model")
    assert_close(logits(loaded), logits(policy.model), atol=FP32_SUM, rtol=FP32_SUM)
    before = open_generator(made / "sft" / "model")
    assert not torch.allclose(logits(loaded), logits(before.model), atol=FP32_SUM)
    assert not list(folder.glob("adapter*"))


def test_tokenizer_and_generation_settings_come_along(run: Path, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode("ab") == open_generator(run / "sft" / "model").renderer.tokenizer.encode("ab")
    config = GenerationConfig.from_pretrained(folder)
    assert (config.do_sample, config.temperature, config.top_k, config.top_p) == (True, 1.0, 0, 1.0)
    assert (config.max_new_tokens, config.eos_token_id, config.pad_token_id) == (6, [1], 0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer("House?", return_tensors="pt")
    out = model.generate(input_ids=asked["input_ids"], attention_mask=asked["attention_mask"])
    assert 0 < out.shape[1] - asked["input_ids"].shape[1] <= 6


def test_the_card_says_what_from_what_and_with_which_figures(run: Path, tmp_path: Path) -> None:
    text = (export(run, tmp_path / "out") / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: transformers\n")
    for part in (
        "# Letters (generated data)",
        "LlamaForCausalLM",
        "a model trained from scratch",
        "| toxicity | gold | 0.250 [0.200, 0.300] |",
        "It writes more letters.",
        "1.50 nats per sequence",
        "iterations: 2",
        aligned_in(run).after.digest,
    ):
        assert part in text
    assert "base_model" not in text


def test_a_folder_with_something_in_it_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty; choose a new folder"):
        export(run, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_as_good_as_a_new_one(run: Path, tmp_path: Path) -> None:
    assert (export(run, tmp_path) / "model.safetensors").is_file()


def test_the_align_artifact_itself_will_do(run: Path) -> None:
    assert aligned_in(run / "align").after.digest == aligned_in(run).after.digest
    assert aligned_in(run).before.stage == "sft"
    assert {artifact.stage for artifact in aligned_in(run).lineage()} == {"align", "sft", "data"}


def test_a_run_without_an_aligned_model_says_what_it_has(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sft").symlink_to((run / "sft").resolve())
    with pytest.raises(ArtifactError, match="nothing was aligned here, it has sft"):
        export(tmp_path / "run", tmp_path / "out")
    with pytest.raises(ArtifactError, match="no such folder"):
        export(tmp_path / "absent", tmp_path / "out")


def test_push_without_a_hub_fails_in_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export(run, tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="someone/letters: the hub") as caught:
        push(folder, "someone/letters")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="not a name that a hub takes"):
        push(folder, "what is/this name/at all")


def test_push_sends_the_whole_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Hub:
        def create_repo(self, repo: str, *, exist_ok: bool) -> None:
            sent["made"] = (repo, exist_ok)

        def upload_folder(self, *, repo_id: str, folder_path: str) -> str:
            sent["files"] = {file.name for file in Path(folder_path).iterdir()}
            return f"https://hub/{repo_id}"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert push(run, "someone/letters") == "https://hub/someone/letters"
    assert sent["made"] == ("someone/letters", True)
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "README.md"} <= sent[
        "files"
    ]


def test_side_by_side_answers_with_both_models(run: Path) -> None:
    pairs = list(side_by_side(run, "House 3?", num_completions=4, seed=1))
    assert len(pairs) == 4
    assert all(set(pair) == {"before", "after"} for pair in pairs)
    assert any(pair["before"] != pair["after"] for pair in pairs)
    assert pairs == list(side_by_side(run, "House 3?", num_completions=4, seed=1))
    assert len(next(iter(side_by_side(run, "House 3?", max_new_tokens=1)))["after"]) <= 1
