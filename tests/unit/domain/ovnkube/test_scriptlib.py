from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.ovnkube.scriptlib import Said, read_library
from dpunetop.domain.ovnkube.settingstable.rows import AsOption, Row, rows, switches

SUBNET = re.compile(r"[0-9.]{7,15}/[0-9]{1,2}")
FORMS = {"enable-a": None, "enable-b": None, "join": SUBNET, "rate": re.compile(r"[0-9]{1,4}")}
OPTIONS = rows(
    switches("enable-a", "enable-b"),
    *(Row(name, AsOption((name,), form)) for name, form in FORMS.items() if form is not None),
)


def read(text: str) -> dict[str, str | Said]:
    found = read_library(text, OPTIONS)
    assert found is not None
    return dict(found.options)


OFF = Said.OFF
SWITCH = {  # text -> what it says of --enable-a; None: nothing that is understood
    "assigned": ('a="--enable-a"', ""),
    "in a command": ("exec ovnkube \\\n  --enable-a \\\n  --init-node x", ""),
    "said to be true": ('a="--enable-a=true --enable-b=true"', ""),
    "said to be false": ('a="--enable-a=false"', OFF),
    "not spelled": ('a=""', None),
    "part of a longer name": ('a="--enable-a-lot --no--enable-a x--enable-a"', None),
    "in a comment": ("# --enable-a", None),
    "if a literal holds": ('if [[ "true" == "true" ]]; then\na="--enable-a"\nfi', ""),
    "if a literal does not hold": ('if [[ "false" == "true" ]]; then\na="--enable-a"\nfi', OFF),
    "if nothing is true": ('if [[ "" == "true" ]]; then\na="--enable-a"\nfi', OFF),
    "if something is set": ('if [[ "x" != "" ]]; then\na="--enable-a"\nfi', ""),
    "if nothing is set": ('if [[ "" != "" ]] ; then\na="--enable-a"\nfi', OFF),
    "single brackets": ('if [ "true" == "true" ]; then\na="--enable-a"\nfi', ""),
    "else of what holds": ('if [ "x" == "x" ]; then\n:\nelse\na="--enable-a"\nfi', OFF),
    "else of what does not": ('if [ "x" == "y" ]; then\n:\nelse\na="--enable-a"\nfi', ""),
    "elif after what holds": ('if [ "x" == "x" ]; then\n:\nelif [ "y" == "y" ]; then\na="--enable-a"\nfi', OFF),
    "elif that holds": ('if [ "x" == "y" ]; then\n:\nelif [ "y" == "y" ]; then\na="--enable-a"\nfi', ""),
    "not on a host with a DPU": ('if [[ "${OVN_NODE_MODE}" != "dpu-host" ]]; then\na="--enable-a"\nfi', ""),
    "only on a host with a DPU": ('if [ "${OVN_NODE_MODE}" == "dpu-host" ]; then\na="--enable-a"\nfi', OFF),
    "both": ('if [[ "true" == "true"&& "${OVN_NODE_MODE}" != "dpu-host" ]]; then\na="--enable-a"\nfi', ""),
    "a literal fails": (
        'if [[ "false" == "true" && "${OVN_NODE_MODE}" != "dpu-host" ]]; then\na="--enable-a"\nfi',
        OFF,
    ),
    "cannot be judged": ('if [[ -n "${X}" ]]; then\na="--enable-a"\nfi', ""),
    "one of two": ('if [[ "a" == "b" || -n "${X}" ]]; then\na="--enable-a"\nfi', ""),
    "nested, outer fails": ('if [ "a" == "b" ]; then\nif [ "a" == "a" ]; then\na="--enable-a"\nfi\nfi', OFF),
    "after a block": ('if [ "a" == "b" ]; then\n:\nfi\na="--enable-a"', ""),
    "on somewhere": ('if [ "a" == "b" ]; then\na="--enable-a"\nfi\nb="--enable-a"', ""),
    "a line too long": (f'a="--enable-a" # {"x" * 1000}', None),
    "stray ends": ('fi\nelse\nelif x\nfi\na="--enable-a"', ""),
}


@pytest.mark.parametrize(("text", "expected"), SWITCH.values(), ids=SWITCH.keys())
def test_a_switch_is_on_where_an_ordinary_node_has_it(text: str, expected: str | Said | None) -> None:
    assert read(text).get("enable-a") == expected


VALUE = {
    "after a space": ('x="--join 10.0.0.0/16"', "10.0.0.0/16"),
    "after an equals sign": ('x="--join=10.0.0.0/16"', "10.0.0.0/16"),
    "in quotes of its own": ('  --join "10.0.0.0/16" \\', "10.0.0.0/16"),
    "empty": ('x="--join "', OFF),
    "empty after an equals sign": ('x="--join="', OFF),
    "not of its form": ('x="--join everything"', None),
    "a variable": ('x="--join ${JOIN}"', None),
    "a command": ('x="--join $(id)"', None),
    "one form in force, one not": ('if [ "a" == "b" ]; then\nx="--join evil"\nfi\ny="--join 1.0.0.0/8"', "1.0.0.0/8"),
    "twice the same": ('x="--join 1.0.0.0/8"\ny="--join 1.0.0.0/8"', "1.0.0.0/8"),
    "twice, differing": ('x="--join 1.0.0.0/8"\ny="--join 2.0.0.0/8"', None),
    "once right, once wrong": ('x="--join 1.0.0.0/8"\ny="--join evil"', None),
    "set, then unset": ('x="--join 1.0.0.0/8"\ny="--join "', "1.0.0.0/8"),
}


@pytest.mark.parametrize(("text", "expected"), VALUE.values(), ids=VALUE.keys())
def test_a_value_is_taken_if_it_has_its_form_and_is_the_only_one(text: str, expected: str | Said | None) -> None:
    assert read(text).get("join") == expected


def test_literals_stand_in_the_lines_that_are_in_force() -> None:
    found = read_library('if [ "a" == "b" ]; then\nMOST="1"\nfi\n   MOST="7"\n# x', OPTIONS)
    assert found is not None
    assert found.active == 'MOST="7"'


def test_options_that_are_not_listed_are_named_once_where_they_are_in_force() -> None:
    text = f'if [ "a" == "b" ]; then\nx="--off"\nfi\ny="--new=1 --enable-a" --new --{"long" * 50}'
    found = read_library(text, OPTIONS)
    assert found is not None
    assert found.others == (("long" * 50)[:60], "new")


def test_a_text_that_is_too_large_is_not_read() -> None:
    assert read_library("#" * (128 * 1024 + 1), OPTIONS) is None


NOISE = st.lists(
    st.sampled_from(
        [
            'if [ "a" == "b" ]; then',
            'if [ "a" == "a" ]; then',
            "else",
            "fi",
            'elif [ "${OVN_NODE_MODE}" == "dpu-host" ]; then',
            'x="--join $(touch pwned)"',
            'x="--join 1.2.3.4/5;id"',
            '--rate "9"',
            "--rate 99999",
            'a="--enable-a --enable-b=false"',
            "--enable-a=$(id)",
        ]
    ),
    max_size=12,
)


@given(NOISE, st.text(alphabet="-=\"'$(){}[];|&<>`\\ \nabelnijor019./", max_size=60))
def test_whatever_the_text_only_forms_come_out(lines: list[str], tail: str) -> None:
    for name, said in read("\n".join([*lines, tail])).items():
        form = FORMS[name]
        if isinstance(said, Said):
            assert said is OFF
        elif form is None:
            assert said == ""
        else:
            assert form.fullmatch(said)


@pytest.mark.parametrize(
    "line", ['if [ "a" == "a" ]; then', "--join " + "1" * 900, "--" * 400, '"a" == ' * 100, "if " + '"" == "" ' * 90]
)
def test_the_time_it_takes_grows_with_the_text_alone(line: str) -> None:
    text = (line + "\n") * (128 * 1024 // (len(line) + 1))
    began = time.thread_time()
    read(text)
    assert time.thread_time() - began < 2
