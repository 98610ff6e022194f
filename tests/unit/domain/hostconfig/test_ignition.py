"""Ignition documents in their one form."""

import string
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.hostconfig.ignition import DropIn, File, Unit, data_url, document, encode


@pytest.mark.parametrize(
    ("text", "url"),
    {
        "#!/bin/bash\n": "data:,%23!%2Fbin%2Fbash%0A",
        "$x 'a' (b)*": "data:,%24x%20'a'%20(b)*",
        "-_.!~*'()": "data:,-_.!~*'()",
        "é\xff": "data:,%C3%A9%C3%BF",
        "": "data:,",
    }.items(),
)
def test_text_is_percent_encoded_with_upper_case_digits(text: str, url: str) -> None:
    assert data_url(text) == url


@given(st.text())
def test_a_data_url_holds_the_text_in_characters_that_may_stand(text: str) -> None:
    body = data_url(text).removeprefix("data:,")
    assert set(body) <= set(string.ascii_letters + string.digits + "-_.!~*'()%")
    assert unquote(body) == text


def test_an_empty_document_has_a_version_only() -> None:
    assert encode(document((), ())) == b'{"ignition":{"version":"3.2.0"}}'


def test_members_stand_in_the_order_of_the_ignition_types_and_nothing_is_empty() -> None:
    made = document(
        [File("/usr/local/bin/a.sh", 0o755, "x\n")],
        [Unit("b.service", "[Unit]\n"), Unit("a.service", drop_ins=(DropIn("10-x.conf", "[Service]\n"),))],
    )
    assert encode(made).decode() == (
        '{"ignition":{"version":"3.2.0"},'
        '"storage":{"files":[{"overwrite":true,"path":"/usr/local/bin/a.sh",'
        '"contents":{"source":"data:,x%0A"},"mode":493}]},'
        '"systemd":{"units":['
        '{"dropins":[{"name":"10-x.conf","contents":"[Service]\\n"}],"name":"a.service"},'
        '{"contents":"[Unit]\\n","enabled":true,"name":"b.service"}]}}'
    )


def test_files_are_sorted_by_their_base_name_and_units_by_name_upper_case_first() -> None:
    made = document(
        [File("/a/z", 0o644, ""), File("/z/a", 0o644, ""), File("/y/a", 0o644, ""), File("/m/B", 0o644, "")],
        [Unit("a.service"), Unit("B.service")],
    )
    assert [file["path"] for file in made["storage"]["files"]] == ["/m/B", "/y/a", "/z/a", "/a/z"]
    assert [unit["name"] for unit in made["systemd"]["units"]] == ["B.service", "a.service"]


def test_the_order_in_which_parts_are_given_makes_no_difference() -> None:
    files = [File("/b", 0o644, "b"), File("/a", 0o600, "a")]
    units = [
        Unit("u.service", drop_ins=(DropIn("2.conf", "2"), DropIn("1.conf", "1"))),
        Unit("t.service", "t"),
    ]
    turned = [Unit(unit.name, unit.content, unit.drop_ins[::-1]) for unit in units[::-1]]
    assert encode(document(files, units)) == encode(document(files[::-1], turned))
