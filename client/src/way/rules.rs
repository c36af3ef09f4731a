//! Routing rules of one kind only: TCP to one port of one address goes by the main table, past whatever other rules say.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkPayload};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};
use netlink_request::netlink_request_rtnl;
use nix::errno::Errno;

/// Marks our rules, as `ip rule` shows them (`proto 120`); the agent's gate has 119, and no routing daemon either of them.
pub const PROTOCOL: u8 = 120;

/// `RT_TABLE_MAIN` of `linux/rtnetlink.h`.
const MAIN: u8 = 254;

/// In front of every rule of the site's but never behind this priority. `wg-quick(8)` takes the highest that is free.
const LAST: u32 = 30_000;

/// A rule that stands, as the kernel takes it back.
#[derive(Debug, Clone)]
pub struct Rule(RuleMessage);

/// Puts a rule in front of all others but the local table's. The same rule may stand several times, once for each program
/// that needs it.
///
/// # Errors
/// The kernel refuses it; needs CAP_NET_ADMIN.
pub fn add(to: SocketAddr) -> io::Result<Rule> {
    let (family, length) = if to.is_ipv6() { (AddressFamily::Inet6, 128) } else { (AddressFamily::Inet, 32) };
    let others = list(family)?.into_iter().filter(|rule| !is_ours(rule));
    let first = others.filter_map(|rule| priority(&rule)).filter(|priority| *priority > 0).min();
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    rule.header.dst_len = length;
    rule.header.table = MAIN;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Destination(to.ip()),
        RuleAttribute::Priority(in_front_of(first)),
        RuleAttribute::Table(MAIN.into()),
        RuleAttribute::IpProtocol(IpProtocol::Tcp),
        RuleAttribute::DestinationPortRange(RulePortRange { start: to.port(), end: to.port() }),
        RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
    ];
    // without NLM_F_EXCL, so that it may stand twice
    request(RouteNetlinkMessage::NewRule(rule.clone()), NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE)?;
    Ok(Rule(rule))
}

/// Takes one rule away; one that somebody else has taken away is as good.
///
/// # Errors
/// The kernel refuses it.
pub fn remove(rule: &Rule) -> io::Result<()> {
    match request(RouteNetlinkMessage::DelRule(rule.0.clone()), NLM_F_REQUEST | NLM_F_ACK) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
        answer => answer.map(drop),
    }
}

/// Every rule of this kind that stands, whoever made it.
///
/// # Errors
/// The kernel cannot be asked.
pub fn standing() -> io::Result<Vec<Rule>> {
    let mut found = list(AddressFamily::Inet)?;
    found.extend(list(AddressFamily::Inet6)?);
    Ok(found.into_iter().filter(is_ours).map(Rule).collect())
}

/// Whether somebody's rule for this address and port stands. Needs no rights.
pub fn stands_for(to: SocketAddr) -> bool {
    let asks_for = |rule: &Rule| {
        let port = RuleAttribute::DestinationPortRange(RulePortRange { start: to.port(), end: to.port() });
        [RuleAttribute::Destination(to.ip()), port].iter().all(|wanted| rule.0.attributes.contains(wanted))
    };
    standing().is_ok_and(|rules| rules.iter().any(asks_for))
}

/// Whether an address is one for which there may be a rule: another machine's, beyond this link.
pub fn is_far(address: IpAddr) -> bool {
    let near = match address {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some(),
    };
    !near && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

fn in_front_of(first: Option<u32>) -> u32 {
    first.map_or(LAST, |first| first.saturating_sub(1).clamp(1, LAST))
}

fn is_ours(rule: &RuleMessage) -> bool {
    let mark = RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL));
    rule.attributes.contains(&mark)
}

fn priority(rule: &RuleMessage) -> Option<u32> {
    rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    })
}

fn list(family: AddressFamily) -> io::Result<Vec<RuleMessage>> {
    let mut question = RuleMessage::default();
    question.header.family = family;
    let answers = match request(RouteNetlinkMessage::GetRule(question), NLM_F_REQUEST | NLM_F_DUMP) {
        // a machine may have been started without IPv6
        Err(error)
            if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT)) =>
        {
            return Ok(Vec::new());
        }
        answers => answers?,
    };
    let rules = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRule(rule) if rule.header.family == family => Some(rule),
        _ => None,
    });
    Ok(rules.collect())
}

fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let answers = netlink_request_rtnl(message, Some(flags))?;
    let inner = answers.into_iter().filter_map(|answer| match answer.payload {
        NetlinkPayload::InnerMessage(message) => Some(message),
        _ => None,
    });
    Ok(inner.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_goes_in_front_of_the_first_one() {
        assert_eq!(in_front_of(Some(32_764)), LAST);
        assert_eq!(in_front_of(Some(1000)), 999);
        assert_eq!(in_front_of(Some(1)), 1);
        assert_eq!(in_front_of(None), LAST);
    }

    #[test]
    fn what_is_near_needs_no_rule() {
        for near in
            ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.0.1", "::1", "::", "ff02::1", "fe80::1"]
        {
            assert!(!is_far(near.parse().unwrap()), "{near}");
        }
        for far in ["198.51.100.1", "10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(is_far(far.parse().unwrap()), "{far}");
        }
    }
}
