"""The model endpoints, health, readiness and receipts."""

import hashlib
from typing import Never

import pytest

from metabolic.config import Config, KeyTable, VirtualTable
from metabolic.core.attempt import Answer
from metabolic.core.errors import LedgerError
from metabolic.gateway.app import App
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import FakeRuntime, fake_record

pytestmark = pytest.mark.anyio
KEY = "a-client-key"
LOCKED = Config(keys=(KeyTable(name="one", sha256=hashlib.sha256(KEY.encode()).hexdigest()),))


async def test_virtual_models_come_first_then_deployments() -> None:
    runtime = FakeRuntime(Config(virtuals=(VirtualTable(name="ours"),)))
    answered = await Client(App(runtime)).get("/v1/models")
    assert answered.json["object"] == "list"
    names = [entry["id"] for entry in answered.json["data"]]
    assert names == ["auto", "auto:fast", "auto:best", "ours", "large", "small"]
    assert {entry["object"] for entry in answered.json["data"]} == {"model"}
    assert answered.json["data"][-1]["metabolic"]["state"] == "warm"


async def test_one_model_is_found_by_name_and_another_is_not() -> None:
    app = App(FakeRuntime())
    assert (await Client(app).get("/v1/models/small")).json["id"] == "small"
    assert (await Client(app).get("/v1/models/auto:best")).json["id"] == "auto:best"
    answered = await Client(app).get("/v1/models/none")
    assert (answered.status, answered.error["code"]) == (404, "model_not_found")


async def test_names_follow_the_fleet() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    await Client(app).get("/v1/models")
    runtime._fleet = runtime._fleet[:1]
    assert (await Client(app).get("/v1/models/small")).status == 404


async def test_health_and_readiness_need_no_key() -> None:
    runtime = FakeRuntime(LOCKED)
    app = App(runtime)
    assert (await Client(app).get("/health")).json["status"] == "ok"
    assert (await Client(app).get("/ready")).status == 200
    runtime.is_ready = False
    answered = await Client(app).get("/ready")
    assert (answered.status, answered.json["status"]) == (503, "starting")
    runtime.is_ready, app.admin.draining = True, True
    assert (await Client(app).get("/ready")).json["status"] == "draining"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/small", "/metrics", "/v1/receipts/x"])
async def test_everything_else_needs_one(path: str) -> None:
    app = App(FakeRuntime(LOCKED))
    refused = await Client(app).get(path)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert (await Client(app).get(path, authorization=f"Bearer {KEY}")).status in {200, 404}


async def test_inference_needs_one_and_carries_the_tenant() -> None:
    runtime = FakeRuntime(LOCKED)
    app = App(runtime)
    assert (await Client(app).chat()).status == 401
    assert runtime.asked == []
    assert (await Client(app).chat(headers={"authorization": f"Bearer {KEY}"})).status == 200
    assert runtime.asked[0][1].tenant == hashlib.sha256(KEY.encode()).hexdigest()[:16]


async def test_a_foreign_page_is_refused_where_there_is_no_key() -> None:
    runtime = FakeRuntime()
    answered = await Client(App(runtime)).chat(headers={"origin": "https://evil.example"})
    assert (answered.status, answered.error["code"]) == (403, "foreign_origin")
    assert runtime.asked == []


async def test_a_receipt_is_read_by_its_request() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    answered = await Client(app).chat()
    identity = answered.headers["metabolic-decision"]
    missing = await Client(app).get(f"/v1/receipts/{identity}")
    assert (missing.status, missing.error["code"]) == (404, "receipt_not_found")
    record = fake_record(runtime.asked[0][1], Answer(call="c0", deployment="small"))
    runtime.receipts[identity] = record.receipt
    found = (await Client(app).get(f"/v1/receipts/{identity}")).json
    assert (found["id"], found["energy"]["energy_j"]) == (identity, 1.5)


@pytest.mark.parametrize("identity", ["../x", "a b", "x" * 200, "a/b", "'; drop"])
async def test_a_strange_identity_is_not_looked_up(identity: str) -> None:
    class Careful(FakeRuntime):
        def receipt(self, request_id: str) -> Never:
            raise AssertionError(request_id)

    assert (await Client(App(Careful())).get(f"/v1/receipts/{identity}")).status == 404


async def test_a_ledger_that_cannot_be_read_is_an_error_not_a_crash() -> None:
    class Broken(FakeRuntime):
        def receipt(self, request_id: str) -> Never:
            msg = "disk"
            raise LedgerError(msg)

    answered = await Client(App(Broken())).get("/v1/receipts/mr-1")
    assert (answered.status, answered.error["message"]) == (500, "disk")
