"""The page on the network says what the code does: reasons, kinds, streams, limits."""

from p2p.frames import MAX_GOODBYE_BYTES, ControlKind
from p2p.handshake import PROTOCOLS
from p2p.hello import HIGHEST_VERSION, MAGIC, MAX_HELLO_BYTES, Refusal
from p2p.limits import FRAME_LIMITS, LANE_NAMES, LANES
from tests.properties.test_documents import read, read_table

PAGE = "network.md"


def test_the_page_lists_every_reason_to_refuse() -> None:
    listed = read_table(PAGE, "| reason | means |")
    assert listed == [[str(int(refusal)), refusal.doc] for refusal in Refusal]


def test_the_page_lists_every_control_frame() -> None:
    listed = read_table(PAGE, "| kind | name | data |")
    assert [row[:2] for row in listed] == [[str(int(kind)), kind.name] for kind in ControlKind]
    assert f"up to {MAX_GOODBYE_BYTES} bytes of text" in listed[ControlKind.GOODBYE - 1][2]


def test_the_page_lists_every_stream() -> None:
    assert read_table(PAGE, "| stream | protocol | longest frame |") == [
        [LANE_NAMES[lane], PROTOCOLS[lane], f"{FRAME_LIMITS[lane]:,}"] for lane in LANES
    ]


def test_the_page_describes_the_greeting() -> None:
    page = read(PAGE)
    assert f"at most {MAX_HELLO_BYTES:,} bytes: `{MAGIC.decode()}`" in page
    assert f"This page is version {HIGHEST_VERSION}." in page
