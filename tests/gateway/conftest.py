"""What the gateway's tests share."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the only loop the gateway runs on."""
    return "asyncio"
