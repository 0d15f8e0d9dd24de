"""The same reading on Ray Data: a file a task, on this machine's cores or on a cluster."""

__all__ = ["ray_spread"]

import importlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from metabolic.audit.load import Records
from metabolic.audit.parts import Part, Spread, read_part
from metabolic.core.errors import ConfigError


def ray_spread(address: str | None = None) -> Spread:
    """Return what reads files on Ray: at ``address``, or on a Ray of its own that is then stopped.

    On a cluster, files and the folder of parts must be where every node sees them.

    Raises:
        ConfigError: the extra ``ray`` is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as exc:
        message = "reading on Ray needs the extra: pip install 'metabolic[ray]'"
        raise ConfigError(message) from exc

    def spread(paths: Sequence[Path], folder: Path, records: Records | None) -> list[Part]:
        own: dict[str, Any] = {} if address else {"include_dashboard": False}
        own["logging_level"] = logging.ERROR
        ray.init(address=address or "local", log_to_driver=False, **own)
        try:
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            ray.data.DataContext.get_current().enable_progress_bars = False
            items = [{"number": n, "path": str(path)} for n, path in enumerate(paths)]

            def read(item: dict[str, Any]) -> dict[str, bytes | int]:
                number = int(item["number"])
                try:
                    part = read_part(Path(item["path"]), number, folder, records)
                except ConfigError as exc:
                    return {"number": number, "part": b"", "why": str(exc).encode()}
                return {"number": number, "part": msgspec.json.encode(part), "why": b""}

            data = ray.data.from_items(items, override_num_blocks=len(items))
            found = sorted(data.map(read).take_all(), key=lambda one: int(one["number"]))
        finally:
            ray.shutdown()
        for one in found:
            if one["why"]:
                raise ConfigError(one["why"].decode())
        return [msgspec.json.decode(one["part"], type=Part) for one in found]

    return spread
