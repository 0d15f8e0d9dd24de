"""Who can answer, as the configuration says."""

import pytest

from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.core.hardware import HardwareState
from metabolic.core.metabolic import MetabolicState
from metabolic.engines.catalogue import FLEETS
from metabolic.engines.store import ModelStore
from metabolic.wiring.fleet import assemble
from metabolic.wiring.policy import Chooser, policy_of

CLOUD = """
[[deployment]]
name = "cloud"
base_url = "https://api.example.com/v1"
upstream_model = "big-1"
active_parameters = 70_000_000_000
input_usd_per_million_tokens = 2.0
output_usd_per_million_tokens = 8.0

[[deployment]]
name = "tiny"
kind = "local"
model = "smollm2-135m-instruct"
tasks = ["extraction"]
"""


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path, mirrors=True)


def test_the_deployments_of_the_configuration_are_the_fleet(store):
    made = assemble(parse(CLOUD, source="test"), store=store)
    cloud, tiny = made.fleet.deployments
    assert (cloud.name, cloud.model.tier, cloud.device) == ("cloud", "large", None)
    assert cloud.price.output_usd_per_token == pytest.approx(8e-6)
    assert made.endpoints["cloud"].model == "big-1"
    assert (tiny.device, tiny.tasks, tiny.active_w_origin) == ("cpu", ("extraction",), "modelled")
    assert [one.model_id for one in made.locals] == ["smollm2-135m-instruct"]
    assert made.why == ""


def test_a_fleet_is_named_by_what_it_says(store):
    one = assemble(parse(CLOUD, source="test"), store=store).fleet
    again = assemble(parse(CLOUD, source="test"), store=store).fleet
    other = assemble(parse(CLOUD.replace("2.0", "3.0"), source="test"), store=store).fleet
    assert one.id == again.id
    assert one.id != other.id


def test_a_local_model_that_is_not_in_the_catalogue_names_its_table(store):
    config = parse(CLOUD.replace("smollm2-135m-instruct", "gpt-9"), source="test")
    with pytest.raises(ConfigError, match=r'deployment.*number 2 \("tiny"\) model.*gpt-9'):
        assemble(config, store=store)


def test_without_deployments_the_default_fleet_runs_small_to_large(store):
    said = []
    config = parse('[models]\nfleet = "registry"', source="test")
    made = assemble(config, store=store, say=said.append)
    assert tuple(one.model_id for one in made.locals) == FLEETS["registry"]
    assert said == [made.why]
    assert made.locals[0].deployment.tasks != ()


def test_own_beliefs_and_dial_are_in_the_policy(store):
    config = parse(
        '[profile]\npreference = 0.25\n[[deployment]]\nname = "a"\nbase_url = "http://x"\n'
        '[[belief]]\ndeployment = "a"\np_correct = 0.9\nevidence = 10\n',
        source="test",
    )
    fleet = assemble(config, store=store).fleet
    chooser = Chooser(config, fleet, HardwareState(taken_at_s=1.0))
    assert chooser.policy.preference == 0.25
    assert [one.p_correct for one in chooser.policy.beliefs if one.deployment == "a"] == [0.9]
    assert policy_of(config, chooser.home).id == chooser.policy.id


def test_a_low_battery_puts_the_thrifty_profile_in_force_and_mains_take_it_back(store):
    config = parse('[[deployment]]\nname = "a"\nbase_url = "http://x"\n', source="test")
    fleet = assemble(config, store=store).fleet
    chooser = Chooser(config, fleet, HardwareState(taken_at_s=1.0))
    home = chooser.policy.id
    chooser.follow(MetabolicState(battery_ratio=0.05, on_battery=True))
    assert chooser.policy.profile.name == "mcu"
    chooser.follow(MetabolicState(battery_ratio=0.05, on_battery=False, profile="mcu"))
    assert chooser.policy.id == home
