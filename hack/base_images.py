"""Write the newest version of each base image, with its digest, into the Containerfile: python hack/base_images.py

It asks the registry by skopeo and writes nothing unless that has answered for every image.
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
"""A full version of these images: of the system, and of the build. `9.8` and `latest` move."""

Registry = Callable[..., bytes]
"""What skopeo prints for these words."""


def skopeo(*words: str) -> bytes:
    """Raises: OSError without skopeo, subprocess.CalledProcessError if the registry does not answer."""
    return subprocess.run(["skopeo", *words], stdout=subprocess.PIPE, check=True).stdout


def newest(tags: Iterable[str]) -> str:
    """The highest full version. Raises: ValueError if there is none."""
    versions = {tuple(map(int, found.groups())): tag for tag in tags if (found := VERSION.fullmatch(tag))}
    return versions[max(versions)]


def pinned(repository: str, registry: Registry) -> str:
    """The newest image of a repository, for all architectures, by tag and digest."""
    tags = json.loads(registry("list-tags", f"docker://{repository}"))["Tags"]
    tag = newest(tags)
    index = registry("inspect", "--raw", f"docker://{repository}:{tag}")
    return f"{repository}:{tag}@sha256:{hashlib.sha256(index).hexdigest()}"


def renewed(containerfile: str, registry: Registry) -> str:
    """The same file with each base image as the registry has it now."""
    return IMAGE.sub(lambda found: found[1] + pinned(found[2], registry), containerfile)


def main() -> int:
    """Renew the file; say why not."""
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
