"""What the tests of backends share: requests, calls, event loops, certificates."""

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from metabolic.core.attempt import Call
from metabolic.core.request import Message, Request, Sampling, Text


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"loop_factory": asyncio.new_event_loop}), id="asyncio"),
        pytest.param(("asyncio", {"loop_factory": uvloop.new_event_loop}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run every test on both event loops."""
    return request.param


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the authority that signed it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path


@pytest.fixture(scope="session")
def ask() -> Callable[..., Request]:
    """Make a chat request; keyword arguments are fields of its body."""

    def make(content: str = "hi", **fields: Any) -> Request:
        body = {"model": "auto", "messages": [{"role": "user", "content": content}], **fields}
        options = fields.get("stream_options") or {}
        return Request(
            id="r",
            dialect="chat",
            model="auto",
            messages=(Message(role="user", content=(Text(text=content),)),),
            sampling=Sampling(
                logprobs=fields.get("logprobs") is True, max_output_tokens=fields.get("max_tokens")
            ),
            n=fields.get("n", 1),
            stream=fields.get("stream", False),
            include_usage=options.get("include_usage", False),
            body=json.dumps(body).encode(),
        )

    return make


@pytest.fixture(scope="session")
def call() -> Call:
    """A call that keeps its answer."""
    return Call(id="c0", stage=0, deployment="d")
