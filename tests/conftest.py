"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import FLEETS
from metabolic.engines.store import ModelStore

REAL_TIMEOUT_S = 600
"""A test on real models may first have to fetch them."""

settings.register_profile(
    "metabolic",
    deadline=None,  # a busy machine is no fault of ours
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("metabolic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests marked ``real`` their own time limit."""
    for item in items:
        if item.get_closest_marker("real") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(REAL_TIMEOUT_S))


@pytest.fixture(scope="session")
def real_models() -> dict[str, Path]:
    """The registry's three models by id, from the default store; skips where they cannot be had."""
    try:
        return ModelStore().ensure(FLEETS["registry"])
    except StoreError as exc:
        pytest.skip(f"the real models cannot be fetched: {exc}")
