"""Schemas of strangers: judged rightly, and never at any price."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.validate.schema import SchemaChecker


def _check(schema: object, value: object) -> tuple[str, str]:
    outcome = SchemaChecker().check(json.dumps(schema).encode(), value)
    return outcome.kind, outcome.why


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_a_valid_value_passes() -> None:
    assert _check(PERSON, {"name": "Ann", "age": 4}) == ("valid", "")


def test_a_fault_is_named_by_path_and_type() -> None:
    assert _check(PERSON, {"name": "Ann", "age": "four"}) == ("invalid", "$.age expected integer")
    assert _check(PERSON, {"name": "Ann"}) == ("invalid", "$ fails required")
    assert _check({"items": {"type": ["string", "null"]}}, ["a", 1]) == (
        "invalid",
        "$[1] expected string or null",
    )


def test_words_of_the_answer_never_stand_in_the_reason() -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    assert _check(schema, {"my secret": "x"}) == ("invalid", "$.* expected integer")


def test_local_references_work() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}
    assert _check(schema, [1, 2])[0] == "valid"
    assert _check(schema, [1, "2"])[0] == "invalid"


def test_older_drafts_are_read_by_their_own_rules() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"n": {"type": "integer"}},
        "items": [{"$ref": "#/definitions/n"}],
    }
    assert _check(schema, ["x"])[0] == "invalid"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/nowhere"},
        {"type": "no such type"},
        {"pattern": "("},
        [],
        7,
    ],
)
def test_a_schema_that_cannot_be_judged_is_not_blamed_on_the_answer(schema: object) -> None:
    assert _check(schema, "x")[0] == "unchecked"


def test_a_schema_that_is_no_json_is_unchecked() -> None:
    assert SchemaChecker().check(b"{", 1).kind == "unchecked"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "((a*)*)*b", "a+a+a+a+a+a+a+b"])
def test_a_pattern_that_backtracks_without_end_is_not_tried(pattern: str) -> None:
    began = time.process_time()
    assert _check({"pattern": pattern}, "a" * 5000)[0] == "valid"
    assert _check({"patternProperties": {pattern: {}}}, {"a" * 5000: 1})[0] == "valid"
    assert time.process_time() - began < 2


def test_plain_patterns_are_tried() -> None:
    assert _check({"pattern": "^[A-Z]{2}-[0-9]{4}$"}, "AB-1234")[0] == "valid"
    assert _check({"pattern": "^[A-Z]{2}-[0-9]{4}$"}, "AB-123")[0] == "invalid"
    assert _check({"pattern": r"^[^@]+@[^@]+\.[^@]+$"}, "nobody")[0] == "invalid"
    assert _check({"patternProperties": {"^n": {"type": "integer"}}}, {"n1": "x"})[0] == "invalid"


def test_references_that_double_run_out_of_budget() -> None:
    levels = 40
    defs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    schema = {"$defs": defs | {f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}
    began = time.process_time()
    assert _check(schema, 1) == ("unchecked", "too costly to check")
    assert time.process_time() - began < 2


def test_a_reference_to_itself_ends() -> None:
    assert _check({"$ref": "#"}, 1)[0] == "unchecked"


def test_comparing_many_items_runs_out_of_budget() -> None:
    items = [{"n": n} for n in range(5000)]
    assert _check({"uniqueItems": True}, items)[0] == "unchecked"
    assert _check({"uniqueItems": True}, [{"n": 1}, {"n": 1}])[0] == "invalid"


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    checker = SchemaChecker(capacity=2)
    for n in range(5):
        checker.check(json.dumps({"const": n}).encode(), n)
    assert len(checker._compiled) == 2


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(_VALUES, _VALUES)
def test_any_schema_and_any_value_give_an_outcome(schema: object, value: object) -> None:
    assert _check(schema, value)[0] in {"valid", "invalid", "unchecked"}


@given(_VALUES)
def test_the_open_schema_accepts_every_value(value: object) -> None:
    assert _check({}, value)[0] == "valid"
    assert _check({"const": value}, value)[0] == "valid"
