"""A stand-in for the llama.cpp server: the same ties to its parent, no model.

Run as a program with the server's arguments. ``--model`` names what it does:
``good`` serves, ``bad`` says why it cannot and exits, ``mute`` never says where it listens,
``deaf`` serves and ignores SIGTERM, ``sick`` listens and is never healthy, ``brief`` serves and
ends soon after its first health check.
"""

import http.server
import json
import os
import signal
import sys
import threading

from metabolic.engines import lifeline


class Server(http.server.ThreadingHTTPServer):
    """Answers ``/health`` and, to holders of the key, ``/v1/about``."""

    daemon_threads = True

    def __init__(self, mode: str, key: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = mode
        self.key = key


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        if self.path == "/health":
            self.send_response(503 if server.mode == "sick" else 200)
            self.end_headers()
            if server.mode == "brief":
                threading.Timer(0.05, os._exit, (7,)).start()
            return
        allowed = self.headers.get("Authorization") == f"Bearer {server.key}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        about = {"argv": sys.argv, "env": dict(os.environ), "sid": os.getsid(0)}
        self.wfile.write(json.dumps(about).encode() if allowed else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def main() -> None:
    flags = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    mode = flags["--model"]
    lifeline.hold(parent=int(flags["--parent"]))
    key = lifeline.first_line()
    out = lifeline.claim_stdout()
    watching = lifeline.watch()
    print("this goes to the log, though printed", flush=True)  # noqa: T201
    if mode == "bad":
        print("cannot load the model: invalid magic", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(1)
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode != "mute":
        server = Server(mode, key)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lifeline.announce(out, url=f"http://127.0.0.1:{server.server_port}")
    watching.join()


if __name__ == "__main__":
    main()
