"""Foreign text in our messages."""

from __future__ import annotations

import pytest

from dpunetop.base.quoting import quoted, sentence

SENTENCES = {
    "as it was said": ("user is not allowed: [a b]", '"user is not allowed: [a b]"'),
    "with quotes": ('user "u" may not', "\"user 'u' may not\""),
    "with what a terminal obeys": ("a\x1b[2Jb\nc\u202e", '"a?[2Jb?c?"'),
    "too long, of one word": ("a" * 300, '"' + "a" * 196 + ' ..."'),
    "too long": ("word " * 100, '"' + "word " * 39 + '..."'),
}


@pytest.mark.parametrize(("said", "shown"), SENTENCES.values(), ids=SENTENCES.keys())
def test_a_sentence_is_shown(said: str, shown: str) -> None:
    assert sentence(said) == shown


@pytest.mark.parametrize("text", ["\n", "\x1b[31m", "\u202e", "a" * 10_000, "\ud800", '"; rm'])
def test_a_quoted_text_is_one_short_line_of_usual_characters(text: str) -> None:
    shown = quoted(text, 20)
    assert len(shown) <= 20 + len('"..."')
    assert shown.isascii()
    assert shown.isprintable()
    assert '"' not in shown[1:-1]
