from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.image import ChosenImage, ImageSource, ImageView, NoImage, choose_image

PINNED = f"quay.io/tenant/ovn@sha256:{'a' * 64}"


def daemonset(**images: str) -> dict[str, Any]:
    containers = [{"name": name.replace("_", "-"), "image": image} for name, image in images.items()]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


INFRA = daemonset(first="wrong", ovnkube_node="infra:1")
TENANT = daemonset(first="wrong", ovnkube_node=PINNED)

CASES = {
    "spec first": (ImageView("spec:1", "env:1", "Multi", TENANT, INFRA), ("spec:1", ImageSource.SPEC)),
    "then the environment": (ImageView(None, "env:1", "Multi", TENANT, INFRA), ("env:1", ImageSource.ENVIRONMENT)),
    "then the tenant's": (ImageView(None, None, "Multi", TENANT, INFRA), (PINNED, ImageSource.TENANT)),
    "empty is not given": (ImageView("", "", None, None, INFRA), ("infra:1", ImageSource.INFRA)),
    "tenant of one architecture": (ImageView(None, None, "amd64", TENANT, INFRA), ("infra:1", ImageSource.INFRA)),
    "tenant not asked": (ImageView(None, None, None, TENANT, INFRA), ("infra:1", ImageSource.INFRA)),
    "tenant by tag": (
        ImageView(None, None, "Multi", daemonset(ovnkube_node="t:1"), INFRA),
        ("infra:1", ImageSource.INFRA),
    ),
    "infra with interconnect": (
        ImageView(None, None, None, None, daemonset(nbdb="wrong", ovnkube_controller="infra:2")),
        ("infra:2", ImageSource.INFRA),
    ),
    "spec with port and digest": (
        ImageView(f"reg.example:5000/a/b:tag@sha256:{'0' * 64}", None, None, None, None),
        (f"reg.example:5000/a/b:tag@sha256:{'0' * 64}", ImageSource.SPEC),
    ),
}


@pytest.mark.parametrize(("view", "expected"), CASES.values(), ids=CASES.keys())
def test_the_first_who_names_an_image_is_heard(view: ImageView, expected: tuple[str, ImageSource]) -> None:
    assert choose_image(view) == ChosenImage(*expected)


NONE = {
    "nobody": (ImageView(None, None, None, None, None), "set spec.image"),
    "container of another name": (ImageView(None, None, None, None, daemonset(other="x")), "set spec.image"),
    "bad spec": (ImageView("$(id)", "env:1", None, None, INFRA), "spec.image is not"),
    "bad environment": (ImageView(None, "a b", None, None, INFRA), "OVNKUBE_IMAGE is not"),
}


@pytest.mark.parametrize(("view", "words"), NONE.values(), ids=NONE.keys())
def test_without_an_image_there_is_a_reason(view: ImageView, words: str) -> None:
    found = choose_image(view)
    assert isinstance(found, NoImage)
    assert words in found.message


def test_an_image_that_is_no_reference_is_not_found() -> None:
    assert isinstance(choose_image(ImageView(None, None, None, None, daemonset(ovnkube_node="a\nb"))), NoImage)
