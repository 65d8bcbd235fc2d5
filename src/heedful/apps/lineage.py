"""Lineage: any artifact back to its data, as a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from heedful.apps.headlines import headline
from heedful.apps.run_folder import RUN, artifacts_of
from heedful.errors import ArtifactError
from heedful.records.artifacts import Artifact

SHORT = 12
"""Hex digits of a digest that people see."""


def open_any(path: Path) -> Artifact:
    """Return the artifact at a path; of a run's folder, its last one."""
    if (path / RUN).is_file():
        return list(artifacts_of(path).values())[-1]
    return Artifact.open(path)


def lineage(artifact: Artifact) -> Iterator[str]:
    """Yield the lines of an artifact's lineage; what was shown before is only named again."""
    yield _line(artifact)
    yield from _branches(artifact, "", {artifact.digest})


def _branches(artifact: Artifact, indent: str, shown: set[str]) -> Iterator[str]:
    outside = [f"{name}  {_short(digest)}" for name, digest in artifact.manifest["external"].items()]
    inputs = list(artifact.inputs.items())
    for number, (role, reference) in enumerate(inputs):
        last = number == len(inputs) - 1 and not outside
        branch, deeper = ("`- ", "   ") if last else ("|- ", "|  ")
        if reference["digest"] in shown:
            yield f"{indent}{branch}{role}: {reference['stage']} {reference['digest'][:SHORT]}  (above)"
            continue
        shown.add(reference["digest"])
        try:
            source = Artifact.open(artifact.path.parent / reference["path"])
        except ArtifactError:
            yield f"{indent}{branch}{role}: {reference['stage']} {reference['digest'][:SHORT]}  (gone)"
            continue
        altered = "  (made again since, with other content)" if source.content_digest != reference["content"] else ""
        yield f"{indent}{branch}{role}: {_line(source)}{altered}"
        yield from _branches(source, indent + deeper, shown)
    for number, text in enumerate(outside):
        yield f"{indent}{'`- ' if number == len(outside) - 1 else '|- '}{text}"


def _short(digest: str) -> str:
    """A sha256 cut short; other marks of what is outside, such as a version, as they are."""
    return f"sha256 {digest[:SHORT]}" if re.fullmatch(r"[0-9a-f]{64}", digest) else digest


def _line(artifact: Artifact) -> str:
    return f"{artifact.stage} {artifact.digest[:SHORT]}  {headline(artifact)}".rstrip()
