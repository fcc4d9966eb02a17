"""What can be dialled, and what is no address."""

import pytest

from ledger.rejection import Rejected, Rejection
from p2p.addresses import Address, format_address, format_endpoint, is_unspecified, parse_address

PEER = "12D3KooWL46h3EB5EPmNdrkJCDDUHy4bM6QbmmMP5cawmkGVpKhP"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}", "127.0.0.1", 4001),
        (f"/ip6/::1/tcp/65535/p2p/{PEER}", "::1", 65535),
        (f"/dns/node-1.example.org/tcp/1/p2p/{PEER}", "node-1.example.org", 1),
        (f"/dns4/example.org/tcp/4001/p2p/{PEER}", "example.org", 4001),
    ],
)
def test_an_address_has_a_host_a_port_and_a_peer(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port, PEER, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1/tcp/4001",
        f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER[:-1]}",
        f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}x",
        f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER[:-1]}0",
        f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}\n",
        f"/ip4/127.0.0.1/tcp/0/p2p/{PEER}",
        f"/ip4/127.0.0.1/tcp/65536/p2p/{PEER}",
        f"/ip4/127.0.0.1/udp/4001/quic-v1/p2p/{PEER}",
        f"/ip4/127.0.0.256/tcp/4001/p2p/{PEER}",
        f"/ip4/::1/tcp/4001/p2p/{PEER}",
        f"/ip6/127.0.0.1/tcp/4001/p2p/{PEER}",
        f"/dns/a/b/tcp/4001/p2p/{PEER}",
        f"/dns/{'a' * 101}/tcp/4001/p2p/{PEER}",
        f"/ip4/１27.0.0.1/tcp/4001/p2p/{PEER}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_address(text)
    assert refused.value.reason is Rejection.MALFORMED


def test_an_address_is_written_as_it_is_read() -> None:
    for host in ("127.0.0.1", "::1", "example.org"):
        text = format_address(host, 4001, PEER)
        assert parse_address(text).host == host
        assert text == f"{format_endpoint(host, 4001)}/p2p/{PEER}"


@pytest.mark.parametrize(
    ("host", "is_every"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("name", False)]
)
def test_every_interface_is_no_place(host: str, is_every: bool) -> None:
    assert is_unspecified(host) is is_every
