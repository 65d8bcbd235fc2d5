"""Artifacts: folders with a manifest, named by a digest of everything that went into them.

A folder is made beside (`<digest>.work`), its files are hashed and synced, the manifest is written last, the folder is renamed.
So an artifact is complete if and only if its manifest exists and its hashes hold; a kill at any moment leaves either a
workspace to go on with or a finished artifact, never half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue

from heedful.errors import ArtifactError
from heedful.records.files import sha256_file, sha256_json, write_json
from heedful.records.jsonl import read_records
from heedful.records.types import Record
from heedful.records.workspace import FORMAT, MANIFEST, STATS, Workspace, file_stats

__all__ = ["Artifact", "Identity", "Workspace"]

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Artifact:
    """A finished folder.

    Args:
        path: the folder, without symbolic links.
        manifest: what `manifest.json` says: stage, digest, config, seed, inputs, files, metrics, facts, versions, device.
        content_digest: sha256 of the manifest's bytes; through the file hashes in it, of everything in the folder.
    """

    path: Path
    manifest: dict[str, Any]
    content_digest: str

    @classmethod
    def open(cls, path: Path | str) -> Artifact:
        """Open a finished artifact; its hashes are not checked here (see `verify`).

        Raises:
            ArtifactError: there is no manifest, or it cannot be read.
        """
        folder = Path(path).resolve()
        if not folder.is_dir():
            raise ArtifactError(f"{path}: no such artifact; give the folder that holds a {MANIFEST}")
        if not (folder / MANIFEST).is_file():
            raise ArtifactError(f"{path}: not a finished artifact, it has no {MANIFEST}; run its recipe again")
        raw = (folder / MANIFEST).read_bytes()
        return cls(folder, _manifest(raw, folder / MANIFEST), hashlib.sha256(raw).hexdigest())

    @property
    def stage(self) -> str:
        """The stage that made it."""
        return str(self.manifest["stage"])

    @property
    def digest(self) -> str:
        """The digest of everything that went into it: its folder's name."""
        return str(self.manifest["digest"])

    @property
    def metrics(self) -> dict[str, JsonValue]:
        """The figures its stage gave."""
        return dict(self.manifest["metrics"])

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What the stage found or decided on the way."""
        return dict(self.manifest["facts"])

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        """Role to {stage, digest, content, path}; paths are relative to the store."""
        return dict(self.manifest["inputs"])

    def file(self, name: str) -> Path:
        """Return the path of a file or folder inside; ArtifactError says what is there if it is absent."""
        path = self.path / name
        if not path.exists():
            there = ", ".join(sorted({known.split("/")[0] for known in self.manifest["files"]}))
            raise ArtifactError(
                f"{self.path}: the '{self.stage}' artifact has no '{name}'; it has {there or 'no files'}"
            )
        return path

    def records(self, name: str, kind: type[R]) -> list[R]:
        """Return the records of `name`.jsonl."""
        return read_records(self.file(f"{name}.jsonl"), kind)

    def verify(self, *, quick: bool = False) -> None:
        """Hash every file again.

        Args:
            quick: trust files whose size and time of change are as they were when last hashed.

        Raises:
            ArtifactError: a file is missing or altered; names it.
        """
        stats = file_stats(self.path, self.manifest["files"])
        if quick and stats == _known_stats(self.path):
            return
        for name, expected in self.manifest["files"].items():
            path = self.path / name
            if not path.is_file():
                raise ArtifactError(f"{path}: missing from a finished artifact; its manifest lists it")
            if sha256_file(path) != expected:
                raise ArtifactError(f"{path}: altered since the artifact was finished; its hash does not hold")
        with contextlib.suppress(OSError):  # a store that is read only is hashed again each time
            write_json(self.path / STATS, stats)


@dataclass(frozen=True)
class Identity:
    """Everything that decides what an artifact will be, known before it is made.

    Args:
        stage: the verb.
        version: the stage's VERSION.
        config: its resolved settings.
        seed: its own seed.
        inputs: role to finished artifact.
        external: name to digest of files or functions outside.
        versions: library to version.
        device: device class, such as "cpu".
        heedful: our own version; recorded, not part of the digest (a stage's VERSION is).
    """

    stage: str
    version: int
    config: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, Artifact] = field(default_factory=dict)
    external: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    heedful: str = ""

    @property
    def digest(self) -> str:
        """The artifact's name: sha256 over all of it, inputs by the digests of their manifests; the first 20 hex digits."""
        parts = self._shared()
        return sha256_json({**parts, "inputs": {k: v.content_digest for k, v in self.inputs.items()}})[:20]

    def manifest(self, store: Path | None = None) -> dict[str, Any]:
        """Return what a manifest says before anything was made; the inputs' paths are relative to `store`."""
        return {
            **self._shared(),
            "format": FORMAT,
            "digest": self.digest,
            "inputs": {role: _reference(artifact, store) for role, artifact in self.inputs.items()},
            "versions": {**self.versions, "heedful": self.heedful},
        }

    def _shared(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "version": self.version,
            "config": dict(self.config),
            "seed": self.seed,
            "external": dict(self.external),
            "versions": dict(self.versions),
            "device": self.device,
        }


def _reference(artifact: Artifact, store: Path | None) -> dict[str, str]:
    inside = store is None or artifact.path.parent == store.resolve()
    return {
        "stage": artifact.stage,
        "digest": artifact.digest,
        "content": artifact.content_digest,
        "path": artifact.path.name if inside else os.path.relpath(artifact.path, store),
    }


def _manifest(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
        known = manifest["format"]
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"{path}: not a manifest of ours; run the recipe again") from None
    if known != FORMAT:
        raise ArtifactError(f"{path}: format {known}, this version reads format {FORMAT}; run the recipe again")
    return dict(manifest)


def _known_stats(folder: Path) -> object:
    try:
        return json.loads((folder / STATS).read_text())
    except (OSError, ValueError):
        return None
