"""python3-aioice, an ICE and TURN client of another hand, on causeway-edge."""
import asyncio
import os
import ssl

import pytest

from conftest import TIMEOUT_S, make_cert

aioice = pytest.importorskip("aioice", reason="needs python3-aioice")
turn = pytest.importorskip("aioice.turn")

pytestmark = pytest.mark.sanitized
EDGE, PEER = "127.0.0.2", "127.0.0.3"
WAYS = ["udp", "tcp", "tls"]


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return make_cert(tmp_path_factory.mktemp("cert"), "turn.test")


@pytest.fixture
def edge(programs, cert):
    p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user", "turn:secret",
                 "--peer-allow", "127.0.0.0/8", "--relay-to-relay", "--log", "json",
                 "--tls-cert", cert[0], "--tls-key", cert[1])
    return p, (EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1]))


def run(what):
    return asyncio.run(asyncio.wait_for(what, 3 * TIMEOUT_S))


class Inbox(asyncio.DatagramProtocol):
    """Puts what comes into a queue; as a peer, sends it back as well."""

    def __init__(self, echo=False):
        self.got, self.gone, self.echo = asyncio.Queue(), asyncio.Event(), echo

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.got.put_nowait((data, addr))
        if self.echo:
            self.transport.sendto(data, addr)

    def connection_lost(self, _):
        self.gone.set()


def options(way, cert):
    return {"transport": "udp" if way == "udp" else "tcp",
            "ssl": ssl.create_default_context(cafile=cert[0]) if way == "tls" else False}


@pytest.mark.parametrize("way", WAYS)
def test_a_peer_echoes(edge, cert, way):
    program, server = edge

    async def scene():
        loop = asyncio.get_running_loop()
        peer, _ = await loop.create_datagram_endpoint(lambda: Inbox(echo=True), (PEER, 0))
        transport, inbox = await turn.create_turn_endpoint(
            Inbox, server, "turn", "secret", **({} if way == "udp" else options(way, cert)))
        to = peer.get_extra_info("sockname")
        # 1280: what ICE and its users rely on; the odd ones need padding on a stream.
        for size in (1, 2, 3, 4, 333, 1280):
            data = os.urandom(size)
            transport.sendto(data, to)
            assert await inbox.got.get() == (data, to)
        relayed = transport.get_extra_info("sockname")
        transport.close()
        await inbox.gone.wait()
        peer.close()
        return relayed

    relayed = run(scene())
    assert program.wait_event("release")["relay"] == f"{relayed[0]}:{relayed[1]}"


def test_a_wrong_password_is_refused(edge):
    async def scene():
        with pytest.raises(aioice.stun.TransactionFailed) as e:
            await turn.create_turn_endpoint(Inbox, edge[1], "turn", "wrong")
        return e.value.response.attributes["ERROR-CODE"][0]

    assert run(scene()) == 401


@pytest.mark.parametrize("way", WAYS)
def test_ice_over_relays_alone(edge, cert, way):
    """Two agents that know each other's relay candidates only: checks, nomination, data."""
    async def scene():
        server = {"turn_server": edge[1], "turn_username": "turn", "turn_password": "secret",
                  "turn_transport": options(way, cert)["transport"],
                  "turn_ssl": options(way, cert)["ssl"],
                  "transport_policy": aioice.TransportPolicy.RELAY}
        ends = [aioice.Connection(ice_controlling=first, **server) for first in (True, False)]
        for end in ends:
            await end.gather_candidates()
        for end, other in (ends, reversed(ends)):
            assert [c.type for c in other.local_candidates] == ["relay"]
            await end.add_remote_candidate(other.local_candidates[0])
            await end.add_remote_candidate(None)
            end.remote_username = other.local_username
            end.remote_password = other.local_password
        await asyncio.gather(*(end.connect() for end in ends))
        data = os.urandom(1200)
        for end, other in (ends, reversed(ends)):
            await end.send(data)
            assert await other.recv() == data
        for end in ends:
            await end.close()

    run(scene())
    assert int(edge[0].wait_event("release")["to_peers"]) > 1200
