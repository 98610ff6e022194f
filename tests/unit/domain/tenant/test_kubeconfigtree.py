from __future__ import annotations

import json

import pytest

from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, Rejection
from dpunetop.domain.tenant.kubeconfigtree import SIZE_LIMIT_BYTES, read_tree

VALID = "users:\n- name: u\n  user:\n    token: a\n"


def rejection(data: bytes) -> Rejection:
    """Why the tree cannot be read; `parse_kubeconfig` gives the same reason."""
    with pytest.raises(KubeconfigRejected) as caught:
        read_tree(data, ())
    with pytest.raises(KubeconfigRejected) as parsing:
        parse_kubeconfig(data)
    assert parsing.value.reason is caught.value.reason
    return caught.value.reason


TEXTS = {
    "nothing": ("", Rejection.NOT_YAML),
    "broken": ("a: [", Rejection.NOT_YAML),
    "a control character": ("a: \x00", Rejection.NOT_YAML),
    "a duplicate key": (VALID.replace("token:", "token: a\n    token:"), Rejection.DUPLICATE_KEY),
    "a duplicate key, quoted": (VALID.replace("token:", 'token: a\n    "token":'), Rejection.DUPLICATE_KEY),
    "a duplicate list": (f"{VALID}users: []\n", Rejection.DUPLICATE_KEY),
    "a merge key": (f"{VALID}<<: {{}}\n", Rejection.ALIAS),
    "an anchor": (VALID.replace("token: ", "token: &a "), Rejection.ALIAS),
    "an anchor on a key": (VALID.replace("token: ", "&a token: "), Rejection.ALIAS),
    "an alias": ("a: &a x\nb: *a\n", Rejection.ALIAS),
    "a tag": (VALID.replace("token: ", "token: !!str "), Rejection.TAG),
    "a local tag": (VALID.replace("token: ", "token: !x "), Rejection.TAG),
    "a python tag": ("!!python/object/apply:os.system ['touch /canary']", Rejection.TAG),
    "a directive": (f"%YAML 1.1\n---\n{VALID}", Rejection.TAG),
    "a second document": (f"{VALID}---\na: b\n", Rejection.SEVERAL),
    "a mapping as key": ("? {a: b}\n: c\n", Rejection.UNKNOWN_KEY),
    "too many bytes": ("a: " + "x" * SIZE_LIMIT_BYTES, Rejection.TOO_LARGE),
    "too many entries": ("a: [" + "x," * 5000 + "]", Rejection.TOO_LARGE),
    "deep lists": ("- " * 100_000 + "a", Rejection.TOO_DEEP),
    "deep JSON": ("[" * 100_000, Rejection.NOT_YAML),
    "deep JSON, line by line": ("[\n" * 100_000, Rejection.TOO_DEEP),
    "deep mappings": ('{"a":' * 30 + "1" + "}" * 30, Rejection.TOO_DEEP),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_text_that_parsers_disagree_on_is_refused(text: str, expected: Rejection) -> None:
    assert rejection(text.encode()) is expected


def test_text_that_is_not_utf8_is_refused() -> None:
    assert rejection(b"\xff\xfea\x00") is Rejection.NOT_YAML


@pytest.mark.parametrize("text", ["hello", "[a]"])
def test_text_without_a_mapping_is_a_tree_and_no_kubeconfig(text: str) -> None:
    read_tree(text.encode(), ())
    with pytest.raises(KubeconfigRejected) as caught:
        parse_kubeconfig(text.encode())
    assert caught.value.reason is Rejection.WRONG_TYPE


def test_json_and_yaml_give_the_same_tree() -> None:
    tree = read_tree(VALID.encode(), ())
    assert tree == {"users": [{"name": "u", "user": {"token": "a"}}]}
    assert read_tree(json.dumps(tree).encode(), ()) == tree


def test_a_plain_scalar_is_true_false_null_or_text() -> None:
    text = "[yes, OFF, ~, null, '', 'true', 1, 1.5, y, 2024-01-01]"
    assert read_tree(text.encode(), ()) == [True, False, None, None, "", "true", "1", "1.5", "y", "2024-01-01"]


@pytest.mark.parametrize(("known", "path"), [(("token",), ".token"), ((), '."token"')])
def test_a_key_that_is_not_known_is_quoted(known: tuple[str, ...], path: str) -> None:
    with pytest.raises(KubeconfigRejected) as caught:
        read_tree(b"a: {token: !x b}", ("a", *known))
    assert caught.value.message.startswith(f"a{path} has a YAML tag")
