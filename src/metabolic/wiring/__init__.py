"""The composition root: a ``Config`` becomes a ``Runtime``. The only place that makes adapters.

Decides nothing and waits for nothing but start and stop; a request passes through ``Runtime`` on
its way from the gateway to ``execute`` and back to the ledger.
"""

__all__ = ["Offline", "Outcome", "Runtime", "build", "offline"]

from metabolic.wiring.building import build
from metabolic.wiring.offline import Offline, offline
from metabolic.wiring.runtime import Outcome, Runtime
