"""``metabolic serve``: configuration → runtime → gateway, until told to stop."""

__all__ = ["serve"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.cli.serving import Plain, Profile, run


def serve(
    *,
    host: str | None = None,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65535))] = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    profile: Profile | None = None,
    shadow: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the gateway with its engines and sensors until SIGTERM or Ctrl-C.

    Models that are missing are fetched first, with a progress bar; the gateway answers as soon as
    the smallest is up. SIGHUP reads the configuration again.

    Args:
        host: Listen on this address (else ``server.host``).
        port: Listen on this port, 0 for a free one (else ``server.port``).
        config: The configuration file; without one the embedded defaults run.
        profile: What may be spent (else ``profile.name``).
        shadow: Pass every request on to this base URL or deployment, and look at what cheaper tiers
            would have answered (else ``shadow.upstream``).
        json: Print where it listens as JSON, for programs.

    Returns:
        0 after a clean stop.
    """
    return run(
        Plain(host=host, port=port, config=config, profile=profile, shadow=shadow, json=json)
    )
