"""One TOML file becomes frozen Structs; everything wrong with it is said at start-up.

Unknown keys are errors that name file, table and key. Secrets come only from the environment, as
``env:NAME``, and are resolved here, once. Without a file the embedded defaults run. Every key and
its default is in ``docs/configuration.md``; a test holds that page to these Structs.
"""

__all__ = [
    "AdapterTable",
    "BeliefTable",
    "CertificateTable",
    "CheckpointTable",
    "Config",
    "DeploymentTable",
    "EnergyTable",
    "EnginesTable",
    "KeyTable",
    "LedgerTable",
    "ModelsTable",
    "ProfileTable",
    "RoutingTable",
    "Secret",
    "SenseTable",
    "ServerTable",
    "VirtualTable",
    "load",
    "override",
    "parse",
]

from metabolic.config.load import load, override, parse
from metabolic.config.secret import Secret
from metabolic.config.tables import (
    AdapterTable,
    BeliefTable,
    CertificateTable,
    CheckpointTable,
    Config,
    DeploymentTable,
    EnergyTable,
    EnginesTable,
    KeyTable,
    LedgerTable,
    ModelsTable,
    ProfileTable,
    RoutingTable,
    SenseTable,
    ServerTable,
    VirtualTable,
)
