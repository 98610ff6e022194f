"""What the recorder of names reads off templates: the proof of the table of settings rests on it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "hack" / "record_settings.py"


@pytest.fixture(name="recorder", scope="module")
def fixture_recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_settings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass asks for it
    spec.loader.exec_module(module)
    return module


CONF = """
data:
  ovnkube.conf: |-
    [default]
    mtu="{{.MTU}}"
    {{- if .X }}
    a-key = {{.X}}
    {{- end }}
    {{- /* no-key=1
    nor-key=2 */}}
    [no-overlay]
    routing=managed
---
kind: ConfigMap
"""
LIBRARY = """
    start-it()
    {
      # --comment and ${COMMENT}
      OWN="x"
      exec it --one --two="{{.Two}}" -x --x- ${READ:-} ${OWN} {{if eq .Three "y"}}
    }
"""
DAEMONSET = """
        - name: FIRST
          value: "{{.First}}"
        - name: "SECOND"
        - name: lower
        - name: THIRD
          valueFrom:
            configMapKeyRef:
              name: some-config
              key: some_key
            start-it {{.Fourth}}
            echo {{.Fifth}}
"""


def test_keys_are_read_with_their_sections(recorder: ModuleType) -> None:
    assert list(recorder.conf_keys(CONF)) == ["conf default/mtu", "conf default/a-key", "conf no-overlay/routing"]


def test_options_and_literals_are_read_but_for_comments(recorder: ModuleType) -> None:
    assert sorted(recorder.script_names(LIBRARY)) == [
        "literal Three",
        "literal Two",
        "option one",
        "option two",
        "option x-",
    ]


def test_a_variable_that_a_script_sets_itself_is_not_one_that_it_reads(recorder: ModuleType) -> None:
    assert list(recorder.read_variables(LIBRARY)) == ["reads READ"]


def test_variables_are_read_with_the_keys_that_they_come_from(recorder: ModuleType) -> None:
    expected = ["key some-config/some_key", "variable FIRST", "variable SECOND", "variable THIRD"]
    assert sorted(recorder.daemonset_variables(DAEMONSET)) == expected


def test_literals_that_a_daemonset_gives_to_the_library_are_read(recorder: ModuleType) -> None:
    assert list(recorder.arguments(DAEMONSET, LIBRARY)) == ["literal Fourth"]
