"""``[[deployment.variants]]`` and the names that mean one."""

import pytest

from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.testing.gateway import config_for

UP = {"m": ("http://127.0.0.1:9/v1", "m")}


def with_variant(text: str, more: str = "") -> str:
    found = config_for(UP)
    marker = 'name = "m"\n'
    assert marker in found
    return f"{found}\n[[deployment.variants]]\n{text}\n{more}"


def test_a_variant_is_read_whole():
    text = (
        'name = "v"\nthinking = false\nthinking_tokens = 9\noutput_ratio = 0.5\nbody = {top_k = 2}'
    )
    config = parse(with_variant(text), source="t")
    (variant,) = [one.variant() for one in config.deployments[0].variants]
    assert (variant.thinking, variant.thinking_tokens, variant.output_ratio) == (False, 9, 0.5)
    assert variant.body == '{"top_k":2}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('name = "v"', "differs in nothing"),
        ('name = "v"\nbody = {model = "x"}', "is not for a variant to set"),
        ('name = "v"\nbody = {api_key = "x"}', "is not for a variant to set"),
        ('name = "a:b"\nthinking = true', "name"),
    ],
)
def test_a_variant_that_makes_no_sense_is_a_mistake(text, why):
    with pytest.raises(ConfigError, match=why):
        parse(with_variant(text), source="t")


def test_pins_beliefs_and_virtual_models_may_name_a_variant():
    more = (
        '[[lane]]\nname = "*"\ndeployment = "m"\nvariant = "v"\n'
        '[[belief]]\ndeployment = "m:v"\nlane = "*"\np_correct = 0.5\n'
        '[[virtual]]\nname = "quick"\nallowed = ["m:v"]\n'
    )
    assert parse(with_variant('name = "v"\nthinking = true', more), source="t").pins
    gone = more.replace('variant = "v"', 'variant = "w"')
    with pytest.raises(ConfigError, match='"m:w" is no deployment'):
        parse(with_variant('name = "v"\nthinking = true', gone), source="t")
