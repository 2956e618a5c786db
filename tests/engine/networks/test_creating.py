"""`network create`: what is refused, in Docker's words, and what becomes of what isn't. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.errors import Conflict, EngineError, Forbidden, InvalidRequest, NotFound, NotSupported
from dosirak.engine.networks import creating, options
from dosirak.engine.networks.addresses import Allocator, Pools, unique_local
from dosirak.engine.networks.model import ConfigFrom, CreateRequest, Ipam, Network, Pool

OTHER = Network(id="f" * 64, name="other", driver="bridge", created=1.0, subnet="10.1.0.0/16", bridge="br-f")
OWN = Pools(six=((unique_local(b"a root"), 64),))
ID = "0123456789abcdef" * 4


def request(name: str = "back", pool: Pool | None = None, **fields: object) -> CreateRequest:
    if pool:
        fields["ipam"] = Ipam(config=[pool])
    return CreateRequest(name=name, **fields)  # type: ignore[arg-type]


def make(asked: CreateRequest, used: tuple[str, ...] = ()) -> Network:
    creating.check(asked, [OTHER])
    return creating.make(asked, ID, [OTHER], [IPv4Network(subnet) for subnet in used], OWN)


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        (request("bridge"), Forbidden, "operation is not permitted on predefined bridge network "),
        (request(""), InvalidRequest, "invalid name: name is empty"),
        (request("  "), InvalidRequest, "invalid name: name is empty"),
        (request("-x"), InvalidRequest, "invalid network name: '-x'"),
        (request("a/b"), InvalidRequest, "invalid network name: 'a/b'"),
        (request("a\nb"), InvalidRequest, "invalid network name"),
        (request("other"), Conflict, "network with name other already exists"),
        (request(driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
        (request(driver="overlay"), Forbidden, "This node is not a swarm manager."),
        (request(driver="macvlan"), NotSupported, "network driver macvlan"),
        (request(driver="foo"), NotFound, 'plugin "foo" not found'),
        (request(ipam=Ipam(driver="foo")), NotFound, 'plugin "foo" not found'),
        (request(scope="swarm"), Forbidden, "cannot create a swarm scoped network when swarm is not active"),
        (request(ingress=True), Forbidden, "Ingress network can only be global scope network"),
        (request(config_only=True, internal=True), Forbidden, "can only contain network specific fields"),
        (request(config_only=True, config_from=ConfigFrom("x")), Forbidden, "cannot depend on another configuration"),
        (request(config_from=ConfigFrom("x"), labels={"a": "b"}), Forbidden, "user specified configurations are not"),
        (
            request(config_from=ConfigFrom("x"), options={"a": "b"}),
            Forbidden,
            "network driver options are not supported",
        ),
        (request(config_from=ConfigFrom("x")), NotFound, 'configuration network "x" does not exist'),
        (request(enable_ipv4=False), InvalidRequest, "IPv4 or IPv6 must be enabled"),
        (request(pool=Pool()), InvalidRequest, "invalid network config:\ninvalid subnet : invalid CIDR block notation"),
        (request(pool=Pool("10.0.0.1")), InvalidRequest, "invalid subnet 10.0.0.1: invalid CIDR block notation"),
        (request(pool=Pool("10.0.0.1/8")), InvalidRequest, "invalid subnet 10.0.0.1/8: it should be 10.0.0.0/8"),
        (
            request(pool=Pool("10.0.0.0/24", "10.0.0.0/8")),
            InvalidRequest,
            "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.0.0.0/24",
        ),
        (
            request(pool=Pool("10.0.0.0/24", "10.0.1.0/25")),
            InvalidRequest,
            "invalid ip-range 10.0.1.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
        ),
        (
            request(pool=Pool("10.0.0.0/24", gateway="10.0.1.1")),
            InvalidRequest,
            "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address",
        ),
        (request(pool=Pool("10.0.0.0/24", gateway="x")), InvalidRequest, "invalid gateway x: invalid address"),
        (
            request(pool=Pool("10.0.0.0/24", reserved={"host": "::1"})),
            InvalidRequest,
            "invalid auxiliary address host: parent subnet is an IPv4 block",
        ),
        (
            request(pool=Pool("10.0.0.1/24", gateway="x")),
            InvalidRequest,
            "invalid network config:\n* invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24\n* invalid gateway x:",
        ),
        (
            request(pool=Pool("10.1.2.0/24")),
            Forbidden,
            "invalid pool request: Pool overlaps with other one on this address space",
        ),
        (
            request(ipam=Ipam(config=[Pool("10.2.0.0/24"), Pool("10.3.0.0/24")])),
            Forbidden,
            "bridge driver doesn't support multiple subnets",
        ),
        (request(pool=Pool("10.9.0.0/31")), InvalidRequest, "no room for a gateway and a container"),
        (
            request(options={"com.docker.network.bridge.name": "br-f"}),
            Forbidden,
            "networks have same bridge name",
        ),
    ],
)
def test_what_docker_refuses_is_refused_in_its_words(asked: CreateRequest, kind: type[EngineError], words: str) -> None:
    with pytest.raises(kind) as caught:
        make(asked)
    assert words in str(caught.value)


def test_a_network_takes_the_next_pool_and_is_named_by_its_id() -> None:
    made = make(request(labels={"a": "b"}, options={"foreign": "kept"}), ("172.17.0.0/16",))
    assert (made.subnet, made.gateway, made.bridge) == ("172.18.0.0/16", "172.18.0.1", "br-0123456789ab")
    assert (made.labels, made.options, made.fixed) == ({"a": "b"}, {"foreign": "kept"}, False)


def test_what_was_asked_for_is_kept() -> None:
    pool = Pool("10.5.0.0/16", "10.5.7.0/24", "10.5.7.254", {"printer": "10.5.7.9"})
    made = make(request(pool=pool, internal=True, attachable=True))
    assert (made.subnet, made.ip_range, made.gateway) == ("10.5.0.0/16", "10.5.7.0/24", "10.5.7.254")
    assert made.reserved == {"printer": "10.5.7.9"}
    assert made.internal and made.attachable and made.fixed


def test_a_gateway_is_the_first_address_that_is_not_reserved() -> None:
    assert make(request(pool=Pool("10.5.0.0/24", reserved={"a": "10.5.0.1", "b": "10.5.0.2"}))).gateway == "10.5.0.3"
    assert make(request(pool=Pool("10.5.0.0/16", "10.5.7.0/24"))).gateway == "10.5.7.0"


def test_a_part_of_what_the_host_routes_is_free_but_not_more_than_it_uses() -> None:
    assert make(request(pool=Pool("10.5.0.0/24")), ("10.0.0.0/8",)).subnet == "10.5.0.0/24"
    with pytest.raises(Forbidden, match="Pool overlaps"):
        make(request(pool=Pool("10.0.0.0/8")), ("10.5.0.0/24",))


def test_a_range_is_all_that_is_given_away_but_not_all_that_can_be_asked_for() -> None:
    subnet = IPv4Network("10.5.0.0/24")
    allocator = Allocator("n", subnet, [subnet[1], subnet[17]], IPv4Network("10.5.0.16/30"))
    allocator.reserve(IPv4Address("10.5.0.99"))
    assert [str(allocator.take()) for _ in range(3)] == ["10.5.0.16", "10.5.0.18", "10.5.0.19"]


PREFIX = "com.docker.network."


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("driver.mtu", "big", 'failed to parse com.docker.network.driver.mtu value: big (strconv.Atoi: parsing "big"'),
        ("driver.mtu", "-1", "invalid MTU number: -1"),
        ("bridge.enable_icc", "maybe", 'value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)'),
        ("bridge.host_binding_ipv4", "here", "failed to parse com.docker.network.bridge.host_binding_ipv4 value: here"),
        ("bridge.name", "a name of much more than 15 bytes", "invalid bridge name"),
        ("bridge.name", "../x", "invalid bridge name"),
    ],
)
def test_a_malformed_option_is_refused(key: str, value: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        options.parse({PREFIX + key: value})
    assert words in str(caught.value)


def test_options_are_read_and_strangers_let_be() -> None:
    assert options.parse({"com.example": "x", f"{PREFIX}driver.mtu": ""}) == options.BridgeOptions()
    assert options.parse(
        {
            f"{PREFIX}bridge.name": "mine0",
            f"{PREFIX}driver.mtu": "1400",
            f"{PREFIX}bridge.enable_icc": "false",
            f"{PREFIX}bridge.enable_ip_masquerade": "0",
            f"{PREFIX}bridge.host_binding_ipv4": "127.0.0.1",
        }
    ) == options.BridgeOptions(name="mine0", mtu=1400, neighbours=False, masquerade=False, host_ip="127.0.0.1")
    with pytest.raises(NotSupported):
        options.parse({f"{PREFIX}bridge.gateway_mode_ipv4": "routed"})


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_no_request_does_more_than_be_refused(name: str, subnet: str, part: str, gateway: str) -> None:
    try:
        made = make(request(name, Pool(subnet, part, gateway)))
    except EngineError:
        return
    assert IPv4Address(made.gateway) in IPv4Network(made.subnet)
