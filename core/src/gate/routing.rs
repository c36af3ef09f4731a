//! The gate as routing rules, for gateways without nftables: what `ip rule` and `ip route` show of it.
//!
//! A routing rule knows where a packet came in, its two addresses, and ports, so it can hold back what peers send. Packets
//! pass two stages. In the first one, what comes from a gated interface needs leave to be sent; in the second one, what
//! goes to an address behind a gated interface needs leave to be received; then the site's own rules and the main table
//! decide where it goes, as ever.
//!
//! | priority | what stands there |
//! |---|---|
//! | 200 | free addresses go on to 500 |
//! | 201 | addresses with open tiers go on to their section |
//! | 210 to 212 | the section of tier 0, for everybody else |
//! | 220 to 475 | a section for each set of tiers that is open for somebody: services go on to 500, a routing table of its own passes its networks (`throw`) and prohibits the rest |
//! | 500 | the second stage begins |
//! | 501 | answers to codes, and the gateway's reports of what went wrong, go out |
//! | 502, 503 | as 200 and 201, by where a packet goes |
//! | 510 to 512 | tier 0 again, then a table that prohibits whatever is routed to a gated interface |
//! | 520 to 775 | the sections again |
//! | 900 | the end |
//!
//! What this cannot do, and nftables can: no rule ends by itself, so a dead agent closes nothing; a packet to an address of
//! the gateway itself is taken in before any rule is asked, so a peer's datagrams arrive there (with `rp_filter` at 0),
//! though nothing is answered; the gateway's own programs reach peers only from an address that the tier has; an address
//! may be behind one gated interface only; and each packet walks past a rule for each grant, which suits hundreds, not
//! ten thousand.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Addresses, Layout};
use crate::name::TierName;
use crate::tier::{Allowed, Protocol};

/// Marks our rules and routes, as `ip rule` and `ip route` show them (`proto 119`, the letter w): no routing daemon has it.
pub const PROTOCOL: u8 = 119;

/// The first and the last priority of our rules: after the local table, before every rule that decides where packets go.
pub const PRIORITIES: std::ops::RangeInclusive<u32> = 200..=900;

/// The first of our routing tables, of a hundred: above 255 and what people number by hand.
pub const TABLES: u32 = 777_700;

const OPEN_TABLE: u32 = TABLES + 90;
const BEHIND_TABLE: u32 = TABLES + 91;

const RECEIVING: u32 = 500;
const END: u32 = 900;

/// Sets of tiers at one time.
const SECTIONS: u32 = 64;

/// TCP and ICMP as IP numbers them.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A routing rule. No selector: every packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Rules are asked in this order.
    pub priority: u32,
    /// IPv6, or IPv4.
    pub v6: bool,
    /// The interface by which it came; `lo`: from the gateway itself.
    pub interface: Option<String>,
    /// Where it comes from.
    pub from: Option<IpNet>,
    /// Where it goes.
    pub to: Option<IpNet>,
    /// The transport protocol.
    pub protocol: Option<u8>,
    /// The source port, from and to.
    pub source: Option<(u16, u16)>,
    /// The destination port, from and to; of ICMP the type and the code, as the kernel keeps them in the same place.
    pub destination: Option<(u16, u16)>,
    /// What it does.
    pub act: Act,
}

/// What a routing rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// The rules up to this one are not asked.
    Goto(u32),
    /// A routing table is asked.
    Lookup(u32),
    /// The packet is refused.
    Prohibit,
    /// Nothing: a place to go to.
    Nop,
}

/// A route of a table of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The table.
    pub table: u32,
    /// Where the packet goes.
    pub to: IpNet,
    /// The packet is refused; otherwise the next rule is asked.
    pub prohibit: bool,
}

/// All rules and routes of a gate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// The rules.
    pub rules: BTreeSet<Rule>,
    /// The routes.
    pub routes: BTreeSet<Route>,
}

/// Which tiers are open for which addresses.
pub type Open = BTreeSet<(Addresses, TierName)>;

/// The number of the section of each set of tiers.
pub type Sections = BTreeMap<BTreeSet<TierName>, u32>;

/// The sections that are needed now; those of before keep their number. None: there is not room for so many.
pub fn sections(before: &Sections, open: &Open) -> Option<Sections> {
    let sets: BTreeSet<BTreeSet<TierName>> = by_addresses(open).into_values().collect();
    let mut sections: Sections =
        before.iter().filter(|(set, _)| sets.contains(*set)).map(|(set, number)| (set.clone(), *number)).collect();
    for set in sets {
        if !sections.contains_key(&set) {
            let number = (0..SECTIONS).find(|number| !sections.values().any(|taken| taken == number))?;
            sections.insert(set, number);
        }
    }
    Some(sections)
}

/// The whole gate. `behind` are the networks that are routed to gated interfaces.
pub fn routing(layout: &Layout, open: &Open, sections: &Sections, behind: &[IpNet]) -> Routing {
    let mut routing = Routing::default();
    if layout.interfaces.is_empty() {
        return routing;
    }
    for v6 in [false, true] {
        routing.frame(layout, v6, behind);
        for (set, number) in sections {
            let allow: Vec<Allowed> =
                set.iter().filter_map(|tier| layout.tiers.get(tier)).flat_map(|tier| &tier.allow).copied().collect();
            // what is open without a code is open with one
            let allow: Vec<Allowed> = allow.iter().chain(layout.tiers.open()).copied().collect();
            routing.section(v6, 220 + 4 * number, TABLES + number, &allow);
            routing.receive(&allow, &Rule::new(v6, 520 + 4 * number, Act::Goto(END)));
            // a section needs a rule to begin with, even where it allows nothing: else nobody would come there
            for begins in [220 + 4 * number, 520 + 4 * number] {
                routing.rules.insert(Rule::new(v6, begins, Act::Nop));
            }
            routing.rules.insert(Rule::new(v6, 521 + 4 * number, Act::Prohibit));
        }
    }
    let free = layout.free.iter().map(|addresses| (addresses, 200, RECEIVING, 502, END));
    let opened = by_addresses(open);
    let granted = opened.iter().filter_map(|(addresses, set)| {
        let number = sections.get(set)?;
        Some((*addresses, 201, 220 + 4 * number, 503, 520 + 4 * number))
    });
    for (addresses, sends, sent, receives, received) in free.chain(granted) {
        let network = addresses.network.trunc();
        let v6 = is_v6(network);
        let from = Rule { from: Some(network), ..Rule::new(v6, sends, Act::Goto(sent)) };
        routing.rules.insert(Rule { interface: Some(addresses.interface.to_string()), ..from });
        routing.rules.insert(Rule { to: Some(network), ..Rule::new(v6, receives, Act::Goto(received)) });
    }
    routing
}

impl Routing {
    /// What stands there whoever has a grant.
    fn frame(&mut self, layout: &Layout, v6: bool, behind: &[IpNet]) {
        for interface in &layout.interfaces {
            // the section of everybody else; who does not come from here goes past it
            let here = |rule: &Rule| {
                (!rule.is_frame()).then(|| Rule { interface: Some(interface.to_string()), ..rule.clone() })
            };
            let mut section = Self::default();
            section.section(v6, 210, OPEN_TABLE, layout.tiers.open());
            self.rules.extend(section.rules.iter().filter_map(here));
            self.routes.extend(section.routes);
        }
        // past the sections of others
        self.rules.insert(Rule::new(v6, 212, Act::Goto(RECEIVING)));
        self.rules.insert(Rule::new(v6, RECEIVING, Act::Nop));
        self.rules.insert(Rule::new(v6, END, Act::Nop));
        let own = Rule { interface: Some("lo".to_owned()), ..Rule::new(v6, 501, Act::Goto(END)) };
        let port = Some((layout.code_port, layout.code_port));
        self.rules.insert(Rule { protocol: Some(TCP), source: port, ..own.clone() });
        let (protocol, types): (u8, &[(u16, u16)]) = if v6 { (ICMPV6, &[(1, 4)]) } else { (ICMP, &[(3, 3), (11, 12)]) };
        for (first, last) in types {
            let reports = Some((first << 8, last << 8 | 0xff));
            self.rules.insert(Rule { protocol: Some(protocol), destination: reports, ..own.clone() });
        }
        self.receive(layout.tiers.open(), &Rule::new(v6, 510, Act::Goto(END)));
        self.rules.insert(Rule::new(v6, 511, Act::Lookup(BEHIND_TABLE)));
        self.rules.insert(Rule::new(v6, 512, Act::Goto(END)));
        let behind = behind.iter().filter(|network| is_v6(**network) == v6);
        self.routes.extend(behind.map(|network| Route { table: BEHIND_TABLE, to: *network, prohibit: true }));
    }

    /// What peers may send.
    fn section(&mut self, v6: bool, priority: u32, table: u32, allow: &[Allowed]) {
        for allowed in allow.iter().filter(|allowed| is_v6(allowed.network) == v6) {
            match allowed.service {
                None => drop(self.routes.insert(Route { table, to: allowed.network, prohibit: false })),
                Some(service) => {
                    let rule = Rule { to: Some(allowed.network), ..Rule::new(v6, priority, Act::Goto(RECEIVING)) };
                    let (protocol, destination) = (Some(number(service.protocol)), Some((service.port, service.port)));
                    self.rules.insert(Rule { protocol, destination, ..rule });
                }
            }
        }
        let everything = if v6 { IpNet::from(Ipv6Net::default()) } else { Ipv4Net::default().into() };
        if !allow.iter().any(|allowed| allowed.network == everything) {
            self.routes.insert(Route { table, to: everything, prohibit: true });
        }
        self.rules.insert(Rule::new(v6, priority + 1, Act::Lookup(table)));
        self.rules.insert(Rule::new(v6, priority + 2, Act::Goto(RECEIVING)));
    }

    /// What peers may get.
    fn receive(&mut self, allow: &[Allowed], rule: &Rule) {
        for allowed in allow.iter().filter(|allowed| is_v6(allowed.network) == rule.v6) {
            let rule = Rule { from: Some(allowed.network), ..rule.clone() };
            self.rules.insert(match allowed.service {
                None => rule,
                Some(service) => {
                    let (protocol, source) = (Some(number(service.protocol)), Some((service.port, service.port)));
                    Rule { protocol, source, ..rule }
                }
            });
        }
    }
}

impl Rule {
    fn new(v6: bool, priority: u32, act: Act) -> Self {
        Self {
            priority,
            v6,
            interface: None,
            from: None,
            to: None,
            protocol: None,
            source: None,
            destination: None,
            act,
        }
    }

    /// Whether it leads every packet past others: such rules come first and go last, so that nobody falls into the section
    /// of somebody else.
    pub fn is_frame(&self) -> bool {
        let any = Self::new(self.v6, self.priority, self.act);
        *self == any && matches!(self.act, Act::Goto(_) | Act::Nop)
    }
}

fn by_addresses(open: &Open) -> BTreeMap<&Addresses, BTreeSet<TierName>> {
    let mut sorted = BTreeMap::<_, BTreeSet<TierName>>::new();
    for (addresses, tier) in open {
        sorted.entry(addresses).or_default().insert(tier.clone());
    }
    sorted
}

fn is_v6(network: IpNet) -> bool {
    network.addr().is_ipv6()
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    }
}

#[cfg(test)]
mod tests;
