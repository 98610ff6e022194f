import dataclasses
from typing import Any

import pytest

from dpunetop.app.settings import Address, LeaderElection, SettingsError, parse_settings
from dpunetop.domain.ovnkube.image import AllowedImages

ENV = {"NAMESPACE": "default"}


def test_the_defaults_are_those_that_are_documented() -> None:
    settings = parse_settings([], ENV)
    assert settings.metrics == Address("", 49555)
    assert settings.health == Address("", 49556)
    assert settings.metrics_secure is True
    assert settings.leader_election is None
    assert settings.max_concurrent_reconciles == 16
    assert settings.resync_seconds == 600.0
    assert settings.tenant_namespace == "openshift-ovn-kubernetes"
    assert settings.watch_namespaces == ("default",)
    assert settings.log_format == "json"


def test_election_has_the_timings_of_client_go() -> None:
    assert parse_settings(["--leader-elect"], ENV).leader_election == LeaderElection(15.0, 10.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "environment", "namespaces"),
    {
        "unset": ([], {}, ("default",)),
        "as OLM sets it for all": ([], {"WATCH_NAMESPACE": ""}, None),
        "star": ([], {"WATCH_NAMESPACE": "*"}, None),
        "a list": ([], {"WATCH_NAMESPACE": "b, a"}, ("a", "b")),
        "the flag wins": (["--watch-namespaces=c"], {"WATCH_NAMESPACE": "a"}, ("c",)),
    }.values(),
)
def test_which_namespaces_are_served(
    arguments: list[str], environment: dict[str, Any], namespaces: tuple[str, str] | None
) -> None:
    assert parse_settings(arguments, {**ENV, **environment}).watch_namespaces == namespaces


def test_a_flag_wins_over_the_environment() -> None:
    assert parse_settings(["--kubeconfig", "a"], {**ENV, "KUBECONFIG": "b"}).kubeconfig == "a"


def test_go_durations_are_understood() -> None:
    flags = ["--leader-elect", "--leader-elect-lease-duration=1m30s", "--leader-elect-retry-period=500ms"]
    election = parse_settings(flags, ENV).leader_election
    assert election == LeaderElection(90.0, 10.0, 0.5)


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    {
        "no namespace": ([], {"NAMESPACE": ""}, "NAMESPACE"),
        "bad namespace": ([], {"NAMESPACE": "Not One"}, "NAMESPACE"),
        "empty tenant namespace": ([], {"TENANT_NAMESPACE": ""}, "TENANT_NAMESPACE"),
        "unknown flag": (["--no-such"], {}, "--no-such"),
        "abbreviated flag": (["--metrics-bind=:1"], {}, "--metrics-bind"),
        "stray argument": (["extra"], {}, "extra"),
        "bad address": (["--metrics-bind-address=49555"], {}, "--metrics-bind-address"),
        "port too high": (["--health-probe-bind-address=:70000"], {}, "--health-probe-bind-address"),
        "bad truth": (["--leader-elect=maybe"], {}, "--leader-elect"),
        "no resync period": (["--resync-period=0s"], {}, "--resync-period"),
        "bad count": (["--max-concurrent-reconciles=0"], {}, "--max-concurrent-reconciles"),
        "bad duration": (["--leader-elect", "--leader-elect-retry-period=2"], {}, "--leader-elect-retry-period"),
        "renew too slow": (["--leader-elect", "--leader-elect-renew-deadline=20s"], {}, "longer than"),
        "retry too slow": (["--leader-elect", "--leader-elect-retry-period=9s"], {}, "1.2 times"),
        "bad network": ([], {"TENANT_ALLOWED_CIDRS": "10.0.0.1/8"}, "TENANT_ALLOWED_CIDRS"),
        "bad proxy": ([], {"TENANT_PROXY_URL": "proxy:3128"}, "TENANT_PROXY_URL"),
        "bad ovnkube image": ([], {"OVNKUBE_IMAGE": "a b"}, "OVNKUBE_IMAGE"),
        "bad operator image": (["--operator-image=registry.example/../a"], {}, "--operator-image"),
        "allowed image with a tag": (["--allowed-images=registry.example/ovn:1"], {}, "--allowed-images"),
        "allowed image with a digest": (
            [],
            {"ALLOWED_IMAGES": f"registry.example/ovn@sha256:{'0' * 64}"},
            "ALLOWED_IMAGES: 'registry.example/ovn@sha256:",
        ),
        "allowed path with a tag": (["--allowed-images=registry.example/ovn:1/"], {}, "'registry.example/ovn:1/'"),
        "allowed image without a registry": ([], {"ALLOWED_IMAGES": "ovn"}, "names no registry"),
        "allowed path without a registry": ([], {"ALLOWED_IMAGES": "team/"}, "names no registry"),
        "everything allowed": ([], {"ALLOWED_IMAGES": "/"}, "ALLOWED_IMAGES"),
        "a pattern": ([], {"ALLOWED_IMAGES": "registry.example/*"}, "'registry.example/*'"),
        "an allowed path that leads up": ([], {"ALLOWED_IMAGES": "registry.example/a/../"}, "ALLOWED_IMAGES"),
        "an empty step of a path": ([], {"ALLOWED_IMAGES": "registry.example/a//"}, "ALLOWED_IMAGES"),
        "an allowed image with capitals": ([], {"ALLOWED_IMAGES": "registry.example/OVN"}, "ALLOWED_IMAGES"),
        "an allowed image in other letters": ([], {"ALLOWED_IMAGES": "registry.example/\u043evn"}, "\\u043evn"),
        "an allowed image with a scheme": ([], {"ALLOWED_IMAGES": "https://registry.example/ovn"}, "ALLOWED_IMAGES"),
        "two allowed images without a comma": ([], {"ALLOWED_IMAGES": "r.example/a\nr.example/b"}, "ALLOWED_IMAGES"),
        "a gap in the allowed images": ([], {"ALLOWED_IMAGES": "r.example/a,,r.example/b"}, "ALLOWED_IMAGES: ''"),
        "bad log format": (["--log-format=xml"], {}, "--log-format"),
        "bad watched namespace": ([], {"WATCH_NAMESPACE": "a,B"}, "WATCH_NAMESPACE"),
    }.values(),
)
def test_a_wrong_value_is_one_line_that_names_it(arguments: list[str], environment: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(arguments, {**ENV, **environment})
    text = str(caught.value)
    assert named in text
    assert "\n" not in text


@pytest.mark.parametrize("text", ["https://user:secret@proxy:3128", "user:secret@proxy:3128"])
def test_a_wrong_proxy_is_told_without_its_password(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings([], {**ENV, "TENANT_PROXY_URL": text})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "entries"),
    {
        "a repository": ("registry.example/ovn", ("registry.example/ovn",)),
        "a port": ("registry.example:5000/ovn", ("registry.example:5000/ovn",)),
        "a list": ("r.example/a, r.example/b/", ("r.example/a", "r.example/b/")),
        "a whole registry": ("registry.example:5000/", ("registry.example:5000/",)),
        "this machine": ("localhost/ovn", ("localhost/ovn",)),
    }.values(),
)
def test_repositories_and_paths_may_be_allowed(text: str, entries: tuple[str, str]) -> None:
    assert parse_settings([f"--allowed-images={text}"], ENV).allowed_images == AllowedImages(entries)
    assert parse_settings([], {**ENV, "ALLOWED_IMAGES": text}).allowed_images == AllowedImages(entries)


def test_each_setting_is_shown_and_no_password_with_it() -> None:
    parsed = parse_settings(["--tenant-proxy-url", "http://user:pass@proxy.example:3128", "--log-level", "debug"], ENV)
    shown = parsed.shown()
    assert shown.keys() == {each.name for each in dataclasses.fields(parsed)}
    assert (shown["tenant_proxy_url"], shown["log_level"]) == ("http://...@proxy.example:3128", "debug")


def test_without_a_list_of_allowed_images_there_is_none() -> None:
    assert parse_settings([], {**ENV, "ALLOWED_IMAGES": ""}).allowed_images is None
