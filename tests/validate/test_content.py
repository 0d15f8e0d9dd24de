"""Checks that need no model: code, equations, dates, lengths, languages, patterns."""

import asyncio

import pytest

from metabolic import plugins
from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text
from metabolic.validate.code import blocks, fault_of
from metabolic.validate.constraints import demands_of, language_of, unmet
from metabolic.validate.dates import impossible_dates

ATTEMPT = Attempt(call=Call(id="c0", stage=0, deployment="d"), began_s=0.0, ended_s=1.0)


def verdict(answer, prompt="Do it.", **options):
    message = Message(role="user", content=(Text(text=prompt),))
    request = Request(id="r", dialect="chat", model="auto", messages=(message,))
    reply = Reply(choices=(ReplyChoice(text=answer, finish_reason="stop"),))
    return asyncio.run(plugins.validator("content", options).check(request, ATTEMPT, reply))


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        ("So 3 * 4 = 12.", ()),
        ("So 3 * 4 = 13.", ("equation",)),
        ("```python\ndef f(:\n    pass\n```", ("code: python: line 1",)),
        ("```python\ndef f():\n    return 1\n```", ()),
        ("```python\n>>> f(\n```", ()),
        ('```json\n{"a": }\n```', ("code: json",)),
        ("Due on 2023-02-29.", ("date",)),
        ("Due on 29 February 2024.", ()),
    ],
)
def test_faults_make_an_answer_doubtful(answer, reasons):
    said = verdict(answer)
    assert said.reasons == reasons
    assert said.well_formed
    assert said.doubtful == bool(reasons)


def test_sql_is_parsed_where_the_extra_is_installed():
    pytest.importorskip("sqlglot", reason="needs the extra sql")
    assert fault_of(blocks("```sql\nSELECT a FROM t WHERE b = 1\n```")[0]) is None
    assert fault_of(blocks("```sql\nSELECT FROM WHERE (((\n```")[0]) == "sql"


@pytest.mark.parametrize(
    ("prompt", "answer", "faults"),
    [
        ("Answer in at most 5 words.", "one two three four five six seven", 1),
        ("Answer in at most 5 words.", "one two three", 0),
        ("Use exactly 2 sentences.", "One. Two. Three.", 1),
        ("Write at least 3 bullet points.", "- a\n- b\n- c", 0),
        ("Please answer in German.", "The weather is nice and the sun is in the sky today.", 1),
        ("Please answer in German.", "Das Wetter ist schön und die Sonne ist auf dem Berg.", 0),
        ("The essay had at most 5 pages.", "word " * 50, 0),
    ],
)
def test_what_a_prompt_demands_is_counted(prompt, answer, faults):
    assert len(unmet(demands_of(prompt), answer)) == faults


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("これは日本語の文章です。", "ja"),
        ("Это русский текст, и он длинный.", "ru"),
        ("the cat is on the mat and it is a good day", "en"),
        ("el gato está en la casa y no se va de la cama", "es"),
        ("hm", None),
        ("42", None),
    ],
)
def test_languages_are_told_by_script_and_small_words(text, code):
    assert language_of(text) == code


def test_impossible_dates_are_counted():
    assert impossible_dates("2024-13-01, February 30, 31 April 2020, Monday, May 5, 2025") == 3


def test_a_setting_may_break_an_answer():
    assert verdict("no ticket here", pattern=r"T-\d+").doubtful
    assert not verdict("no ticket here", pattern=r"T-\d+", strict=True).well_formed
    assert verdict("see T-12", pattern=r"T-\d+", strict=True).well_formed
    assert verdict("Acme says", forbidden=["acme"]).reasons == ("forbidden",)
    assert verdict("the cat is on the mat and it is well", language="fr").doubtful


@pytest.mark.parametrize("pattern", ["(a+)+$", "(", "(a|a)*b"])
def test_a_pattern_that_is_none_or_may_never_end_is_refused(pattern):
    with pytest.raises(ConfigError):
        plugins.validator("content", {"pattern": pattern})
