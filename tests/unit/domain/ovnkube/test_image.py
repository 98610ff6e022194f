from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.ovnkube.image import (
    AllowedImages,
    ChosenImage,
    ImageSource,
    ImageView,
    NoImage,
    Reference,
    blocker_image,
    choose_image,
    parse_reference,
)

DIGEST = f"sha256:{'a' * 64}"
PINNED = f"quay.io/tenant/ovn@{DIGEST}"


def daemonset(**images: str) -> dict[str, Any]:
    containers = [{"name": name.replace("_", "-"), "image": image} for name, image in images.items()]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


INFRA = daemonset(first="wrong", ovnkube_node="infra:1")
TENANT = daemonset(first="wrong", ovnkube_node=PINNED)
ALLOWED = AllowedImages(("quay.io/tenant/ovn", "reg.example:5000/a/"))

REFERENCES = {
    "a short name": ("ovn", ("ovn", "", "")),
    "a tag": ("ovn:4.20_x", ("ovn", "4.20_x", "")),
    "a registry": ("quay.io/a/b", ("quay.io/a/b", "", "")),
    "a registry with a port": ("reg.example:5000/b:1", ("reg.example:5000/b", "1", "")),
    "this machine": ("localhost/b", ("localhost/b", "", "")),
    "a digest": (PINNED, ("quay.io/tenant/ovn", "", DIGEST)),
    "tag and digest": (f"quay.io/a:1@{DIGEST}", ("quay.io/a", "1", DIGEST)),
    "separators": ("quay.io/a-b/c__d.e", ("quay.io/a-b/c__d.e", "", "")),
    "capitals in the registry's name": ("Quay.io/a", ("Quay.io/a", "", "")),
}


@pytest.mark.parametrize(("text", "parts"), REFERENCES.values(), ids=REFERENCES.keys())
def test_a_reference_has_a_repository_and_maybe_a_tag_and_a_digest(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_reference(text) == Reference(*parts)


BROKEN = {
    "nothing": "",
    "two words": "a b",
    "two lines": "a\nb",
    "a line's end": "quay.io/a\n",
    "shell": "$(id)",
    "a way up": "quay.io/a/../b",
    "a way up at the end": "quay.io/a/..",
    "this place": "quay.io/./b",
    "no step": "quay.io//b",
    "nothing after the slash": "quay.io/a/",
    "nothing before it": "/a",
    "capitals": "quay.io/A",
    "a first step in capitals": "Team/a",
    "other letters": "quay.io/\u043evn",
    "another slash": "quay.io\u2215a/b",
    "a scheme": "https://quay.io/a",
    "somebody at a registry": "user@quay.io/a",
    "a port that is none": "reg.example:x/a",
    "two tags": "a:1:2",
    "a tag within": "quay.io/a:1/b",
    "an empty tag": "a:",
    "a long tag": "a:" + "1" * 129,
    "an empty digest": "a@",
    "a short digest": "a@sha256:00",
    "a digest in capitals": f"a@sha256:{'A' * 64}",
    "another algorithm": f"a@md5:{'0' * 32}",
    "two digests": f"a@{DIGEST}@{DIGEST}",
    "escaped": "quay.io/a%2f..%2fb",
    "a point at the end": "quay.io/a.",
    "a point after the registry": "quay.io./a",
    "more than fits": "quay.io/" + "a/" * 300 + "a",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_an_ambiguous_image_reference_is_refused(text: str) -> None:
    assert parse_reference(text) is None


ADMITTED = {
    "the repository": ("registry.example/ovn", "registry.example/ovn", True),
    "with a tag": ("registry.example/ovn", "registry.example/ovn:1", True),
    "with a digest": ("registry.example/ovn", f"registry.example/ovn@{DIGEST}", True),
    "a longer name": ("registry.example/ovn", "registry.example/ovn-evil", False),
    "a step further": ("registry.example/ovn", "registry.example/ovn/evil", False),
    "a step less": ("registry.example/team/ovn", "registry.example/team", False),
    "under a path": ("registry.example/team/", "registry.example/team/a/b:1", True),
    "the path itself": ("registry.example/team/", "registry.example/team", False),
    "beside a path": ("registry.example/team/", "registry.example/team-evil/ovn", False),
    "another port": ("registry.example/ovn", "registry.example:5000/ovn", False),
    "a port that looks like a tag": ("registry.example/", "registry.example:5000/ovn", False),
    "another registry's name": ("registry.example/ovn", "registry.example.evil/ovn", False),
    "a registry under the name": ("registry.example/", "evil.example/registry.example/ovn", False),
    "capitals": ("registry.example/ovn", "Registry.example/ovn", False),
    "no registry": ("registry.example/ovn", "ovn", False),
    "of several": ("quay.io/a,registry.example/ovn", "registry.example/ovn", True),
}


@pytest.mark.parametrize(("entries", "text", "admitted"), ADMITTED.values(), ids=ADMITTED.keys())
def test_repositories_are_compared_as_a_whole(entries: str, text: str, admitted: bool) -> None:
    reference = parse_reference(text)
    assert reference is not None
    assert AllowedImages(tuple(entries.split(","))).admit(reference) is admitted


CASES = {
    "spec of the environment's repository": (
        ImageView("quay.io/env:2", "quay.io/env:1", "Multi", TENANT, INFRA),
        ("quay.io/env:2", ImageSource.SPEC),
    ),
    "spec of infra's repository": (
        ImageView("infra:2", None, "Multi", TENANT, INFRA),
        ("infra:2", ImageSource.SPEC),
    ),
    "spec of an allowed repository": (
        ImageView(f"reg.example:5000/a/b:tag@{DIGEST}", None, None, None, None, ALLOWED),
        (f"reg.example:5000/a/b:tag@{DIGEST}", ImageSource.SPEC),
    ),
    "then the environment, whatever is allowed": (
        ImageView(None, "env:1", "Multi", TENANT, INFRA, ALLOWED),
        ("env:1", ImageSource.ENVIRONMENT),
    ),
    "then the tenant's": (ImageView(None, None, "Multi", TENANT, INFRA, ALLOWED), (PINNED, ImageSource.TENANT)),
    "infra's, whatever is allowed": (
        ImageView(None, None, "amd64", None, INFRA, ALLOWED),
        ("infra:1", ImageSource.INFRA),
    ),
    "empty is not given": (ImageView("", "", None, None, INFRA), ("infra:1", ImageSource.INFRA)),
    "tenant of one architecture": (ImageView(None, None, "amd64", TENANT, INFRA), ("infra:1", ImageSource.INFRA)),
    "tenant not asked": (ImageView(None, None, None, TENANT, INFRA), ("infra:1", ImageSource.INFRA)),
    "infra with interconnect": (
        ImageView(None, None, None, None, daemonset(nbdb="wrong", ovnkube_controller="infra:2")),
        ("infra:2", ImageSource.INFRA),
    ),
}


@pytest.mark.parametrize(("view", "expected"), CASES.values(), ids=CASES.keys())
def test_the_first_source_of_an_image_wins(view: ImageView, expected: tuple[str, ImageSource]) -> None:
    assert choose_image(view) == ChosenImage(*expected)


NONE = {
    "nobody": (ImageView(None, None, None, None, None), "NoImage", "set spec.image"),
    "container of another name": (ImageView(None, None, None, None, daemonset(other="x")), "NoImage", "set spec.image"),
    "bad spec": (ImageView("$(id)", "env:1", None, None, INFRA), "NoImage", "spec.image is not"),
    "bad environment": (ImageView(None, "a b", None, None, INFRA), "NoImage", "OVNKUBE_IMAGE is not"),
    "spec of another repository": (
        ImageView("quay.io/evil:1", "quay.io/env:1", None, None, INFRA),
        "ImageNotAllowed",
        'spec.image "quay.io/evil:1" is not used',
    ),
    "spec of a repository in use that is not on the list": (
        ImageView("infra:2", None, None, None, INFRA, ALLOWED),
        "ImageNotAllowed",
        "--allowed-images [ALLOWED_IMAGES] does not name its repository (it says quay.io/tenant/ovn, ",
    ),
    "spec of the tenant's repository": (
        ImageView(PINNED, None, "Multi", TENANT, INFRA),
        "ImageNotAllowed",
        "it is not set, so that only infra is",
    ),
    "spec where nothing is in use": (ImageView("a:1", None, None, None, None), "ImageNotAllowed", "(it is not set)"),
    "tenant that nobody allows": (ImageView(None, None, "Multi", TENANT, INFRA), "ImageNotAllowed", f'"{PINNED}"'),
    "tenant of infra's own repository that nobody allows": (
        ImageView(None, None, "Multi", daemonset(ovnkube_node=f"infra@{DIGEST}"), INFRA),
        "ImageNotAllowed",
        "--allowed-images [ALLOWED_IMAGES] has to name its repository",
    ),
    "tenant by tag": (
        ImageView(None, None, "Multi", daemonset(ovnkube_node="quay.io/tenant/ovn:1"), INFRA, ALLOWED),
        "ImageNotAllowed",
        "it needs a digest",
    ),
}


@pytest.mark.parametrize(("view", "reason", "words"), NONE.values(), ids=NONE.keys())
def test_without_an_image_there_is_a_reason(view: ImageView, reason: str, words: str) -> None:
    found = choose_image(view)
    assert isinstance(found, NoImage)
    assert found.reason == reason
    assert words in found.message


def test_an_image_that_is_no_reference_is_not_found() -> None:
    assert isinstance(choose_image(ImageView(None, None, None, None, daemonset(ovnkube_node="a\nb"))), NoImage)


BLOCKERS = {
    "the operator's own": ("operator:1", "env:1", INFRA, "operator:1"),
    "the environment's": (None, "env:1", INFRA, "env:1"),
    "infra's": (None, None, INFRA, "infra:1"),
}


@pytest.mark.parametrize(("operator", "environment", "infra", "expected"), BLOCKERS.values(), ids=BLOCKERS.keys())
def test_a_blocker_runs_what_infra_says(
    operator: str | None, environment: str | None, infra: dict[str, Any], expected: str
) -> None:
    assert blocker_image(operator, environment, infra) == expected


def test_without_an_image_for_the_blockers_the_settings_are_named() -> None:
    found = blocker_image(None, None, None)
    assert isinstance(found, NoImage)
    assert "set OPERATOR_IMAGE or OVNKUBE_IMAGE" in found.message
