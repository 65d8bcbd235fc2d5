"""The records: one line of JSON each, one schema each, shared by all stages.

Every label says who or what gave it (`by`), when, and in which displayed order. Ids are strings. A prompt is text or a list of
chat messages; everything else that came with a prompt travels in `meta`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Meta = dict[str, JsonValue]


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str


Prompt = str | tuple[Message, ...]
"""What the model is asked: text, or the turns of a chat."""


class Record(BaseModel):
    """What all records share: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptRecord(Record):
    """A prompt to be answered."""

    id: str
    prompt: Prompt
    meta: Meta = {}


class Demonstration(Record):
    """A prompt with an answer worth learning from (supervised fine-tuning)."""

    id: str
    prompt: Prompt
    completion: str
    by: str | None = None
    source: str | None = None
    meta: Meta = {}


class Completion(Record):
    """One sampled answer. `finished` is False where the model ran into the length limit before an EOS."""

    id: str
    prompt_id: str
    prompt: Prompt
    completion: str
    index: Annotated[int, Field(ge=0)] = 0
    finished: bool = True
    num_tokens: int | None = None
    source: str | None = None
    meta: Meta = {}


class Unanswered(Record):
    """What a model was asked for and did not give, and why."""

    id: str
    prompt_id: str | None = None
    """None where new prompts were asked for; `prompt` is then the list that was to be gone on with."""
    prompt: Prompt
    index: Annotated[int, Field(ge=0)] = 0
    skipped: str
    """The kind of the skip, and its particulars: "timeout: no answer within 60 s, 5 times"."""
    by: str
    """The model."""


class Revision(Record):
    """One round of critique and revision of an answer; `skipped` says why its revision is not learned from."""

    id: str
    prompt_id: str
    prompt: Prompt
    completion_id: str
    """The answer of the first round."""
    round: Annotated[int, Field(ge=1)]
    answer: str
    """What was criticised: the first answer, or the last revision that a round could go on from."""
    principle: str
    critique: str | None = None
    revision: str | None = None
    skipped: str | None = None
    """The kind of the skip, and its particulars: "unchanged", "context: 1200 tokens and 128 to follow, ..."."""
    prefixed: bool = False
    """True where an announcement such as "Here is a revised response:" was taken off the revision."""
    harm_before: float | None = None
    """Of `answer`; None without a scorer."""
    harm: float | None = None
    """Of `revision`, whatever became of it."""
    scores_before: dict[str, float | None] = {}
    """The scores of `answer` by part, unweighted; empty where the scorer has no parts, None where a part had no score."""
    scores: dict[str, float | None] = {}
    """Of `revision`."""
    by: str
    version: str
    """Digest of what decides what the writer writes."""
    constitution: str
    """Digest of the constitution."""


class Ranking(Record):
    """One labeler's answer to one task: groups of completion ids, best first; a group of several is a tie.

    `fails` holds the ids marked F: worse than every unmarked completion, tied with each other. They do not appear in `ranking`.
    """

    task_id: str
    prompt: Prompt
    completions: dict[str, str]
    """Completion id to text."""
    ranking: tuple[tuple[str, ...], ...]
    fails: tuple[str, ...] = ()
    labeler: str
    criterion: str
    displayed_order: tuple[str, ...] = ()
    created: str | None = None
    """ISO 8601; None for simulated labelers, whose records must not depend on the clock."""
    seconds: float | None = None
    source: str | None = None
    meta: Meta = {}


class Consensus(Record):
    """The exact Kemeny consensus of one task's rankings."""

    task_id: str
    prompt: Prompt
    completions: dict[str, str]
    ranking: tuple[tuple[str, ...], ...]
    fails: tuple[str, ...] = ()
    cost: float
    unique: bool
    margin: float | None = None
    """What the second best weak order costs more, in pairs; 0 where another is as good, None where there is no other."""
    labelers: tuple[str, ...]
    criterion: str


class Preference(Record):
    """A pair, preferred first. `p` is P(chosen is better), in [0.5, 1]: the share of consensus that the trainer learns from."""

    prompt: Prompt
    chosen: str
    rejected: str
    p: Annotated[float, Field(ge=0.5, le=1.0)] = 1.0
    wins: float = 1.0
    ties: float = 0.0
    n: float = 1.0
    task_id: str
    criterion: str | None = None
    source: str | None = None
    by: str | None = None
    """Labeler or judge; where several spoke "labelers" (their votes on the pair) or "consensus" (the order they agree on)."""
    principle: str | None = None
    order: str | None = None
    margin: float | None = None
    meta: Meta = {}


class Verdict(Record):
    """What a judge said about two completions in one order by one principle, as it was read; or why there is none (`skipped`).

    A preference model has no principle, no constitution and no options: it gives scores.
    """

    task_id: str
    a: str
    """Id of the completion shown as (A)."""
    b: str
    """Id of the completion shown as (B)."""
    principle: str | None = None
    """None of a preference model."""
    p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """P(A is better), before any clamping."""
    logprobs: tuple[float, float] | None = None
    """Of the two options, in nats, not normalised; None where the judge gave votes."""
    votes: tuple[int, int] | None = None
    """How often each option was sampled, where the judge gives no log-probs."""
    scores: tuple[float, float] | None = None
    """A preference model's, in reward units."""
    thought: str | None = None
    skipped: str | None = None
    """The kind of the skip, and its particulars: "context: 1200 tokens, the judge's context is 1024"."""
    judge: str
    judge_version: str
    constitution: str | None = None
    """Digest of the constitution; None of a preference model."""


class LabeledText(Record):
    """A completion with a class label: what a classifier learns from. `label` is True for the wanted class."""

    id: str
    prompt: Prompt = ""
    completion: str
    label: bool
    source: str | None = None
    group: str | None = None
    """Rows of one group stay on one side of a split (a template, an author)."""
    meta: Meta = {}


class RatedText(Record):
    """A completion with a number that says how good, or how harmful, it is: what a regression learns from."""

    id: str
    prompt: Prompt = ""
    completion: str
    rating: Annotated[float, Field(allow_inf_nan=False)]
    by: str | None = None
    source: str | None = None
    group: str | None = None
    """Rows of one group stay on one side of a split."""
    meta: Meta = {}


class Outcome(Record):
    """One scored completion of the initial (`before`) or the aligned (`after`) model."""

    prompt_id: str
    prompt: Prompt
    completion: str
    model: Literal["before", "after"]
    index: int = 0
    outcomes: dict[str, float]
    meta: Meta = {}
