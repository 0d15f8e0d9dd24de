"""Talk to deployments: a request goes out in their dialect, an answer comes back as values.

Translates every fault of the wire into a ``BackendError``; knows nothing of the client's side.
Adapters are made through ``metabolic.plugins`` by name.
"""

__all__: list[str] = []
