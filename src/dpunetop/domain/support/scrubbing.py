"""Removes everything that looks like a secret from text of any origin: logs, messages, values of annotations."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping

_LEAST_VALUE, _LEAST_WORD = 8, 12
"""Characters: shorter texts occur in logs for other reasons."""
_LONGEST_VALUE = 4096
_MOST_KNOWN = 10_000
_LONGEST_RUN = 31
"""Longer runs of letters and digits are tokens, keys or hashes, unless they are names."""
_LONGEST_PART = 20
"""Of a name between its dashes: a longer part is no word, and no hash that Kubernetes appends."""
_WORD = re.compile(r"[A-Za-z0-9+/_.~-]+")
_LETTERS = re.compile(r"[A-Za-z./-]+")
_NAME = re.compile(r"[a-z0-9/_.-]+")
_HEX = re.compile(r"[0-9a-f]+")
_BLANKS = re.compile(r"\s+")
_SHOWN = re.compile(r"<[0-9]{1,12} characters>")
_SEPARATORS = frozenset({":", "=", ":=", "=>"})
_SCHEMES = frozenset({"bearer", "basic"})
_SECRET_NAMES = (
    *("password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "keydata", "certificatedata"),
    *("credential", "accesskey"),
)
_PEM_BEGINS, _PEM_ENDS = "-----BEGIN ", "-----END "
_ENDS_OF_A_VALUE = " \t\r\n,;&}])\"'"
_PARTS_OF_A_FILE = str.maketrans(dict.fromkeys("\"',{}[]", " "))


class Scrubber:
    """Removes secrets from text: known ones, wherever they occur, and everything that looks like one.

    Guarantees: the replacement says how long the secret was, and nothing else; the time is linear in the text, whatever
        its content.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known` are values of Secrets: each, and each word of it that is no name, is removed from every text, also in
        base64."""
        words = {word for value in known for word in _words(value)}
        forms = words | {_encoded(word) for word in words}
        self._known = sorted(forms, key=len, reverse=True)[:_MOST_KNOWN]  # a longer one first, which may hold another

    def text(self, text: str) -> str:
        """The text without secrets."""
        found = text
        for word in self._known:
            if word in found:
                found = found.replace(word, size_of(word))
        return "".join(_without_secrets("".join(_without_pem(found))))

    def tree(self, value: object) -> object:
        """A document, each of its texts without secrets; keys too."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(key)): self.tree(each) for key, each in value.items()}
            case list() | tuple():
                return [self.tree(each) for each in value]
            case _:
                return value


def size_of(text: object) -> str:
    """The placeholder for a text."""
    return f"<{len(str(text))} characters>"


def as_text(value: object) -> str:
    """A document as it is written into an archive."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, default=str) + "\n"


def _without_pem(text: str) -> Iterator[str]:
    """PEM blocks are removed whole, also those that are cut off."""
    at = 0
    while (start := text.find(_PEM_BEGINS, at)) >= 0:
        yield text[at:start]
        end = text.find(_PEM_ENDS, start)
        line = text.find("\n", end) if end >= 0 else -1
        at = len(text) if end < 0 or line < 0 else line
        yield size_of(text[start:at])
    yield text[at:]


def _without_secrets(text: str) -> Iterator[str]:
    """Word by word; the text between two words tells whether the first is the name of the second."""
    at, name = 0, ""
    for word in _WORD.finditer(text):
        if word.start() < at:
            continue  # within a value that is removed already
        between = text[at : word.start()]
        end = _end_of_secret(text, word, name, between)
        yield between
        yield word.group() if end is None else _gone(text[word.start() : end])
        at, name = word.end() if end is None else end, word.group() if end is None else ""
    yield text[at:]


def _gone(text: str) -> str:
    return size_of(text)


def _end_of_secret(text: str, word: re.Match[str], name: str, between: str) -> int | None:
    """The end of the secret that begins with this word; None: none begins."""
    bare = between.translate(_NO_QUOTES).strip()
    if bare in _SEPARATORS and _is_secret_name(name) and not _is_size(text, word):
        return _end_of_value(text, word.start(), between)
    if name.lower() in _SCHEMES and bare in ("", ":") and between:
        return word.end()
    if word.group().startswith("//") and (ends := _end_of_user(text, word.start() + 2)) is not None:
        return ends
    before = text[max(0, word.start() - 7) : word.start()]
    return word.end() if _has_a_run(word.group(), before) else None


_NO_QUOTES = str.maketrans(dict.fromkeys("\"'\\"))


def _is_secret_name(name: str) -> bool:
    """Not a path of the API, such as `secrets/tenant-1`."""
    if "/" in name:
        return False
    plain = name.lower().replace("_", "").replace("-", "").replace(".", "")
    return any(each in plain for each in _SECRET_NAMES)


def _is_size(text: str, word: re.Match[str]) -> bool:
    return word.start() > 0 and _SHOWN.match(text, word.start() - 1) is not None


def _end_of_value(text: str, start: int, between: str) -> int:
    """The end of a value: its closing quote, else the first character that ends any word."""
    quote = next((each for each in reversed(between) if each in "\"'"), "")
    limit = min(len(text), start + _LONGEST_VALUE)
    if quote and between.rstrip().endswith(quote):
        end = text.find(quote, start, limit)
        return limit if end < 0 else end
    return next((at for at in range(start, limit) if text[at] in _ENDS_OF_A_VALUE), limit)


def _end_of_user(text: str, start: int) -> int | None:
    """The end of the user part of a URL, before its `@`."""
    for at in range(start, min(len(text), start + 200)):
        if text[at] == "@":
            return at
        if text[at] in "/ \t\r\n\"'":
            return None
    return None


def _has_a_run(word: str, before: str) -> bool:
    """Whether a word contains a long run, as in tokens and keys, that is no digest, UID or name."""
    if word.startswith(("eyJ", "ewo")) and "." in word:
        return True
    if before.endswith(("sha256:", "sha512:")) and _HEX.fullmatch(word):
        return False
    return any(len(part) > _LONGEST_RUN and not _is_name(part) for part in word.split("."))


def _is_name(text: str) -> bool:
    if _LETTERS.fullmatch(text):
        return True
    parts = text.replace("/", "-").replace("_", "-").replace(".", "-").split("-")
    return _NAME.fullmatch(text) is not None and all(len(part) <= _LONGEST_PART for part in parts)


def _words(value: str) -> Iterator[str]:
    """A value of a Secret, each value in it under a name such as `token`, and its words that are no names. Of a
    kubeconfig neither the server's address nor the names of its parts."""
    if _LEAST_VALUE <= len(value.strip()) <= _LONGEST_VALUE:
        yield value.strip()
    name = ""
    for word in _BLANKS.split(value.translate(_PARTS_OF_A_FILE)):
        bare = word.strip(":")
        is_named = _is_secret_name(name) and len(bare) >= _LEAST_VALUE
        if is_named or (len(bare) >= _LEAST_WORD and "://" not in bare and not _is_name(bare)):
            yield bare
            yield from _decoded(bare)
        name = bare or name  # only a colon separates a name from its value


def _decoded(word: str) -> Iterator[str]:
    try:
        text = base64.b64decode(word, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return
    yield from (line for line in text.split() if len(line) >= _LEAST_WORD and not _is_name(line))


def _encoded(word: str) -> str:
    return base64.b64encode(word.encode()).decode().rstrip("=")[:-1]  # its last character depends on what follows
