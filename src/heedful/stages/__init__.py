"""The stages: one verb per file, each a frozen `Config` and a `run()`. This list is the only place where they are named."""

from __future__ import annotations

STAGES = {
    "data": "heedful.stages.data",
    "sft": "heedful.stages.sft",
    "sample": "heedful.stages.sample",
    "red_team": "heedful.stages.red_team",
    "revise": "heedful.stages.revise",
    "collect": "heedful.stages.collect",
    "consensus": "heedful.stages.consensus",
    "ai_feedback": "heedful.stages.ai_feedback",
    "reward": "heedful.stages.reward",
    "compare": "heedful.stages.compare",
    "align": "heedful.stages.align",
    "evaluate": "heedful.stages.evaluate",
    "report": "heedful.stages.report",
}
"""Verb to module; a module is imported when its stage is asked for."""
