"""Check a release tag against the checkout, or print its release notes: python hack/release.py check|notes TAG"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dpunetop import __version__

ROOT = Path(__file__).parents[1]
TAG = re.compile(r"v(\d+\.\d+\.\d+(?:-rc\.\d+)?)")
SECTION = r"^## \[{}\].*?\n(.*?)(?=^## \[|\Z)"
NOTHING = "Nothing: no step is needed."


class Refused(Exception):
    """The tag does not fit the checkout; one line says why, and what to do."""


def version(tag: str) -> str:
    """The version of a tag. Raises: Refused if the tag is malformed, or not of the version of this checkout."""
    found = TAG.fullmatch(tag)
    if found is None:
        raise Refused(f"{tag!r} is no tag of a release: v1.2.3, or v1.2.3-rc.1")
    if found[1] != __version__:
        raise Refused(f"{tag} is put on version {__version__}: set __version__ in src/dpunetop/__init__.py first")
    return found[1]


def changes(tag: str, changelog: str) -> str:
    """The changelog section of a version. Raises: Refused if there is none."""
    found = re.search(SECTION.format(re.escape(version(tag))), changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise Refused(f"CHANGELOG.md has no section [{version(tag)}]: give Unreleased that version and the day")
    return found[1].strip()


def notes(tag: str, changelog: str, template: str) -> str:
    """The text of the release. The upgrade steps are the text before the first heading of the section."""
    upgrade, heading, new = changes(tag, changelog).partition("### ")
    filled = template.replace("VERSION", version(tag)).replace("CHANGES", (heading + new).strip() or NOTHING)
    return filled.replace("UPGRADE", upgrade.strip() or NOTHING)


def main(what: str, tag: str) -> int:
    """Print the notes, or why not."""
    changelog, template = ((ROOT / name).read_text() for name in ("CHANGELOG.md", ".github/release.md"))
    try:
        text = notes(tag, changelog, template)
    except Refused as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    if what == "notes":
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
