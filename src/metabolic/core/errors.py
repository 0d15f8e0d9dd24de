"""The error tree, divided by whose fault it is; each knows its HTTP status and wire code.

::

    MetabolicError
    ├─ ConfigError                 start-up; names table and key
    ├─ RequestError          400   ours to refuse: malformed, too long
    │  ├─ TooLarge           413   body over the limit, refused before parsing
    │  ├─ Unauthorized       401   missing or unknown key
    │  └─ UnknownModel       404   no deployment or virtual model of that name
    ├─ NoCandidate           503   carries the Decision: every reason, for the caller to read
    ├─ BackendError          502   a deployment did not answer
    │  ├─ Unreachable        502   no connection, or it broke
    │  ├─ Overloaded         429   upstream says it is busy; ``retry_after_s``
    │  │  └─ Shed            503   our own gate says so: line full, or too late
    │  ├─ TimedOut           504   first token, stall or total time passed
    │  ├─ Refused            4xx   upstream refused the request itself; its status is passed on
    │  └─ BadReply           502   upstream answered something that is not an answer
    ├─ EngineError                 a local engine did not start or stop as asked
    ├─ StoreError                  a model file could not be had, or is not the file it should be
    ├─ SensorError                 never leaves ``sense``: the reading becomes None
    ├─ ActuatorError               a limit could not be set or put back; never fails a request
    └─ LedgerError                 never fails a request: spooled, counted, alarmed
"""

__all__ = [
    "ActuatorError",
    "BackendError",
    "BadReply",
    "ConfigError",
    "EngineError",
    "LedgerError",
    "MetabolicError",
    "NoCandidate",
    "Overloaded",
    "Refused",
    "RequestError",
    "SensorError",
    "Shed",
    "StoreError",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "UnknownModel",
    "Unreachable",
]

from metabolic.core.decision import Decision


class MetabolicError(Exception):
    """Any error Metabolic raises on purpose.

    ``status`` is the HTTP status it becomes, ``kind`` OpenAI's ``error.type`` and ``code``
    OpenAI's ``error.code`` (``None`` when there is none).
    """

    status: int = 500
    kind: str = "server_error"
    code: str | None = None


class ConfigError(MetabolicError):
    """The configuration is invalid; the message names file, table and key."""


class RequestError(MetabolicError):
    """The client's request cannot be served as it is.

    ``param`` names the offending field in OpenAI's notation (``messages[0].role``), if known.
    """

    status = 400
    kind = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Keep the message and the name of the offending field."""
        super().__init__(message)
        self.param = param


class TooLarge(RequestError):
    """The body is larger than the gateway accepts; it was not parsed."""

    status = 413
    code = "request_too_large"


class Unauthorized(RequestError):
    """No API key, or one the gateway does not know."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class UnknownModel(RequestError):
    """The ``model`` names neither a deployment nor a virtual model."""

    status = 404
    code = "model_not_found"


class NoCandidate(MetabolicError):
    """No deployment may answer; ``decision`` says why each was rejected."""

    status = 503
    kind = "server_error"
    code = "no_candidate"

    def __init__(self, message: str, *, decision: Decision | None = None) -> None:
        """Keep the message and the decision with all its reasons."""
        super().__init__(message)
        self.decision = decision


class BackendError(MetabolicError):
    """A deployment did not give an answer."""

    status = 502
    kind = "server_error"
    code = "upstream_error"


class Unreachable(BackendError):
    """No connection to the deployment, or it broke before the answer was whole."""

    code = "upstream_unreachable"


class Overloaded(BackendError):
    """The deployment is busy; ``retry_after_s`` is its own word, ``None`` if it gave none."""

    status = 429
    kind = "rate_limit_error"
    code = "upstream_overloaded"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Keep the message and the seconds the deployment asked us to wait."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Shed(Overloaded):
    """Our own gate turned it away: the line is full, or the answer would come too late."""

    status = 503
    code = "queue_full"


class TimedOut(BackendError):
    """The deployment took too long to connect, to begin, to go on, or in total."""

    status = 504
    code = "upstream_timeout"


class Refused(BackendError):
    """The deployment refused the request itself (4xx): nobody else should be asked.

    ``status`` is the upstream's, ``body`` its error envelope, verbatim, and ``said`` the plain
    word in it, if there is one.
    """

    status = 400
    kind = "invalid_request_error"
    code = "upstream_refused"

    def __init__(self, message: str, *, status: int, body: bytes, said: str | None = None) -> None:
        """Keep the message, the upstream's status, its body and its word."""
        super().__init__(message)
        self.status = status
        self.body = body
        self.said = said


class BadReply(BackendError):
    """The deployment answered, but not with an answer; ``said`` is its HTTP status, if known."""

    code = "upstream_bad_reply"

    def __init__(self, message: str, *, said: int | None = None) -> None:
        """Keep the message and the upstream's status."""
        super().__init__(message)
        self.said = said


class EngineError(MetabolicError):
    """A local engine did not start, or did not stop, as asked."""


class StoreError(MetabolicError):
    """A model file cannot be had, or is not the file it should be."""


class SensorError(MetabolicError):
    """A sensor cannot be read; never leaves ``sense``."""


class ActuatorError(MetabolicError):
    """A power or clock limit could not be set or put back."""


class LedgerError(MetabolicError):
    """The ledger cannot store or read; never fails a request."""
