"""Prometheus text becomes samples; what is broken costs its own line only."""

from math import inf, isnan

from hypothesis import given
from hypothesis import strategies as st

from metabolic.sense.prometheus_text import Sample, parse


def test_a_plain_sample_is_a_name_and_a_value():
    assert parse("up 1\n") == (Sample(name="up", value=1.0),)


def test_labels_are_kept_in_order_and_can_be_asked_for():
    (sample,) = parse('power_watts{gpu="0", uuid="GPU-1",} 42.5 1700000000000')
    assert sample.labels == (("gpu", "0"), ("uuid", "GPU-1"))
    assert sample.label("uuid") == "GPU-1"
    assert sample.label("host") is None
    assert sample.value == 42.5


def test_comments_blank_lines_and_exemplars_are_passed_over():
    text = '# HELP a b\n# TYPE a gauge\n\n  a 2 # {trace="x"} 1\n# EOF\n'
    assert parse(text) == (Sample(name="a", value=2.0),)


def test_escapes_in_labels_are_undone():
    (sample,) = parse(r'a{path="C:\\x\"}{,",line="1\n2",odd="\d"} 1')
    assert sample.labels == (("path", 'C:\\x"}{,'), ("line", "1\n2"), ("odd", "\\d"))


def test_only_names_of_a_prefix_are_read():
    assert parse("a_b 1\nab_c 2\n# a\n", prefix="a_") == (Sample(name="a_b", value=1.0),)


def test_infinities_and_nan_are_values():
    low, high, nan = parse("a -Inf\nb +Inf\nc NaN")
    assert (low.value, high.value) == (-inf, inf)
    assert isnan(nan.value)


def test_a_broken_line_hides_no_other():
    lines = ["a", "a{", 'a{b="c} 1', "a{b=c} 1", "a x", "{} 1", "a 1_0", 'a{b="c\\', "good 3"]
    assert parse("\r\n".join(lines)) == (Sample(name="good", value=3.0),)


@given(st.text())
def test_no_text_makes_the_parser_raise(text: str):
    assert all(sample.name for sample in parse(text))


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"\A[a-zA-Z_][a-zA-Z0-9_]{0,8}\Z"),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        ),
        max_size=4,
    ),
    st.floats(allow_nan=False),
)
def test_what_is_written_is_read_back(labels: list[tuple[str, str]], value: float):
    written = ",".join(
        '{}="{}"'.format(k, v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for k, v in labels
    )
    assert parse(f"m{{{written}}} {value!r}") == (
        Sample(name="m", labels=tuple(labels), value=value),
    )
