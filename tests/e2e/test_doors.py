"""Many clients that come at once are let in at once."""

import socket
from contextlib import ExitStack, closing

from metabolic.testing.gateway import Running


def test_every_listener_shares_the_one_socket_s_address(gateway: Running) -> None:
    ports = {sock.getsockname()[1] for server in gateway.server.servers for sock in server.sockets}
    assert ports == {gateway.port}
    assert len(gateway.server.servers) > 1


def test_hundreds_of_clients_at_once_are_all_answered(gateway: Running) -> None:
    with ExitStack() as stack:
        made = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", gateway.port), 10)))
            for _ in range(200)
        ]
        for one in made:
            one.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert {one.recv(15) for one in made} == {b"HTTP/1.1 200 OK"}
