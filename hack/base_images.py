"""Write the newest version of each base image, with its digest, into the Containerfile: python hack/base_images.py

It reads the registry with skopeo, and writes nothing unless every image was found.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

CONTAINERFILE = Path(__file__).parents[1] / "Containerfile"
IMAGE = re.compile(r"^(ARG [A-Z]+=)([^:@\s]+):([^@\s]+)(@\S+)?$", re.MULTILINE)
VERSION = re.compile(r"(\d+)\.(\d+)-(\d+)")
"""The tag of one build of these images, with system version and build number. Tags such as `9.8` and `latest` move."""

Registry = Callable[..., bytes]
"""Runs skopeo with these arguments and returns its output."""


def skopeo(*words: str) -> bytes:
    """Run skopeo. Raises: OSError without skopeo, subprocess.CalledProcessError if the registry does not answer."""
    return subprocess.run(["skopeo", *words], stdout=subprocess.PIPE, check=True).stdout


def newest(tags: Iterable[str]) -> str:
    """The tag with the highest version. Raises: ValueError if there is none."""
    versions = {tuple(map(int, found.groups())): tag for tag in tags if (found := VERSION.fullmatch(tag))}
    return versions[max(versions)]


def pinned(repository: str, registry: Registry) -> str:
    """The newest image of a repository, for all architectures, by tag and digest."""
    tags = json.loads(registry("list-tags", f"docker://{repository}"))["Tags"]
    tag = newest(tags)
    index = registry("inspect", "--raw", f"docker://{repository}:{tag}")
    return f"{repository}:{tag}@sha256:{hashlib.sha256(index).hexdigest()}"


def renewed(containerfile: str, registry: Registry) -> str:
    """The same Containerfile with the newest build of each base image."""
    return IMAGE.sub(lambda found: found[1] + pinned(found[2], registry), containerfile)


def main() -> int:
    """Update the Containerfile, or print why not."""
    try:
        text = renewed(CONTAINERFILE.read_text(), skopeo)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the base images stay as they are: {error}", file=sys.stderr)
        return 1
    CONTAINERFILE.write_text(text)
    print("\n".join(line for line in text.splitlines() if IMAGE.match(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
