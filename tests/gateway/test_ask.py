"""Headers and model names become an ``Ask``, or an error that names the header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.config import VirtualTable
from metabolic.core.errors import RequestError, UnknownModel
from metabolic.core.request import Ask, Native, Request
from metabolic.gateway.ask import Delivering, Names, make_ask

NAMES = Names(
    (
        VirtualTable(name="ours", allowed=("small",), preference=0.25),
        VirtualTable(name="auto:fast"),
    ),
    ("small", "large"),
)


def ask(model: str = "auto", **headers: str) -> Ask:
    request = Request(id="mr-1", dialect="chat", model=model)
    raw = {k.replace("_", "-").encode(): v.encode("latin-1") for k, v in headers.items()}
    return make_ask(request, raw, names=NAMES, at_s=1.0, tenant=None, extras=((), None))


def test_auto_leaves_everything_open() -> None:
    made = ask()
    assert (made.pin, made.allowed, made.preference, made.delivery) == (None, (), None, "auto")


def test_a_deployments_name_pins_it() -> None:
    assert ask("large").pin == "large"


def test_fast_is_thrift_and_best_is_quality() -> None:
    plain = Names((), ("small",))
    assert plain.resolve("auto:fast")[0].preference == 1.0
    assert plain.resolve("auto:best")[0].preference == 0.0


def test_own_virtual_models_restrict_prefer_and_replace() -> None:
    made = ask("ours")
    assert (made.allowed, made.preference, made.pin) == (("small",), 0.25, None)
    assert ask("auto:fast").preference is None


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(UnknownModel, match="gpt-9") as caught:
        ask("gpt-9")
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        404,
        "model_not_found",
        "model",
    )


@pytest.mark.parametrize(
    ("word", "number"),
    [("0", 0.0), ("1", 1.0), ("0.3", 0.3), ("quality", 0.0), ("Balanced", 0.5), ("THRIFT", 1.0)],
)
def test_preference_is_a_number_or_a_word(word: str, number: float) -> None:
    assert ask("ours", metabolic_preference=word).preference == number


def test_limits_are_read() -> None:
    limits = ask(
        metabolic_max_cost="0.01", metabolic_max_energy="12", metabolic_deadline="2.5"
    ).limits
    assert (limits.max_cost_usd, limits.max_energy_j, limits.deadline_s) == (0.01, 12.0, 2.5)


def test_priority_is_read_and_is_nobody_s_by_default() -> None:
    assert ask().priority == 0
    assert ask(metabolic_priority="-3").priority == -3


def test_session_task_and_delivery_are_read() -> None:
    made = ask(metabolic_session="s-1", metabolic_task="Summarization", metabolic_delivery="stream")
    assert (made.session, made.task, made.delivery) == ("s-1", "summarization", "stream")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("metabolic-preference", "1.1"),
        ("metabolic-preference", "-0.1"),
        ("metabolic-preference", "nan"),
        ("metabolic-preference", "much"),
        ("metabolic-preference", ""),
        ("metabolic-max-cost", "-1"),
        ("metabolic-max-cost", "inf"),
        ("metabolic-max-cost", "$1"),
        ("metabolic-max-energy", "a lot"),
        ("metabolic-deadline", "0"),
        ("metabolic-deadline", "soon"),
        ("metabolic-priority", "10"),
        ("metabolic-priority", "high"),
        ("metabolic-delivery", "pigeon"),
        ("metabolic-task", "cook ing"),
        ("metabolic-session", ""),
        ("metabolic-session", "x" * 129),
        ("metabolic-session", "a\tb"),
        ("metabolic-session", "\xe9"),
    ],
)
def test_a_bad_header_is_named(header: str, value: str) -> None:
    with pytest.raises(RequestError, match=header) as caught:
        ask(**{header.replace("-", "_"): value})
    assert (caught.value.status, caught.value.param) == (400, header)


@given(
    header=st.sampled_from(
        ["preference", "max_cost", "max_energy", "deadline", "delivery", "task", "session"]
    ),
    value=st.text(st.characters(max_codepoint=255), max_size=40),
)
def test_any_header_is_taken_or_refused_and_never_breaks(header: str, value: str) -> None:
    refused, preference = "", None
    try:
        preference = ask(**{f"metabolic_{header}": value}).preference
    except RequestError as error:
        refused = str(error)
    assert not refused or header.replace("_", "-") in refused
    assert preference is None or 0 <= preference <= 1


def native(headers: dict[bytes, bytes], *, default: Delivering = "auto") -> Ask:
    names = Names((VirtualTable(name="early", delivery="window"),), (), delivery=default)
    asked = Request(
        id="mr-1", dialect="chat", model="auto", native=Native(dialect="messages", body=b"{}")
    )
    return make_ask(asked, headers, names=names, at_s=1.0, tenant=None, extras=((), None))


@pytest.mark.parametrize("word", ["auto", "stream", "hold", "window", "hedge", "replace"])
def test_every_mode_of_delivery_is_read(word: str) -> None:
    assert ask(metabolic_delivery=word).delivery == word


def test_who_says_nothing_gets_the_virtual_models_delivery_or_the_gateways() -> None:
    names = Names((VirtualTable(name="early", delivery="window"),), ("small",), delivery="hedge")
    made = {
        model: make_ask(
            Request(id="mr-1", dialect="chat", model=model),
            {},
            names=names,
            at_s=1.0,
            tenant=None,
            extras=((), None),
        ).delivery
        for model in ("early", "auto", "small")
    }
    assert made == {"early": "window", "auto": "hedge", "small": "hedge"}


def test_only_chat_completions_can_be_asked_to_take_back() -> None:
    with pytest.raises(RequestError, match="taken back") as caught:
        native({b"metabolic-delivery": b"replace"})
    assert (caught.value.status, caught.value.param) == (400, "metabolic-delivery")
    assert native({}, default="replace").delivery == "auto"
    assert native({b"metabolic-delivery": b"window"}).delivery == "window"
