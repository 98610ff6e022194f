"""Text that nobody vouches for, without what looks like a secret: logs, messages, values of annotations."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping

_LEAST_VALUE, _LEAST_WORD = 8, 12
"""Characters: what is shorter may well be in a log for another reason."""
_MOST_WORDS = 5000
_LONGEST_VALUE = 4096
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.DOTALL)
_BEARER = re.compile(r"(?i)\b(bearer|basic)[ :=]+[A-Za-z0-9._~+/=-]{4,}")
_JWT = re.compile(r"\be[wy][A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_USERINFO = re.compile(r"//[^/\s\"'@]{1,200}@")
_NAMED = re.compile(
    r"""(?ix)
    ([a-z0-9_.-]{0,40}
     (?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|private[_-]?key|key[_-]data|certificate[_-]data|credential)
     [a-z0-9_.-]{0,20}\\?["']?\s*[:=]\s*)
    ( \\"[^"]{0,4000}" | "[^"]{0,4000}" | '[^']{0,4000}' | [^\s,;"'}\]]{1,4000} )
    """
)
_RUN = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{32,}(?![A-Za-z0-9+/_-])")
_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[a-z0-9/_-]+|[A-Za-z]+")
_DIGEST = re.compile(r"sha(?:256|512):[0-9a-f]{64,128}")
_LONGEST_PART = 20
"""Of a name between its dashes: longer is no word, and no hash that Kubernetes puts behind one."""
_SHOWN_SIZE = re.compile(r"""["']?<[0-9]+ characters>["']?""")
_PLAIN_WORD = re.compile(r"[A-Za-z./-]+")


class Scrubber:
    """Takes secrets out of text: those that are known, wherever they stand, and whatever has the look of one.

    Guarantees: what it puts in their place says how much was there, and nothing else.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known` are values of Secrets: each, and each word of it that is no plain word, is taken out of every text,
        also in base64."""
        words = {word for value in known for word in _words(value)}
        forms = words | {_encoded(word) for word in words}
        self._known = sorted(forms, key=len, reverse=True)[: 2 * _MOST_WORDS]  # one that holds another goes whole

    def text(self, text: str) -> str:
        """The text without secrets."""
        found = text
        for word in self._known:
            if word in found:
                found = found.replace(word, size_of(word))
        found = _PEM.sub(_gone, found)
        found = _JWT.sub(_gone, found)
        found = _BEARER.sub(lambda match: f"{match.group(1)} {_gone(match)}", found)
        found = _USERINFO.sub("//<user>@", found)
        found = _NAMED.sub(_without_value, found)
        digests = [match.span() for match in _DIGEST.finditer(found)]
        return _RUN.sub(lambda match: _run(match, digests), found)

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
    """What is shown in place of a text."""
    return f"<{len(str(text))} characters>"


def _gone(match: re.Match[str]) -> str:
    return size_of(match.group(0))


def _without_value(match: re.Match[str]) -> str:
    name, value = match.groups()
    return match.group(0) if _SHOWN_SIZE.match(value) else f"{name}{size_of(value)}"


def _run(match: re.Match[str], digests: list[tuple[int, int]]) -> str:
    """A long run of characters as tokens and keys have them, unless it is a digest, a UID or a name."""
    text = match.group(0)
    is_digest = any(start <= match.start() and match.end() <= end for start, end in digests)
    return text if is_digest or _UID.fullmatch(text) or _is_name(text) else _gone(match)


def _is_name(text: str) -> bool:
    if not _NAME.fullmatch(text):
        return False
    return text.isalpha() or all(len(part) <= _LONGEST_PART for part in re.split(r"[-/_]", text))


def _words(value: str) -> Iterable[str]:
    """A value of a Secret, what stands in it under a name such as `token`, and its words that are no names: of a
    kubeconfig neither where its server is nor what its parts are called."""
    if _LEAST_VALUE <= len(value.strip()) <= _LONGEST_VALUE:
        yield value.strip()
    for match in _NAMED.finditer(value):
        if len(text := match.group(2).strip("\"'")) >= _LEAST_VALUE:
            yield text
    for word in re.split(r"[\s\"',{}\[\]]+", value):
        bare = word.strip(":")
        if len(bare) >= _LEAST_WORD and "://" not in bare and not _is_plain(bare):
            yield bare
            yield from _decoded(bare)


def _is_plain(word: str) -> bool:
    return _PLAIN_WORD.fullmatch(word) is not None or _is_name(word)


def _decoded(word: str) -> Iterable[str]:
    try:
        text = base64.b64decode(word, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return
    yield from (line for line in text.split() if len(line) >= _LEAST_WORD and not _is_plain(line))


def _encoded(word: str) -> str:
    return base64.b64encode(word.encode()).decode().rstrip("=")[:-1]  # its last character depends on what follows


def as_text(value: object) -> str:
    """A document as it is put into an archive."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, default=str) + "\n"
