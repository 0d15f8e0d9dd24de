"""``metabolic serve``: configuration → runtime → gateway, until told to stop."""

__all__ = ["address", "banner", "serve"]

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic import __version__
from metabolic.cli import show
from metabolic.config import Config, load, override


def serve(
    *,
    host: str | None = None,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65535))] = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    profile: Literal["auto", "datacenter", "edge", "mcu"] | None = None,
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
        json: Print where it listens as JSON, for programs.

    Returns:
        0 after a clean stop.
    """
    from metabolic import wiring  # noqa: PLC0415 - `--help` does without it
    from metabolic.gateway import server  # noqa: PLC0415 - as above

    def read() -> Config:
        return override(load(config), host=host, port=port, profile=profile)

    settings = read()
    said: list[str] = []
    runtime = wiring.build(settings, say=said.append)
    names = tuple(one.name for one in runtime.deployments())
    if json:
        about = {"url": address(settings), "deployments": names, "source": " ".join(said)}
        show.print_json({**about, "config": settings.source, "version": __version__})
    else:
        print(banner(settings, names=names, source=" ".join(said)), file=sys.stderr)
    sys.stdout.flush()
    return server.serve(runtime, load=read)


def address(config: Config) -> str:
    """Return the base URL that clients are given."""
    host, port = config.server.host, config.server.port
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - only shown
    bracketed = f"[{shown}]" if ":" in shown and not shown.startswith("[") else shown
    return f"http://{bracketed}:{port or '<port>'}/v1"


def banner(config: Config, *, names: tuple[str, ...], source: str) -> str:
    """Return what a person wants to know first: what runs, where, and how to ask it."""
    key = ' \\\n    -H "Authorization: Bearer $KEY"' if config.keys else ""
    lines = (
        f"metabolic {__version__}, configuration: {config.source}",
        *([f"models: {source}"] if source else []),
        f"deployments: {', '.join(names) or 'none'}; profile: {config.profile.name}",
        f"listening on {address(config)} as soon as the first model is up; try",
        "",
        f"  curl {address(config)}/chat/completions{key} -H 'content-type: application/json' \\",
        """    -d '{"model": "auto", "messages": [{"role": "user", "content": "Is 17 prime?"}]}'""",
        "",
    )
    return "\n".join(lines)
