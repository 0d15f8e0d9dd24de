"""The fake and the OpenAI backend keep the contract, on both transports and over TLS."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from metabolic.backends import anthropic, fake, openai
from metabolic.backends.traits import NAMES, find
from metabolic.core.errors import Refused, Unreachable
from metabolic.core.fleet import Endpoint
from metabolic.testing.backends import check_backend, check_continuation
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fakeserver import FakeServer

pytestmark = pytest.mark.anyio


def endpoint_of(server: FakeServer, *, api_key: str | None = "key-1", model: str = "m") -> Endpoint:
    return Endpoint(deployment="d", base_url=server.base_url, model=model, api_key=api_key)


async def test_the_fake_backend_conforms() -> None:
    endpoint = Endpoint(deployment="d", base_url="", model="m")
    await check_backend(fake.create(fake.Options(), endpoint=endpoint))


@pytest.mark.parametrize("transport", ["raw", "aiohttp"])
async def test_the_openai_backend_conforms(transport: Any) -> None:
    async with FakeServer(api_key="key-1") as server:
        options = openai.Options(transport=transport)
        await check_backend(openai.create(options, endpoint=endpoint_of(server)))
    assert all(seen.header("authorization") == "Bearer key-1" for seen in server.seen)
    assert server.seen[1].header("host") == f"127.0.0.1:{server.port}"


async def test_the_check_finds_a_backend_that_breaks_the_contract() -> None:
    silent = fake.FakeBackend(fake.Options(answer=""))
    with pytest.raises(AssertionError, match="says something"):
        await check_backend(silent)


async def test_https_is_verified_and_works(tls: tuple[ssl.SSLContext, Path]) -> None:
    context, authority = tls
    async with FakeServer(tls=context) as server:
        trusting = openai.Options(ca_file=str(authority))
        await check_backend(openai.create(trusting, endpoint=endpoint_of(server)))
        lax = openai.create(openai.Options(verify_tls=False), endpoint=endpoint_of(server))
        assert await lax.healthy()
        await lax.aclose()
        strict = openai.create(openai.Options(), endpoint=endpoint_of(server))
        assert not await strict.healthy()
        with pytest.raises(Unreachable, match="certificate"):
            await strict._transport.fetch("GET", "/health")
        await strict.aclose()


CONTINUING = [name for name in NAMES if find(name).continues is not None]


@pytest.mark.parametrize("name", CONTINUING)
async def test_an_engine_that_says_so_goes_on_with_an_answer(name: str) -> None:
    """White space of all kinds, and characters of several bytes."""
    said = "One  two\n\nthree 🎉🎉 vier\tfünf . Ende\n"
    async with FakeEngine(name, answers={"m": said}) as server:
        endpoint = Endpoint(
            deployment="d", base_url=server.base_url, model="m", engine=name, api_key="k"
        )
        module = anthropic if name == "anthropic" else openai
        backend = module.create(module.Options(), endpoint=endpoint)
        await check_continuation(backend, cuts=(2, 3, 4, 5, 6, 7))
        await backend.aclose()


@pytest.mark.parametrize("name", ["openai", "azure", "gemini"])
async def test_an_engine_that_begins_anew_is_not_asked(name: str) -> None:
    async with FakeEngine(name) as server:
        endpoint = Endpoint(
            deployment="d", base_url=server.base_url, model="m", engine=name, api_key="k"
        )
        backend = openai.create(openai.Options(), endpoint=endpoint)
        with pytest.raises(Refused, match="anew"):
            await check_continuation(backend)
        await backend.aclose()


async def test_the_fake_backend_goes_on_with_an_answer() -> None:
    await check_continuation(fake.FakeBackend(fake.Options(answer="One two  three\n\nfour five.")))


async def test_the_check_finds_one_that_says_things_twice() -> None:
    class Twice(fake.FakeBackend):
        async def stream(self, request: Any, call: Any) -> Any:
            return await super().stream(replace(request, given=None), call)

    with pytest.raises(AssertionError, match="cut after"):
        await check_continuation(Twice())
