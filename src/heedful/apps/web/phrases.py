"""Words that do not stand in a template: those of the page's script, reasons to skip, and the instructions to begin with."""

from __future__ import annotations

import functools
from collections.abc import Callable

from heedful.feedback.exchange.downloads import BY_MODE
from heedful.feedback.exchange.rounds import default_instructions as default_instructions

Translate = Callable[[str], str]


def page_words(_: Translate) -> dict[str, str]:
    """Return the words of the labeling page's script; {names} are filled in there."""
    return {
        "notRanked": _("not ranked"),
        "soFar": _("{done} of {total} chosen"),
        "nowRank": _("Response {letter} is now rank {rank}"),
        "nowTied": _("Response {letter} is now rank {rank}, tied with {others}"),
        "nowFails": _("Response {letter} fails"),
        "nowOpen": _("Response {letter} is not ranked"),
        "missing": _("Response {letter} has no choice yet."),
        "better": _("{letter} better than {other}"),
        "tie": _("{letter} tied with {other}"),
        "worse": _("{letter} worse than {other}"),
        "dragging": _("{letter}: drop it on a response"),
        "inMyOrder": _("Show in my order"),
        "asShown": _("Show as before"),
        "saving": _("saving…"),
        "draft": _("draft saved"),
        "unsaved": _("not saved"),
        "submitted": _("submitted"),
        "offline": _("The server cannot be reached. Your answer stays here; submit again in a moment."),
    }


def skip_reasons(_: Translate) -> list[tuple[str, str]]:
    """Return (code, words) of the reasons to skip; the code is what is stored."""
    return [
        ("cannot_judge", _("I cannot judge this")),
        ("upsetting", _("It is upsetting")),
        ("language", _("It is in a language I do not read well")),
        ("broken", _("The text is broken or cut off")),
        ("personal_data", _("It holds somebody's private data")),
        ("other", _("Another reason")),
    ]


@functools.cache
def mode_names(_: Translate) -> list[tuple[str, str]]:
    """Return (mode, words) of what people may be asked to do."""
    return [
        ("ranking", _("rank 2 to 9 completions, with ties and F")),
        ("pairwise", _("choose the better of two")),
        ("thumbs", _("say of each whether it is good or bad")),
        ("rating", _("rate each on a scale")),
        ("demonstration", _("write the best answer, or edit one")),
    ]


def tie_names(_: Translate) -> list[tuple[str, str]]:
    """Return (policy, words) of what is done about ties."""
    return [
        ("allow", _("welcome")),
        ("discourage", _("sparingly: ask once when there are many")),
        ("forbid", _("none")),
    ]


def task_states(_: Translate) -> list[tuple[str, str]]:
    """Return (state, words) of the filter of tasks."""
    return [
        ("all", _("all")),
        ("open", _("answers missing")),
        ("begun", _("begun")),
        ("done", _("done")),
        ("skipped", _("skipped by somebody")),
        ("practice", _("practice")),
        ("gold", _("gold items")),
        ("ruled", _("decided by a manager")),
    ]


def task_orders(_: Translate) -> list[tuple[str, str]]:
    """Return (order, words) of the ways to sort tasks."""
    return [
        ("added", _("as they came in")),
        ("latest", _("answered last")),
        ("missing", _("most answers missing")),
        ("disagreement", _("most disagreement")),
    ]


def journal_kinds(_: Translate) -> dict[str, str]:
    """Return kind of journal line to words, of those that are about one labeler."""
    return {
        "member.joined": _("joined"),
        "member.active": _("taken back"),
        "member.paused": _("paused"),
        "member.excluded": _("excluded"),
        "message.sent": _("was written a message"),
        "user.logged_out": _("was logged out everywhere"),
        "review.looked": _("was looked at by the statistics"),
        "flag.raised": _("was flagged"),
        "flag.decided": _("was decided about after a flag"),
    }


def export_names(_: Translate, mode: str) -> list[tuple[str, str]]:
    """Return (kind, words) of the downloads that make sense for a mode."""
    names = {
        "rankings": _("Rankings (JSON Lines)"),
        "table": _("Table (CSV)"),
        "preferences": _("Pairs for TRL (JSON Lines)"),
        "revisions": _("Every revision (JSON Lines)"),
        "labels": _("Labels for TRL (JSON Lines)"),
        "texts": _("Labeled texts (JSON Lines)"),
        "demonstrations": _("Demonstrations (JSON Lines)"),
        "parquet": _("Everything (Parquet)"),
    }
    return [(kind, names[kind]) for kind in BY_MODE[mode]]


def flag_kinds(_: Translate) -> dict[str, str]:
    """Return diagnosis to words: what a flag found out about a labeler."""
    return {
        "reversed": _("ranks look reversed"),
        "as displayed": _("follows the displayed order"),
        "length habit": _("goes by length"),
        "other criterion": _("seems to go by another criterion"),
        "random/spam": _("looks random"),
        "unclear": _("disagrees, cause unclear"),
    }
