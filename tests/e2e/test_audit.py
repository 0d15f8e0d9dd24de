"""The ledger of a real run, audited: what went through the gateway is what the audit finds."""

import json

import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")

from metabolic.cli.audit_inputs import records as ledger_records
from metabolic.cli.main import main
from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import gateway_in_thread
from metabolic.testing.showcase import PROMPTS, ask, showcase

ASKED = 36


@pytest.fixture(scope="module", params=["sqlite", "jsonl"])
def run(request, tmp_path_factory):
    """Requests through a gateway over fakes; its ledger, its configuration, its receipts' sums."""
    folder = tmp_path_factory.mktemp("run")
    path = folder / ("ledger.db" if request.param == "sqlite" else "ledger.jsonl")
    ledger = f'kind = "{request.param}"\npath = "{path}"'
    with serve_in_thread() as upstream:
        text = showcase(upstream.base_url, ledger=ledger)
        with gateway_in_thread(text) as gateway:
            for number in range(ASKED):
                ask(
                    gateway.base_url,
                    f"{PROMPTS[number % len(PROMPTS)]} ({number})",
                    metabolic_session=f"s{number // 3}",
                )
            records = tuple(gateway.server.app.inference.recent)
    config = folder / "metabolic.toml"
    config.write_text(text, encoding="utf-8")
    return path, config, records


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """The audit of the ledger, with the gateway's own fleet as the catalogue."""
    path, config, _ = run
    page = tmp_path_factory.mktemp("out") / "audit.json"
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr("sys.stdout.write", written.append)
        with pytest.raises(SystemExit) as left:
            main(["audit", str(path), "--catalogue", str(config), "--json"])
    assert left.value.code == 0
    page.write_text("".join(written))
    return json.loads(page.read_text())


def figure(found, name):
    return next(one["value"] for one in found["figures"] if one["name"] == name)


def test_every_call_is_there_drafts_that_were_set_aside_too(run, found):
    _, _, records = run
    calls = sum(len(one.receipt.attempts) for one in records)
    assert len(records) == ASKED
    assert found["calls"] == calls > ASKED
    assert found["sources"][0]["format"] == "metabolic"
    assert found["bad"] == []


def test_dollars_tokens_and_local_joules_are_those_of_the_receipts(run, found):
    path, _, records = run
    bills = [bill for one in records for bill in one.receipt.attempts]
    assert figure(found, "spent_usd") == pytest.approx(sum(b.tokens_usd or 0 for b in bills))
    assert figure(found, "output_tokens") == sum(b.usage.output_tokens or 0 for b in bills)
    kept = [one.receipt.energy for one in ledger_records(path)]
    local_j = sum(one.energy_j for one in kept if one is not None)
    assert figure(found, "recorded_energy_j") == pytest.approx(local_j)


def test_sessions_and_lanes_are_those_that_were_asked(run, found):
    _, _, records = run
    chains = {one["kind"]: one["count"] for one in found["chains"]}
    assert sum(chains.values()) == ASKED // 3
    lanes = {one.signals.lane for one in records}
    assert {one["task"] for one in found["tasks"]} == lanes


def test_the_fleets_own_models_are_weighed_and_nothing_is_claimed_without_labels(found):
    assert {one["model"] for one in found["lanes"]} <= {"tiny-135m", "edge-1b", "mini"}
    assert found["lanes"]
    assert found["verdict"]["word"] in {"measure first", "do not switch"}
    assert not found["has_labels"]
