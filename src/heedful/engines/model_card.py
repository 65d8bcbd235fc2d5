"""README.md of an exported model: what it is, from what, on which data, with which figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from heedful.engines.aligned import Aligned
from heedful.records.artifacts import Artifact

CARD = "README.md"
FRONT = """---
library_name: transformers
tags: [rlhf, ppo, heedful]
{base}---
"""


def card(run: Path, found: Aligned, model: Any) -> str:
    """Return the model card as Markdown.

    Args:
        run: the run's folder; the figures come from its `summary.json`, where there is one.
        found: the aligned model.
        model: the merged model.
    """
    summary = _summary(run)
    lineage = found.lineage()
    title = summary.get("title") or run.resolve().name
    base = _base(lineage)
    generated = bool(summary.get("generated")) or any(artifact.facts.get("generated") for artifact in lineage)
    parts = [
        FRONT.format(base=f"base_model: {base}\n" if base is not None and not base.startswith((".", "/", "~")) else ""),
        f"# {title}{' (generated data)' if generated and 'generated' not in title.lower() else ''}\n",
        _what(found, model, base),
        _data(lineage, generated),
        _figures(summary, generated),
        _lineage(lineage),
    ]
    return "\n".join(part for part in parts if part)


def _what(found: Aligned, model: Any, base: str | None) -> str:
    config = found.after.manifest["config"]
    size = sum(parameter.numel() for parameter in model.parameters())
    method = "adapters (LoRA), merged" if config["policy"]["method"] == "lora" else "all weights"
    origin = base or "a model trained from scratch"
    return (
        f"A language model ({type(model).__name__}, {size:,} weights) aligned with Heedful "
        f"{found.after.manifest['versions'].get('heedful', '')}: PPO raised a reward while a KL penalty held the model to the one "
        f"it started from ({origin}). Trained: {method}; iterations: {found.after.metrics.get('iterations')}.\n\n"
        "It was optimised against one reward and is no better than what that reward can see. "
        "The figures below are all that was measured.\n"
    )


def _data(lineage: list[Artifact], generated: bool) -> str:
    lines = ["## Data", ""]
    for artifact in lineage:
        if artifact.stage == "data":
            config = artifact.manifest["config"]
            sources = config.get("sources") or []
            names = [str(source.get("hub") or Path(str(source.get("path"))).name) for source in sources]
            lines += [f"- {name}" for name in dict.fromkeys(names)]
            lines += [f"- generated world: {config['world']}"] if config.get("world") else []
    if generated:
        lines.append("\nThis is generated data: the figures say how well the method works, not how good the model is.")
    return "\n".join([*lines, ""])


def _figures(summary: dict[str, Any], generated: bool) -> str:
    rows = [(name, value) for name, value in summary.items() if isinstance(value, dict) and "before" in value]
    if not rows:
        return "## Figures\n\nNothing was evaluated.\n"
    where = "held-out prompts, generated data" if generated else "held-out prompts"
    lines = [f"## Figures ({where}; 95 % intervals)", ""]
    lines += [f"{summary['verdict']}", ""] if summary.get("verdict") else []
    lines += ["| outcome | judged by | before | after | change |", "|---|---|--:|--:|--:|"]
    for name, value in rows:
        cells = " | ".join(_cell(value[side]) for side in ("before", "after", "change"))
        lines.append(f"| {name} | {value.get('by', '')} | {cells} |")
    if isinstance(summary.get("kl"), dict):
        lines += ["", f"KL to the initial model: {summary['kl']['per_sequence']:.2f} nats per sequence."]
    return "\n".join([*lines, ""])


def _cell(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _lineage(lineage: list[Artifact]) -> str:
    lines = [f"- {artifact.stage} `{artifact.digest}`" for artifact in lineage]
    return "\n".join(["## Made from", "", *lines, ""])


def _base(lineage: list[Artifact]) -> str | None:
    """Return the model that supervised fine-tuning started from; None where that was from scratch."""
    for artifact in lineage:
        if artifact.stage == "sft" and artifact.manifest["config"].get("model"):
            return str(artifact.manifest["config"]["model"])
    return None


def _summary(run: Path) -> dict[str, Any]:
    try:
        found = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
