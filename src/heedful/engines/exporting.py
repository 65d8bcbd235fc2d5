"""The aligned model as a plain transformers folder: adapters merged, tokenizer, generation config, model card. And to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from heedful.engines.aligned import Aligned, aligned_in
from heedful.engines.model_card import CARD, card
from heedful.errors import ConfigError, ModelError
from heedful.models.loading import load_tokenizer, stop_ids
from heedful.models.opening import base_of, open_model


def export(run_folder: Path, folder: Path) -> Path:
    """Write the aligned model of a run into `folder`, for `AutoModel...from_pretrained`; return the folder.

    Args:
        run_folder: what `heed run` made, or an `align` artifact.
        folder: new or empty.

    Raises:
        ArtifactError: nothing was aligned in the run.
        ConfigError: the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there and not empty; choose a new folder to export to")
    found = aligned_in(run_folder)
    model = _merged(found.after.file("model"))
    tokenizer = load_tokenizer(_tokenizer_of(found.after.file("model")))
    model.generation_config = _generation(found, model, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    (folder / CARD).write_text(card(run_folder, found, model), encoding="utf-8")
    return folder


def push(folder: Path, repo: str) -> str:
    """Upload a model folder, or the export of a run's folder, to a model hub; return its address there.

    Args:
        folder: from `export`; of a run's folder an export is made for the upload.
        repo: "name/model"; made where it is absent.

    Raises:
        ModelError: the hub cannot be reached, or refuses.
    """
    import tempfile

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (folder / "config.json").is_file():
        with tempfile.TemporaryDirectory() as beside:
            return push(export(folder, Path(beside) / "model"), repo)
    hub = HfApi()
    try:
        hub.create_repo(repo, exist_ok=True)
        return str(hub.upload_folder(repo_id=repo, folder_path=str(folder)))
    except HFValidationError as error:
        raise ModelError(f"{repo}: not a name that a hub takes; give one such as name/model") from error
    except HfHubHTTPError as error:
        raise ModelError(f"{repo}: the hub refused ({_first_line(error)}); log in with `hf auth login`") from error
    except Exception as error:  # no network has a dozen exceptions, of the hub's library and of those below it
        raise ModelError(
            f"{repo}: the hub could not be reached ({_first_line(error)}); check network and name"
        ) from error


def _merged(folder: Path) -> Any:
    model: Any = open_model(folder)
    return model.merge_and_unload() if hasattr(model, "peft_config") else model


def _tokenizer_of(folder: Path) -> str:
    return str(folder) if (folder / "tokenizer_config.json").is_file() else base_of(folder)[0]


def _generation(found: Aligned, model: Any, tokenizer: Any) -> GenerationConfig:
    """Return the sampling that the model was trained with: pure, at its temperature, up to its length."""
    config = GenerationConfig.from_model_config(model.config)
    config.update(
        do_sample=True,
        temperature=float(found.rollout["temperature"]),
        top_k=0,
        top_p=1.0,
        max_new_tokens=int(found.rollout["max_new_tokens"]),
        eos_token_id=sorted(stop_ids(model, tokenizer)),
        pad_token_id=tokenizer.pad_token_id,
    )
    return config


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
