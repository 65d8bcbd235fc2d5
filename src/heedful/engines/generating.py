"""New prompts for an attack: lists are gone on with until there are enough new ones, or enough was tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from heedful.engines.map import map_shards
from heedful.engines.progress import say
from heedful.engines.proposing import GENERATED, ORIGIN, Collected, attempts, example_of, read_items
from heedful.engines.skipping import Skips
from heedful.errors import HealthError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.types import Completion, PromptRecord, Unanswered

if TYPE_CHECKING:
    from heedful.stages.red_team import Config

SHARD_LISTS = 32
