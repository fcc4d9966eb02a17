"""The bytes between a node and its transport's process: lots of records, each behind its length.

Both ends are ours, so nothing here is hostile: what does not decode is a bug and raises.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from p2p.bridge import Order, Report
from p2p.interface import NetworkIdentity, NetworkSettings

HEAD: Final = struct.Struct(">I")


class Setup(msgspec.Struct, frozen=True):
    """The first thing that the process hears."""

    identity: NetworkIdentity
    settings: NetworkSettings


_encoder = msgspec.msgpack.Encoder()
_setup_decoder = msgspec.msgpack.Decoder(Setup)
_order_decoder = msgspec.msgpack.Decoder(list[Order])
_report_decoder = msgspec.msgpack.Decoder(list[Report])


def encode(value: Setup | Sequence[Order] | Sequence[Report]) -> bytes:
    """Return a lot, its length before it."""
    data = _encoder.encode(value)
    return HEAD.pack(len(data)) + data


def decode_setup(data: bytes) -> Setup:
    """Return the setup of a lot without its length."""
    return _setup_decoder.decode(data)


def decode_orders(data: bytes) -> list[Order]:
    """Return the orders of a lot without its length."""
    return _order_decoder.decode(data)


def decode_reports(data: bytes) -> list[Report]:
    """Return the reports of a lot without its length."""
    return _report_decoder.decode(data)
