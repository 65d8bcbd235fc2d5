"""What counts as a word where texts are compared: what white space parts, and each character of a script that has none.

Lower-cased. Chinese and Japanese are read character by character, as sacreBLEU's "zh" and "char" do (Post 2018, arXiv:1804.08771),
and so are Thai, Lao, Burmese, Khmer and Tibetan; Korean puts blanks between its words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff5b-\uff65"  # their punctuation
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_NEEDLESS_BLANK = re.compile(rf"(?<=[{_UNSPACED}]) (?=[{_UNSPACED}])")


def words_of(text: str) -> list[str]:
    """Return the words of a text, lower-cased, with the punctuation that touches them."""
    lowered = text.lower()
    return lowered.split() if lowered.isascii() else _WORD.findall(lowered)


def joined(words: Sequence[str]) -> str:
    """Return words as one would write them, with a blank where the script has blanks; `words_of` parts them again."""
    text = " ".join(words)
    return text if text.isascii() else _NEEDLESS_BLANK.sub("", text)
