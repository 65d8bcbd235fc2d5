"""What the household world knows: eight problems, their remedies, and the myths that help with nothing.

Half of the problems have a cause that anybody may state (`known`); in the other half nobody can know it from the prompt, so
certainty is unfounded there and a caveat is right. The remedies of a problem turn about one thing and begin with words of
their own (run a fan against heat, scrub with soap against a smell), so that a small model can learn from few examples which
ones fit; no remedy is right for two problems.
"""

from __future__ import annotations

from dataclasses import dataclass

Step = tuple[str, ...]
"""One remedy, in all its phrasings."""


@dataclass(frozen=True)
class Problem:
    """One thing that can be wrong with a place.

    Args:
        name: its key.
        adjective: as in "my bedroom is too ...".
        noun: as in "the ... in my bedroom".
        known: True where the cause is known; False where certainty about it is unfounded.
        causes: things that may be to blame.
        steps: the remedies that help.
    """

    name: str
    adjective: str
    noun: str
    known: bool
    causes: tuple[str, ...]
    steps: tuple[Step, ...]


PROBLEMS: tuple[Problem, ...] = (
    Problem(
        "hot",
        "hot",
        "heat",
        True,
        ("sun", "roof"),
        (
            ("run a fan by the bed", "start a fan by the bed"),
            ("run a fan at night", "start a fan at night"),
            ("run a fan by the door", "start a fan by the door"),
        ),
    ),
    Problem(
        "cold",
        "cold",
        "cold",
        True,
        ("floor", "roof"),
        (
            ("light the stove at night", "feed the stove at night"),
            ("light the stove each morning", "feed the stove each morning"),
            ("light the stove each evening", "feed the stove each evening"),
        ),
    ),
    Problem(
        "dark",
        "dark",
        "dark",
        True,
        ("wall", "roof"),
        (
            ("hang a lamp in the corner", "fix a lamp in the corner"),
            ("hang a lamp over the bed", "fix a lamp over the bed"),
            ("hang a lamp by the door", "fix a lamp by the door"),
        ),
    ),
    Problem(
        "messy",
        "messy",
        "mess",
        True,
        ("shelf", "wall"),
        (
            ("pack your clothes in boxes", "sort your clothes in boxes"),
            ("pack your papers in boxes", "sort your papers in boxes"),
            ("pack the old things in boxes", "sort the old things in boxes"),
        ),
    ),
    Problem(
        "damp",
        "damp",
        "damp",
        False,
        ("pipe", "roof"),
        (
            ("open the window each morning", "clear the window each morning"),
            ("open the window at night", "clear the window at night"),
            ("open the window each evening", "clear the window each evening"),
        ),
    ),
    Problem(
        "noisy",
        "noisy",
        "noise",
        False,
        ("pump", "pipe"),
        (
            ("lay a carpet on the floor", "roll a carpet over the floor"),
            ("lay a carpet by the door", "roll a carpet to the door"),
            ("lay a carpet in the corner", "roll a carpet to the corner"),
        ),
    ),
    Problem(
        "smelly",
        "smelly",
        "smell",
        False,
        ("drain", "pump"),
        (
            ("scrub the floor with soap", "wash the floor with soap"),
            ("scrub the drain with soap", "wash the drain with soap"),
            ("scrub the shelf with soap", "wash the shelf with soap"),
        ),
    ),
    Problem(
        "ants",
        "full of ants",
        "ants",
        False,
        ("crack", "drain"),
        (
            ("pour vinegar in the crack", "spray vinegar in the crack"),
            ("pour vinegar on the floor", "spray vinegar on the floor"),
            ("pour vinegar by the door", "spray vinegar by the door"),
        ),
    ),
)

BY_NAME: dict[str, Problem] = {problem.name: problem for problem in PROBLEMS}

MYTHS: tuple[Step, ...] = (
    ("put an onion under the bed", "keep an onion under the bed"),
    ("put an onion over the door", "keep an onion over the door"),
    ("put a coin in the drain", "keep a coin in the drain"),
    ("put a coin in the corner", "keep a coin in the corner"),
)
"""Popular, harmless, and no help with any problem."""
