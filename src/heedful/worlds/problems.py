"""What the household world knows: eight problems, their remedies, and the myths that help with nothing.

Half of the problems have a cause that anybody may state (`known`); in the other half nobody can know it from the prompt, so
certainty is unfounded there and a caveat is right. Many remedies are mirror images of each other ("close the curtains by
day" helps against heat, "open the curtains by day" against cold): which one is right is not to be told from the words alone.
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
            ("close the curtains by day", "keep the curtains closed by day"),
            ("open the window at night", "keep the window open at night"),
            ("put a fan by the door", "let a fan run by the door"),
        ),
    ),
    Problem(
        "cold",
        "cold",
        "cold",
        True,
        ("floor", "heater"),
        (
            ("open the curtains by day", "keep the curtains open by day"),
            ("close the window at night", "keep the window closed at night"),
            ("put a heater by the bed", "let a heater run by the bed"),
        ),
    ),
    Problem(
        "dark",
        "dark",
        "dark",
        True,
        ("lamp", "wall"),
        (
            ("paint the walls white", "use white paint on the walls"),
            ("hang a mirror by the window", "put a mirror by the window"),
            ("put a lamp in the corner", "use a lamp in the corner"),
        ),
    ),
    Problem(
        "messy",
        "messy",
        "mess",
        True,
        ("shelf", "cupboard"),
        (
            ("put your things in boxes", "keep your things in boxes"),
            ("give old clothes away", "sell the old clothes"),
            ("tidy up each evening", "tidy the table each evening"),
        ),
    ),
    Problem(
        "damp",
        "damp",
        "damp",
        False,
        ("pipe", "roof", "wall"),
        (
            ("pull the bed away from the wall", "move the cupboard away from the wall"),
            ("dry the clothes outside", "hang the clothes outside"),
            ("let air in each morning", "open all windows each morning"),
        ),
    ),
    Problem(
        "noisy",
        "noisy",
        "noise",
        False,
        ("pump", "fan", "pipe"),
        (
            ("put felt under the chairs", "glue felt under the chairs"),
            ("lay a thick carpet on the floor", "put a thick carpet on the floor"),
            ("oil the door each month", "put oil on the door"),
        ),
    ),
    Problem(
        "smelly",
        "smelly",
        "smell",
        False,
        ("drain", "bin", "carpet"),
        (
            ("empty the bin each evening", "take the bin out each evening"),
            ("pour hot water in the drain", "clean the drain with hot water"),
            ("wash the bin with soap", "clean the bin with soap"),
        ),
    ),
    Problem(
        "ants",
        "full of ants",
        "ants",
        False,
        ("crack", "door", "bin"),
        (
            ("keep the food in closed jars", "put the food in closed jars"),
            ("fill the crack in the wall", "close the crack in the wall"),
            ("wipe the floor with vinegar", "clean the floor with vinegar"),
        ),
    ),
)

BY_NAME: dict[str, Problem] = {problem.name: problem for problem in PROBLEMS}

MYTHS: tuple[Step, ...] = (
    ("put an onion under the bed", "keep an onion under the bed"),
    ("put a bowl of salt on the shelf", "keep a bowl of salt on the shelf"),
    ("hang garlic over the door", "hang garlic by the window"),
    ("paint the door blue", "use blue paint on the door"),
    ("put a coin in the drain", "keep a coin in the drain"),
)
"""Popular, harmless, and no help with any problem."""
