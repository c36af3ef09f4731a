//! The gate as text for `nft(8)`: one table that only drops, in front of the site's own filter.
//!
//! A drop in one base chain is final whatever later chains accept, `ct state established` included: so a flow ends when
//! the address leaves the tier's set, in both directions. What this table lets through, the site's own rules still judge.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use ipnet::IpNet;

use super::{Addresses, Layout, Opening};
use crate::name::{InterfaceName, TierName};
use crate::tier::Allowed;

/// The table, of the family `inet`.
pub const TABLE: &str = "wgmfa";

/// Less than this is over: the kernel counts a set's timeouts in ticks of at most 10 ms, and none at all means for ever.
pub const LEAST_LEFT: Duration = Duration::from_millis(20);

/// The text when no interface is gated: the site's own ruleset may still include it.
pub const NONE: &str =
    "# No interface is gated by wgmfa-agent at this time.\ntable inet wgmfa\ndelete table inet wgmfa\n";

/// The set in which addresses stand that a tier is open for.
///
/// Single addresses have a set of their own, which finds them by hash; networks need an interval set, which is slower to
/// change, and is made only when a network is opened.
pub fn tier_set(tier: &TierName, wide: bool, v6: bool) -> String {
    set(&format!("tier_{tier}"), wide, if v6 { Family::V6 } else { Family::V4 })
}

/// Whether this is more than one address.
pub fn is_wide(network: IpNet) -> bool {
    network.prefix_len() < network.max_prefix_len()
}

/// The whole table, in place of whatever table of this name stood there, in one transaction. An opening of a tier that
/// the layout does not have opens nothing.
pub fn text(layout: &Layout, openings: &[Opening]) -> String {
    let mut out = String::from(
        "# The gate of wgmfa-agent, which writes this text anew: change agent.toml or the policies instead.\n\
         # It only drops: what peers of these interfaces send or get and no line lets through. Your own rules judge the rest.\n\
         table inet wgmfa\n\
         delete table inet wgmfa\n\
         table inet wgmfa {\n",
    );
    let free = Group::free(&layout.free);
    let tiers: Vec<Group<'_>> =
        layout.tiers.with_code().map(|(name, tier)| Group::tier(name, &tier.allow, openings)).collect();
    free.write_sets(&mut out);
    tiers.iter().for_each(|tier| tier.write_sets(&mut out));
    for way in [Way::From, Way::To] {
        write_chain(&mut out, way, &free, &tiers, layout.tiers.open());
    }
    write_base_chains(&mut out, &layout.interfaces, layout.code_port);
    out.push_str("}\n");
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn of(network: IpNet) -> Self {
        if network.addr().is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn pick(self, v4: &'static str, v6: &'static str) -> &'static str {
        if self == Self::V4 { v4 } else { v6 }
    }
}

/// Seen from the peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    From,
    To,
}

impl Way {
    fn pick(self, from: &'static str, to: &'static str) -> &'static str {
        if self == Self::From { from } else { to }
    }
}

fn set(stem: &str, wide: bool, family: Family) -> String {
    // last, because a tier's name may end in any word
    format!("{stem}_{}{}", family.pick("4", "6"), if wide { "_wide" } else { "" })
}

/// Peers that are treated alike: a set each of addresses and networks, IPv4 and IPv6.
struct Group<'a> {
    stem: String,
    title: String,
    says: &'static str,
    /// What they may reach; none: everything.
    allow: Option<&'a [Allowed]>,
    timeout: bool,
    elements: Vec<(IpNet, String)>,
}

impl<'a> Group<'a> {
    fn free(free: &BTreeSet<Addresses>) -> Self {
        let interfaces: BTreeSet<&InterfaceName> = free.iter().map(|addresses| &addresses.interface).collect();
        let element = |interface: &InterfaceName, network: IpNet| (network, key(interface, network));
        let mut elements = Vec::new();
        for interface in interfaces {
            let here = free.iter().filter(|addresses| addresses.interface == *interface);
            let (wide, single): (Vec<_>, Vec<_>) =
                here.map(|addresses| addresses.network.trunc()).partition(|network| is_wide(*network));
            // the kernel refuses networks that overlap
            elements.extend(IpNet::aggregate(&wide).into_iter().map(|network| element(interface, network)));
            elements.extend(single.into_iter().map(|network| element(interface, network)));
        }
        let (stem, title) = ("free".to_owned(), "free".to_owned());
        Self {
            stem,
            title,
            says: "no policy asks them for a code, nothing holds them back",
            allow: None,
            timeout: false,
            elements,
        }
    }

    fn tier(name: &TierName, allow: &'a [Allowed], openings: &[Opening]) -> Self {
        let open = openings.iter().filter(|opening| opening.tier == *name && opening.left >= LEAST_LEFT);
        let elements = open.map(|opening| {
            let network = opening.addresses.network.trunc();
            let (seconds, millis) = (opening.left.as_secs(), opening.left.subsec_millis());
            (network, format!("{} timeout {seconds}s{millis}ms", key(&opening.addresses.interface, network)))
        });
        Self {
            stem: format!("tier_{name}"),
            title: format!("tier {name}"),
            says: "for whom it is open, and how much longer",
            allow: Some(allow),
            timeout: true,
            elements: elements.collect(),
        }
    }

    fn elements(&self, wide: bool, family: Family) -> Vec<&str> {
        let here = self.elements.iter().filter(|(network, _)| is_wide(*network) == wide);
        here.filter(|(network, _)| Family::of(*network) == family).map(|(_, text)| text.as_str()).collect()
    }

    /// The sets that there are: those of networks only where there is one.
    fn sets(&self) -> impl Iterator<Item = (bool, Family)> {
        let all = Family::BOTH.into_iter().flat_map(|family| [(false, family), (true, family)]);
        all.filter(|(wide, family)| !wide || !self.elements(*wide, *family).is_empty())
    }

    fn write_sets(&self, out: &mut String) {
        let _ = writeln!(out, "    # {}: {}", self.title, self.says);
        for (wide, family) in self.sets() {
            let name = set(&self.stem, wide, family);
            let flags: Vec<&str> = [(wide, "interval"), (self.timeout, "timeout")]
                .into_iter()
                .filter_map(|(is, flag)| is.then_some(flag))
                .collect();
            let _ = writeln!(out, "    set {name} {{\n        type ifname . {}", family.pick("ipv4_addr", "ipv6_addr"));
            if !flags.is_empty() {
                let _ = writeln!(out, "        flags {}", flags.join(","));
            }
            let elements = self.elements(wide, family);
            if !elements.is_empty() {
                let _ = writeln!(out, "        elements = {{ {} }}", elements.join(",\n                     "));
            }
            out.push_str("    }\n");
        }
        out.push('\n');
    }
}

fn key(interface: &InterfaceName, network: IpNet) -> String {
    if is_wide(network) {
        format!("\"{interface}\" . {network}")
    } else {
        format!("\"{interface}\" . {}", network.addr())
    }
}

fn write_chain(out: &mut String, way: Way, free: &Group<'_>, tiers: &[Group<'_>], open: &[Allowed]) {
    let _ = writeln!(out, "    # what a peer {}", way.pick("sends", "gets"));
    let _ = writeln!(out, "    chain {} {{", way.pick("from_peers", "to_peers"));
    for group in std::iter::once(free).chain(tiers) {
        let _ = writeln!(out, "        # {}", group.title);
        for (wide, family) in group.sets() {
            let (device, peer) = (way.pick("iifname", "oifname"), way.pick("saddr", "daddr"));
            let name = set(&group.stem, wide, family);
            let who = format!("{device} . {} {peer} @{name} ", family.pick("ip", "ip6"));
            match group.allow {
                None => {
                    let _ = writeln!(out, "        {who}return");
                }
                Some(allow) => {
                    write_lines(out, way, family, &who, allow);
                    if way == Way::To && allow.iter().any(|allowed| Family::of(allowed.network) == family) {
                        let _ = writeln!(out, "        {who}{} return", errors(family));
                    }
                }
            }
        }
    }
    let _ = writeln!(out, "        # tier 0: without a code");
    for family in Family::BOTH {
        write_lines(out, way, family, "", open);
    }
    let _ = writeln!(out, "        counter drop\n    }}\n");
}

/// Lets through what lies in the allowed networks, and the services, with what goes wrong on the way to them.
fn write_lines(out: &mut String, way: Way, family: Family, who: &str, allow: &[Allowed]) {
    let (ip, other, port) = (family.pick("ip", "ip6"), way.pick("daddr", "saddr"), way.pick("dport", "sport"));
    let here = || allow.iter().filter(|allowed| Family::of(allowed.network) == family);
    let networks: Vec<IpNet> =
        here().filter(|allowed| allowed.service.is_none()).map(|allowed| allowed.network).collect();
    let networks = IpNet::aggregate(&networks);
    if !networks.is_empty() {
        let networks: Vec<String> = networks.into_iter().map(address).collect();
        let _ = writeln!(out, "        {who}{ip} {other} {{ {} }} return", networks.join(", "));
    }
    let services = here().filter_map(|allowed| allowed.service.map(|service| (allowed.network.addr(), service)));
    let services: Vec<_> = services.collect();
    if !services.is_empty() {
        let hosts: BTreeSet<String> = services.iter().map(|(host, _)| host.to_string()).collect();
        let hosts: Vec<String> = hosts.into_iter().collect();
        let services: Vec<String> = services
            .iter()
            .map(|(host, service)| format!("{host} . {} . {}", service.protocol, service.port))
            .collect();
        let services = services.join(", ");
        let _ = writeln!(out, "        {who}{ip} {other} . meta l4proto . th {port} {{ {services} }} return");
        // of what goes wrong on the way to a peer with a grant, every router may report
        if way == Way::From || who.is_empty() {
            let _ = writeln!(out, "        {who}{ip} {other} {{ {} }} {} return", hosts.join(", "), errors(family));
        }
    }
}

fn address(network: IpNet) -> String {
    if is_wide(network) { network.to_string() } else { network.addr().to_string() }
}

/// Without these a flow that is let through would not find out how large its packets may be.
fn errors(family: Family) -> &'static str {
    family.pick(
        "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
        "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
    )
}

fn write_base_chains(out: &mut String, interfaces: &BTreeSet<InterfaceName>, code_port: u16) {
    let names: Vec<String> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    let names = format!("{{ {} }}", names.join(", "));
    let from = format!("iifname {names}");
    let to = format!("oifname {names}");
    let lines = |hook: &str| match hook {
        "forward" => vec![format!("{from} jump from_peers"), format!("{to} jump to_peers")],
        // codes are asked for here
        "input" => vec![format!("{from} tcp dport {code_port} accept"), format!("{from} jump from_peers")],
        _ => vec![
            format!("{to} tcp sport {code_port} accept"),
            format!("{to} {} accept", errors(Family::V4)),
            format!("{to} {} accept", errors(Family::V6)),
            format!("{to} jump to_peers"),
        ],
    };
    let says = [
        ("forward", "between peers and networks, and among peers, who need both"),
        ("input", "to the gateway itself: codes are asked for on one port"),
        ("output", "from the gateway itself, with its reports that a packet was too large"),
    ];
    for (hook, says) in says {
        let _ = writeln!(out, "    # {says}");
        let _ =
            writeln!(out, "    chain {hook} {{\n        type filter hook {hook} priority filter - 10; policy accept;");
        if !interfaces.is_empty() {
            for line in lines(hook) {
                let _ = writeln!(out, "        {line}");
            }
        }
        out.push_str("    }\n");
    }
}

#[cfg(test)]
mod tests;
