"""The front door: an OpenAI-compatible HTTP server, raw ASGI on uvicorn, no framework.

It reads bytes, checks who asks and how much they may send, makes ``Request`` and ``Ask``, hands
them to the runtime, and turns the ``Outcome`` back into bytes, headers, metrics and one log line.
It decides nothing and keeps nothing: routing is ``decide``'s, waiting is ``execute``'s. It may
not import an adapter, and its request path imports, copies and compiles nothing.
"""
