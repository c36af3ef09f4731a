//! Rules and routes, as the kernel reads and tells them.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_bindings::rt_route::{OpDelrouteDo, OpGetrouteDump, OpNewrouteDo, Rtmsg};
use netlink_bindings::rt_rule::{
    FibRuleHdr, FibRulePortRange, FrAct, OpDelruleDo, OpGetruleDump, OpNewruleDo, PushFibRuleAttrs,
};
use netlink_bindings::traits::Pusher;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use wgmfa_core::gate::routing::{Act, PRIORITIES, PROTOCOL, Route, Routing, Rule, TABLES};
use wgmfa_core::name::InterfaceName;

use crate::gate::netlink::{CREATE, EXCLUSIVE, Socket};

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const GET_RULE: u16 = 34;

const INET: u8 = 2;
const INET6: u8 = 10;

/// Kinds of routes.
const UNICAST: u8 = 1;
const PROHIBIT: u8 = 8;
const THROW: u8 = 9;

/// Our tables.
const OURS: std::ops::Range<u32> = TABLES..TABLES + 100;

fn family(v6: bool) -> u8 {
    if v6 { INET6 } else { INET }
}

/// Whether there is IPv6 at all: a machine may have been started without it.
pub fn has_v6(socket: &mut Socket) -> bool {
    list(socket, rules(true)).is_ok()
}

/// What stands there with our mark.
pub fn read(socket: &mut Socket, families: &[bool]) -> io::Result<Routing> {
    let mut routing = Routing::default();
    for &v6 in families {
        for payload in list(socket, rules(v6))? {
            routing.rules.extend(rule(&payload, v6));
        }
        for payload in list(socket, routes(v6))? {
            routing.routes.extend(route(&payload, v6));
        }
    }
    Ok(routing)
}

/// The networks that are routed to these interfaces. Not the default route, which would cut the gateway off, and not what
/// every interface has.
pub fn behind(socket: &mut Socket, families: &[bool], interfaces: &BTreeSet<InterfaceName>) -> io::Result<Vec<IpNet>> {
    let indices: Vec<u32> = interfaces.iter().filter_map(|name| if_nametoindex(name.as_str()).ok()).collect();
    let mut found = BTreeSet::new();
    for &v6 in families {
        for payload in list(socket, routes(v6))? {
            let (header, attributes) = OpGetrouteDump::decode_request(&payload);
            let goes_there = attributes.get_oif().is_ok_and(|index| indices.contains(&index));
            if !goes_there || header.rtm_type != UNICAST || header.rtm_dst_len == 0 {
                continue;
            }
            let network = network(attributes.get_dst().ok(), header.rtm_dst_len, v6);
            let everywhere = |address: IpAddr| match address {
                IpAddr::V4(address) => address.is_link_local() || address.is_multicast(),
                IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
            };
            found.extend(network.filter(|network| !everywhere(network.addr())));
        }
    }
    Ok(found.into_iter().collect())
}

type Request = (u16, Vec<u8>);

fn rules(v6: bool) -> Request {
    let mut bytes = Vec::new();
    OpGetruleDump::encode_request(&mut bytes, &FibRuleHdr { family: family(v6), ..FibRuleHdr::default() });
    (GET_RULE, bytes)
}

fn routes(v6: bool) -> Request {
    let mut bytes = Vec::new();
    OpGetrouteDump::encode_request(&mut bytes, &Rtmsg { rtm_family: family(v6), ..Rtmsg::default() });
    (GET_ROUTE, bytes)
}

fn list(socket: &mut Socket, (kind, payload): Request) -> io::Result<Vec<Vec<u8>>> {
    socket.dump(kind, |bytes| bytes.extend_from_slice(&payload))
}

fn network(address: Option<IpAddr>, length: u8, v6: bool) -> Option<IpNet> {
    match address {
        Some(address) => IpNet::new(address, length).ok(),
        None if v6 => Some(Ipv6Net::default().into()),
        None => Some(Ipv4Net::default().into()),
    }
}

fn rule(payload: &[u8], v6: bool) -> Option<Rule> {
    let (header, attributes) = OpGetruleDump::decode_request(payload);
    let priority = attributes.get_priority().ok().filter(|priority| PRIORITIES.contains(priority))?;
    if attributes.get_protocol() != Ok(PROTOCOL) || header.family != family(v6) {
        return None;
    }
    let network = |address: Option<IpAddr>, length| address.and_then(|address| IpNet::new(address, length).ok());
    let ports = |range: FibRulePortRange| (range.start, range.end);
    Some(Rule {
        priority,
        v6,
        interface: attributes.get_iifname().ok().map(|name| name.to_string_lossy().into_owned()),
        from: network(attributes.get_src().ok(), header.src_len),
        to: network(attributes.get_dst().ok(), header.dst_len),
        protocol: attributes.get_ip_proto().ok(),
        source: attributes.get_sport_range().ok().map(ports),
        destination: attributes.get_dport_range().ok().map(ports),
        act: match FrAct::from_value(header.action.into())? {
            FrAct::Goto => Act::Goto(attributes.get_goto().ok()?),
            FrAct::ToTbl => Act::Lookup(attributes.get_table().ok()?),
            FrAct::Nop => Act::Nop,
            _ => Act::Prohibit,
        },
    })
}

fn route(payload: &[u8], v6: bool) -> Option<Route> {
    let (header, attributes) = OpGetrouteDump::decode_request(payload);
    let table = attributes.get_table().ok().filter(|table| OURS.contains(table))?;
    let to = network(attributes.get_dst().ok(), header.rtm_dst_len, v6)?;
    matches!(header.rtm_type, PROHIBIT | THROW).then_some(Route { table, to, prohibit: header.rtm_type == PROHIBIT })
}

pub fn add_rule(socket: &mut Socket, rule: &Rule) -> io::Result<()> {
    let header = rule_header(rule);
    let answer = socket.request(NEW_RULE, CREATE | EXCLUSIVE, |bytes| {
        push(OpNewruleDo::encode_request(bytes, &header), rule);
    });
    done(answer, Errno::EEXIST)
}

pub fn delete_rule(socket: &mut Socket, rule: &Rule) -> io::Result<()> {
    let header = rule_header(rule);
    let answer = socket.request(DELETE_RULE, 0, |bytes| push(OpDelruleDo::encode_request(bytes, &header), rule));
    done(answer, Errno::ENOENT)
}

pub fn add_route(socket: &mut Socket, route: &Route) -> io::Result<()> {
    let header = route_header(route);
    let answer = socket.request(NEW_ROUTE, CREATE | EXCLUSIVE, |bytes| {
        let request = OpNewrouteDo::encode_request(bytes, &header).push_table(route.table);
        if route.to.prefix_len() > 0 {
            request.push_dst(route.to.addr());
        }
    });
    done(answer, Errno::EEXIST)
}

pub fn delete_route(socket: &mut Socket, route: &Route) -> io::Result<()> {
    let header = route_header(route);
    let answer = socket.request(DELETE_ROUTE, 0, |bytes| {
        let request = OpDelrouteDo::encode_request(bytes, &header).push_table(route.table);
        if route.to.prefix_len() > 0 {
            request.push_dst(route.to.addr());
        }
    });
    done(answer, Errno::ESRCH)
}

fn rule_header(rule: &Rule) -> FibRuleHdr {
    let length = |network: Option<IpNet>| network.map_or(0, |network| network.prefix_len());
    let action = match rule.act {
        Act::Goto(_) => FrAct::Goto,
        Act::Lookup(_) => FrAct::ToTbl,
        Act::Nop => FrAct::Nop,
        Act::Prohibit => FrAct::Prohibit,
    };
    FibRuleHdr {
        family: family(rule.v6),
        src_len: length(rule.from),
        dst_len: length(rule.to),
        action: action as u8,
        ..FibRuleHdr::default()
    }
}

fn push<P: Pusher>(mut request: PushFibRuleAttrs<P>, rule: &Rule) {
    request = request.push_priority(rule.priority).push_protocol(PROTOCOL);
    if let Some(interface) = &rule.interface {
        request = request.push_iifname_bytes(interface.as_bytes());
    }
    if let Some(from) = rule.from {
        request = request.push_src(from.addr());
    }
    if let Some(to) = rule.to {
        request = request.push_dst(to.addr());
    }
    if let Some(protocol) = rule.protocol {
        request = request.push_ip_proto(protocol);
    }
    let range = |(start, end)| FibRulePortRange { start, end };
    if let Some(ports) = rule.source {
        request = request.push_sport_range(range(ports));
    }
    if let Some(ports) = rule.destination {
        request = request.push_dport_range(range(ports));
    }
    match rule.act {
        Act::Goto(priority) => drop(request.push_goto(priority)),
        Act::Lookup(table) => drop(request.push_table(table)),
        Act::Nop | Act::Prohibit => {}
    }
}

fn route_header(route: &Route) -> Rtmsg {
    Rtmsg {
        rtm_family: family(route.to.addr().is_ipv6()),
        rtm_dst_len: route.to.prefix_len(),
        rtm_protocol: PROTOCOL,
        rtm_type: if route.prohibit { PROHIBIT } else { THROW },
        ..Rtmsg::default()
    }
}

/// What is as it should be already is no failure.
fn done(answer: io::Result<Vec<Vec<u8>>>, already: Errno) -> io::Result<()> {
    match answer {
        Err(error) if error.raw_os_error() == Some(already as i32) => Ok(()),
        answer => answer.map(drop),
    }
}
