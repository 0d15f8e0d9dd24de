"""A configuration file is either understood in full or refused with table and key."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.config import Config, Secret, load, override, parse
from metabolic.core.errors import ConfigError

REMOTE = '[[deployment]]\nname = "a"\nbase_url = "http://127.0.0.1:9/v1"\n'


def test_without_a_file_the_embedded_defaults_run() -> None:
    config = load(None)
    assert config.server.host == "127.0.0.1"
    assert config.server.port == 8080
    assert config.source == "embedded defaults"
    assert config.origins == ()


def test_an_empty_file_is_the_embedded_defaults(tmp_path: Path) -> None:
    path = tmp_path / "metabolic.toml"
    path.write_text("")
    assert load(path).server == load(None).server


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load(tmp_path / "absent.toml")


def test_every_key_that_is_set_is_listed_with_its_origin() -> None:
    config = parse('[server]\nport = 1234\n[profile]\nname = "mcu"', source="m.toml")
    assert config.origins == (("profile.name", "m.toml"), ("server.port", "m.toml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server", "m.toml: not valid TOML"),
        ("[server]\nprot = 1", '[server] prot: unknown key; did you mean "port"?'),
        ("[sever]", 'sever: unknown table; did you mean "server"?'),
        ("server = 1", "[server]: expected a table"),
        ('[server]\nport = "a"', "[server] port: expected int, got str"),
        ("[server]\nport = 70000", "[server] port: expected int <= 65535"),
        ('[server]\nhost = "0.0.0.0"', "[server] host: 0.0.0.0 is reachable from other machines"),
        ("[energy]\nusd_per_kwh = nan", "[energy] usd_per_kwh: must be a finite number"),
        ("[energy]\nusd_per_kwh = inf", "[energy] usd_per_kwh: must be a finite number"),
        ("[energy]\nusd_per_kwh = -1", "[energy] usd_per_kwh: expected float >= 0"),
        ("[sense]\nperiod_s = 0", "[sense] period_s: expected float >= 0.01"),
        (
            '[profile]\nname = "fast"',
            "[profile] name: Invalid enum value 'fast'; one of: auto, datacenter, edge, mcu",
        ),
        (
            REMOTE + '[[deployment.variants]]\nname = "b"\nreasoning_efort = "low"',
            'variants[0] reasoning_efort: unknown key; did you mean "reasoning_effort"?',
        ),
        (REMOTE + "[deployment.sleep]\nidle = 3", "sleep idle: unknown key; did you mean"),
        ("[shadow]\nmode = 1", "[shadow] mode: "),
        ("[routing]\nmax_stages = 9", "[routing] max_stages: expected int <= 8"),
        ("[routing]\nstage_timeout_s = 1", "[routing] first_token_timeout_s: is longer than"),
        ("key = [1]", "[[key]]: write [[key]], with double brackets"),
        ('[key]\nname = "x"', "[[key]]: write [[key]], with double brackets"),
        ('[[key]]\nname = "x"\nsha256 = "1"', "[[key]] x sha256: must be 64 hexadecimal digits"),
        ('[[sensor]]\nroot = "/"', "[[sensor]] number 1 kind: is missing"),
        ('[[deployment]]\nkind = "remote"', "[[deployment]] number 1 name: is missing"),
        ('[[deployment]]\nname = "a"', "[[deployment]] a base_url: is missing"),
        ('[[deployment]]\nname = "auto"\nbase_url = "http://x"', "is reserved"),
        ('[[deployment]]\nname = "a"\nbase_url = "ftp://x"', "[[deployment]] a base_url: must be"),
        ('[[deployment]]\nname = "a"\nbase_url = "http://u:p@x"', "without user"),
        ('[[deployment]]\nname = "a"\nkind = "local"', "[[deployment]] a model: is missing"),
        (REMOTE + 'kind = "local"\nmodel = "m"', "base_url: belongs to remote deployments"),
        (REMOTE + REMOTE, '[[deployment]] name: "a" is given twice'),
        (REMOTE + "input_usd_per_million_tokens = 1", "give both input_ and output_"),
        (REMOTE + 'capabilities = ["dance"]', "[[deployment]] a capabilities[0]: Invalid enum"),
        (REMOTE + '[[virtual]]\nname = "a"', "[[virtual]] a: is also the name of a deployment"),
        ('[models]\nfleet = "none"', '[models] fleet: "none" needs at least one [[deployment]]'),
        (
            '[models]\nfleet = "none"\n[routing]\nreference = "b"\n' + REMOTE,
            '[routing] reference: "b" is no deployment',
        ),
        (
            '[models]\nfleet = "none"\n[[virtual]]\nname = "v"\nallowed = ["b"]\n' + REMOTE,
            '[[virtual]] v allowed: "b" is no deployment',
        ),
        (
            '[models]\nfleet = "none"\n[[belief]]\ndeployment = "b"\np_correct = 0.5\n' + REMOTE,
            '[[belief]] deployment: "b" is no deployment',
        ),
        (
            '[models]\nfleet = "none"\n[[checkpoint]]\ndeployment = "b"\ntokens = 8\n'
            "min_logprob = -1.0\n" + REMOTE,
            '[[checkpoint]] deployment: "b" is no deployment',
        ),
    ],
)
def test_a_mistake_is_refused_with_table_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse(text, source="m.toml")
    assert str(caught.value).startswith("m.toml: ")


def test_a_secret_comes_from_the_environment_and_is_never_shown() -> None:
    text = REMOTE + 'api_key = "env:UPSTREAM_KEY"'
    config = parse(text, source="m.toml", environ={"UPSTREAM_KEY": "sk-very-secret"})
    endpoint = config.deployments[0].endpoint()
    assert endpoint is not None
    assert endpoint.api_key == "sk-very-secret"
    assert "sk-very-secret" not in repr(config)
    assert "sk-very-secret" not in repr(endpoint)
    assert "env:UPSTREAM_KEY" in repr(config)


def test_a_secret_that_is_not_set_names_table_key_and_variable() -> None:
    with pytest.raises(ConfigError, match=r"a api_key: the environment variable NOPE is not set"):
        parse(REMOTE + 'api_key = "env:NOPE"', source="m.toml", environ={})


def test_a_secret_written_into_the_file_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match="api_key: secrets are written") as caught:
        parse(REMOTE + 'api_key = "sk-123"', source="m.toml", environ={})
    assert "sk-123" not in str(caught.value)


def test_a_changed_secret_makes_a_changed_configuration() -> None:
    text = REMOTE + 'api_key = "env:K"'
    old, new = (parse(text, source="m", environ={"K": value}) for value in ("1", "2"))
    assert old != new
    assert old == parse(text, source="m", environ={"K": "1"})
    assert hash(Secret("K", "1")) == hash(Secret("K", "1"))


def test_a_sensors_options_pass_through_with_secrets_resolved() -> None:
    text = '[[sensor]]\nkind = "dcgm"\nurl = "http://x"\ntoken = "env:T"'
    sensor = parse(text, source="m", environ={"T": "t"}).sensors[0]
    assert sensor.kind == "dcgm"
    assert dict(sensor.options) == {"url": "http://x", "token": Secret("T", "t")}
    with pytest.raises(ConfigError, match=r"\[\[sensor\]\] number 1 token: the environment"):
        parse(text, source="m", environ={})


def test_a_backends_options_pass_through_with_secrets_in_its_headers_resolved() -> None:
    text = REMOTE + '[deployment.options]\nproxy = ""\nheaders = { x-team = "env:T" }'
    options = parse(text, source="m", environ={"T": "t"}).deployments[0].options
    assert options == {"proxy": "", "headers": {"x-team": Secret("T", "t")}}
    with pytest.raises(ConfigError, match=r"a headers x-team: the environment variable T"):
        parse(text, source="m", environ={})


def test_a_local_deployment_has_no_backend_options() -> None:
    text = (
        '[[deployment]]\nname = "a"\nkind = "local"\nmodel = "m"\n[deployment.options]\nproxy = ""'
    )
    with pytest.raises(ConfigError, match="a options: are a backend's"):
        parse(text, source="m")


def test_validators_are_named_by_kind_or_by_table() -> None:
    text = '[routing]\nvalidators = ["shape", { kind = "confidence", quantile = 0.1 }]'
    shape, confidence = parse(text, source="m").routing.validators
    assert (shape.kind, dict(shape.options)) == ("shape", {})
    assert (confidence.kind, dict(confidence.options)) == ("confidence", {"quantile": 0.1})


def test_prices_are_converted_to_dollars_per_token() -> None:
    text = (
        REMOTE + "input_usd_per_million_tokens = 3\noutput_usd_per_million_tokens = 15\n"
        "cached_usd_per_million_tokens = 0.3"
    )
    price = parse(text, source="m").deployments[0].price()
    assert price is not None
    assert price.input_usd_per_token == pytest.approx(3e-6)
    assert price.output_usd_per_token == pytest.approx(15e-6)
    assert price.cached_usd_per_token == pytest.approx(0.3e-6)
    assert price.cache_write_usd_per_token is None
    assert parse(REMOTE, source="m").deployments[0].price() is None


def test_an_endpoint_takes_the_deployments_name_where_upstream_has_no_other() -> None:
    plain = parse(REMOTE, source="m").deployments[0].endpoint()
    named = parse(REMOTE + 'upstream_model = "org/big"', source="m").deployments[0].endpoint()
    assert plain is not None
    assert named is not None
    assert (plain.model, named.model) == ("a", "org/big")


def test_a_local_deployment_has_no_endpoint_yet() -> None:
    text = '[[deployment]]\nname = "a"\nkind = "local"\nmodel = "m"'
    assert parse(text, source="m").deployments[0].endpoint() is None


def test_variants_and_beliefs_become_values_of_the_core() -> None:
    text = (
        REMOTE + '[[deployment.variants]]\nname = "low"\nreasoning_effort = "low"\n'
        '[[belief]]\ndeployment = "a"\np_correct = 0.9\nevidence = 50'
    )
    config = parse(text, source="m")
    assert config.deployments[0].variants[0].variant().reasoning_effort == "low"
    belief = config.beliefs[0].belief()
    assert (belief.lane, belief.p_correct, belief.evidence) == ("*", 0.9, 50)


def test_flags_are_laid_over_the_file_and_say_so() -> None:
    config = override(parse("[server]\nport = 1", source="m"), port=2, profile="mcu")
    assert config.server.port == 2
    assert config.profile.name == "mcu"
    assert config.origins == (("profile.name", "command line"), ("server.port", "command line"))
    with pytest.raises(ConfigError, match="reachable from other machines"):
        override(config, host="192.0.2.1")


def test_a_public_host_is_allowed_with_a_key() -> None:
    text = f'[server]\nhost = "::"\n[[key]]\nname = "me"\nsha256 = "{"0" * 64}"'
    assert parse(text, source="m").keys[0].name == "me"


@given(st.text(max_size=200))
def test_any_text_is_either_a_configuration_or_a_configuration_error(text: str) -> None:
    try:
        config: Config | None = parse(text, source="m", environ={})
    except ConfigError as exc:
        config = None
        said = str(exc)
        assert said.startswith("m: ")
    assert config is None or config.source == "m"


def test_checkpoints_become_values_of_the_core() -> None:
    text = REMOTE + '[[checkpoint]]\ndeployment = "a"\ntokens = 16\nmin_logprob = -0.9'
    config = parse(text, source="m")
    at = config.checkpoints[0].checkpoint()
    assert (at.lane, at.tokens, at.min_logprob) == ("*", 16, -0.9)
