"""DNS messages, checked by dnslib: an implementation independent of ours."""

from __future__ import annotations

import random
import socket

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.networks.dns import packets

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) < 254)


def question(name: str, kind: str = "A", **fields: int) -> dnslib.DNSRecord:
    record = dnslib.DNSRecord.question(name, kind)
    for field, value in fields.items():
        setattr(record.header, field, value)
    return record


@given(NAME, st.sampled_from(["A", "AAAA", "PTR", "MX", "TXT", "SRV", "HTTPS"]))
def test_a_question_is_read_as_dnslib_wrote_it(name: str, kind: str) -> None:
    asked = question(name, kind)
    read = packets.read(asked.pack())
    assert (read.id, read.name, read.kind) == (asked.header.id, name, dnslib.QTYPE.reverse[kind])
    assert read.size == 512 and not read.extended


@given(NAME, st.lists(st.binary(min_size=4, max_size=4), max_size=20), st.booleans())
def test_an_answer_is_read_by_dnslib_as_it_was_meant(name: str, addresses: list[bytes], extended: bool) -> None:
    asked = question(name)
    if extended:
        asked.add_ar(dnslib.EDNS0(udp_len=4096))
    answer = packets.write(packets.read(asked.pack()), answers=[(packets.A, address) for address in addresses])
    read = dnslib.DNSRecord.parse(answer)
    assert read.header.id == asked.header.id and read.header.qr and read.header.ra and read.header.rd
    assert read.header.rcode == 0 and not read.header.aa
    assert read.q.qname == asked.q.qname
    got = [socket.inet_aton(str(record.rdata)) for record in read.rr]
    assert got == addresses or (read.header.tc and got == addresses[: len(got)] and not extended)
    assert all(record.ttl == 600 and record.rname == asked.q.qname for record in read.rr)
    assert bool(read.ar) == extended


def test_too_much_for_udp_is_cut_and_says_so() -> None:
    asked = packets.read(question("shop").pack())
    many = [(packets.A, bytes((10, 0, 0, number))) for number in range(100)]
    cut = packets.write(asked, answers=many)
    assert len(cut) <= 512 and dnslib.DNSRecord.parse(cut).header.tc
    whole = packets.write(asked, answers=many, limit=packets.LARGEST)
    assert len(dnslib.DNSRecord.parse(whole).rr) == 100 and not dnslib.DNSRecord.parse(whole).header.tc


def test_the_size_a_client_allows_has_bounds() -> None:
    for asked, allowed in ((0, 512), (1232, 1232), (65535, 4096)):
        record = question("web")
        record.add_ar(dnslib.EDNS0(udp_len=asked))
        assert packets.read(record.pack()).size == allowed


def test_names_are_told_in_any_case_and_repeated_as_asked() -> None:
    asked = packets.read(question("WeB").pack())
    assert asked.name == "web"
    assert str(dnslib.DNSRecord.parse(packets.write(asked)).q.qname) == "WeB."


def refusal(data: bytes) -> dnslib.DNSRecord | None:
    with pytest.raises(packets.Malformed) as caught:
        packets.read(data)
    return dnslib.DNSRecord.parse(caught.value.reply) if caught.value.reply else None


def test_an_answer_is_never_answered() -> None:
    assert refusal(question("web", qr=1).pack()) is None
    assert refusal(b"") is None and refusal(b"\0" * 11) is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (question("web", opcode=2).pack(), "NOTIMP"),
        (dnslib.DNSRecord(q=dnslib.DNSQuestion("web", 1, 3)).pack(), "REFUSED"),
        (question("web").pack()[:-1], "FORMERR"),
        (question("web").pack()[:13], "FORMERR"),
        (dnslib.DNSRecord().pack(), "FORMERR"),
        (dnslib.DNSRecord(q=dnslib.DNSQuestion("a")).pack()[:12] + b"\xc0\x0c\0\1\0\1", "FORMERR"),  # a loop
        (dnslib.DNSRecord(q=dnslib.DNSQuestion("a")).pack()[:12] + b"\x3f" * 400, "FORMERR"),
        (
            dnslib.DNSRecord(q=dnslib.DNSQuestion("a")).pack()[:12] + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1",
            "FORMERR",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(data: bytes, code: str) -> None:
    refused = refusal(data)
    assert refused and dnslib.RCODE[refused.header.rcode] == code and refused.header.qr


@given(st.binary(max_size=600))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        packets.write(packets.read(data), answers=[(packets.A, b"\1\2\3\4")])
    except packets.Malformed as error:
        assert error.reply is None or len(error.reply) == 12


@given(NAME, st.integers(0, 2**32), st.data())
def test_a_broken_question_does_no_more_than_be_refused(name: str, seed: int, data: st.DataObject) -> None:
    broken = bytearray(question(name).pack())
    for position in data.draw(st.lists(st.integers(0, len(broken) - 1), max_size=4)):
        broken[position] = random.Random(seed + position).randrange(256)
    try:
        packets.read(bytes(broken[: data.draw(st.integers(0, len(broken)))]))
    except packets.Malformed:
        pass


@given(NAME, st.binary(max_size=200), st.integers(0, 65535))
def test_only_an_answer_to_that_question_counts(name: str, noise: bytes, id: int) -> None:
    asked = packets.read(question(name).pack())
    assert not packets.matches(noise, id, asked)
    reply = packets.with_id(packets.write(asked), id)
    assert packets.matches(reply, id, asked)
    assert not packets.matches(reply, (id + 1) % 65536, asked)
    assert not packets.matches(packets.with_id(question(name).pack(), id), id, asked), "a question is no answer"
    other = packets.read(question(f"x{name}"[:253]).pack())
    assert not packets.matches(packets.with_id(packets.write(other), id), id, asked)


@given(NAME)
def test_a_name_is_written_as_dnslib_reads_it(name: str) -> None:
    buffer = dnslib.DNSBuffer(packets.encode_name(name))
    assert str(buffer.decode_name()).rstrip(".") == name


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_not_written(name: str) -> None:
    with pytest.raises(ValueError):
        packets.encode_name(name)
