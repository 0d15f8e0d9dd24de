"""What a model's name says of its size."""

import pytest

from metabolic.account.families import active_parameters, tier_of


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("qwen3:0.6b", "tiny"),
        ("Qwen/Qwen3-30B-A3B", "small"),
        ("gpt-4o-mini", "medium"),
        ("claude-opus-4", "large"),
        ("mine", None),
    ],
)
def test_a_name_says_the_tier_where_it_holds_one(name, tier):
    assert tier_of(name) == tier
    assert (active_parameters(name) is None) == (tier is None)
