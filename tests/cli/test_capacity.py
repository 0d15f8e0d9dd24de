"""``metabolic capacity`` says what fits; ``metabolic doctor --restore`` puts limits back."""

import json

import pytest

from metabolic.cli.capacity import capacity, sized
from metabolic.cli.doctor import doctor
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Model


def shown(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_model_given_by_its_shape_is_counted(capsys):
    code = capacity(
        layers=80,
        kv_heads=8,
        head_dim=128,
        parameters=70.0,
        weights="fp8",
        memory_gib=160.0,
        bandwidth_gb_s=6700.0,
        json=True,
    )
    rows = shown(capsys)["fits"]
    assert code == 0
    assert rows[1]["context_tokens"] == 4096
    assert rows[1]["token_kib"] == 320.0
    assert rows[1]["answers"] == int((160 * 0.95 - 70e9 / 2**30) // 1.25)
    step_s = (70e9 + rows[1]["answers"] * 1.25 * 2**30) / 6.7e12
    assert rows[1]["tokens_per_s"] == pytest.approx(rows[1]["answers"] / step_s)


def test_what_does_not_fit_has_no_answers_and_no_speed(capsys):
    capacity(layers=80, kv_heads=8, head_dim=128, parameters=70.0, bandwidth_gb_s=1.0, json=True)
    assert {(row["answers"], row["tokens_per_s"]) for row in shown(capsys)["fits"]} == {(0, None)}


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ConfigError, match="--parameters"):
        capacity(layers=1, kv_heads=1, head_dim=1)


def test_a_configuration_in_which_no_shape_is_known_says_what_to_give(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text('[[deployment]]\nname = "a"\nbase_url = "http://x/v1"\n')
    with pytest.raises(ConfigError, match="--layers"):
        capacity(config=file)


def test_a_table_is_printed(capsys):
    assert capacity(layers=2, kv_heads=1, head_dim=64, parameters=0.1) == 0
    assert "answers" in capsys.readouterr().out


def test_a_model_of_unknown_shape_is_left_out():
    assert sized(Model(id="m", tier="tiny"), 2.0) is None


def test_doctor_says_what_sleeps_and_what_is_left_and_puts_it_back(tmp_path, capsys):
    file = tmp_path / "m.toml"
    file.write_text(
        '[models]\nfleet = "none"\n[sense]\nenabled = false\n[actuators]\nenabled = true\n'
        f'state_path = "{tmp_path}/limits.json"\n[[actuator]]\nkind = "fake"\n'
        '[[deployment]]\nname = "a"\nkind = "server"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[deployment.sleep]\nhand = "vllm"\n'
    )
    saved = {"kind": "fake", "options": {}, "knob": "fake0", "value": 500.0, "set_to": 300.0}
    (tmp_path / "limits.json").write_text(json.dumps({"pid": 1, "born_s": 1.0, "saved": [saved]}))
    doctor(config=file, json=True, restore=True)
    found = {(one["area"], one["name"]): one["value"] for one in shown(capsys)["findings"]}
    assert found["limits", "restore"] == "fake0: put back to 500 W"
    assert "does not answer" in found["sleep", "a"]
    assert "100 to 300 W" in found["limits", "fake fake0"]
    assert not (tmp_path / "limits.json").exists()
