import pytest

from outbound.errors import OutboundError, Refusal
from outbound.urls import follow, parse_url

REFUSED = [
    "", "x", "ftp://a.example/", "file:///etc/passwd", "gopher://a.example", "//a.example",
    "http:///x", "http://", "http://user@a.example/", "http://user:pw@a.example/",
    "http://a.example@10.0.0.1/", "http://a.example:22/", "http://a.example:25/",
    "http://a.example:0/", "http://a.example:99999/", "http://a.example:x/", "http://a b/",
    "http://a.example/\r\nX: y", "http://a.example/é", "http://exämple.org/", "http://a.example\\b",
    "http://[::1", "http://[fe80::1%25eth0]/", "http://a_b/", "http://" + "a" * 300,
    "http://a.example/" + "x" * 2_048, "javascript:alert(1)", "data:text/plain,x",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_url_to_ask_is_refused(url: str) -> None:
    with pytest.raises(OutboundError) as caught:
        parse_url(url)
    assert caught.value.reason is Refusal.URL_REFUSED


def test_a_url_in_parts() -> None:
    target = parse_url("https://Files.Example:8443/a%20b?c=d&e#f")
    assert target == ("https", "files.example", 8443, "/a%20b?c=d&e")
    assert target.authority == "files.example:8443"
    assert target.url == "https://files.example:8443/a%20b?c=d&e"
    assert parse_url("http://[2001:4860::8]").url == "http://[2001:4860::8]/"
    assert parse_url("http://a.example").authority == "a.example"


def test_a_redirect_leads_on_but_not_out_of_tls() -> None:
    start = parse_url("https://a.example/x/y?z")
    assert follow(start, "w").url == "https://a.example/x/w"
    assert follow(start, "//b.example").url == "https://b.example/"
    for location in ("http://a.example/", "ftp://a.example/", "https://u@b.example/", "http://["):
        with pytest.raises(OutboundError):
            follow(start, location)
