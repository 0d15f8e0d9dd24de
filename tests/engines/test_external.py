"""An engine that is already running is only pointed at."""

import pytest

from metabolic.core.errors import EngineError
from metabolic.core.fleet import LaunchSpec
from metabolic.engines.external import Options, create
from metabolic.testing.engines import check_engine

pytestmark = pytest.mark.anyio

SPEC = LaunchSpec(deployment="cloud", model_path="")
OPTIONS = Options(base_url="http://127.0.0.1:11434/v1/", model="qwen3", api_key="sk-x")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_keeps_the_contract_of_engines() -> None:
    await check_engine(lambda: create(OPTIONS, spec=SPEC))


async def test_start_is_just_its_endpoint() -> None:
    endpoint = await create(OPTIONS, spec=SPEC).start()
    assert endpoint.base_url == "http://127.0.0.1:11434/v1"
    assert (endpoint.deployment, endpoint.model, endpoint.pid) == ("cloud", "qwen3", None)
    assert endpoint.api_key == "sk-x"


async def test_a_model_without_a_name_is_known_by_its_deployment() -> None:
    endpoint = await create(Options(base_url="https://x/v1"), spec=SPEC).start()
    assert endpoint.model == "cloud"


async def test_an_address_that_is_not_http_is_refused() -> None:
    with pytest.raises(EngineError, match="ftp://x is not an HTTP URL"):
        await create(Options(base_url="ftp://x"), spec=SPEC).start()


def test_the_key_does_not_show() -> None:
    assert "sk-x" not in repr(OPTIONS)
