//! The gate as routing rules, without `nft` and without `ip`. What it can and cannot do: [`wgmfa_core::gate::routing`].
//!
//! There are no transactions here. So what holds back is made first and goes last, and what a killed agent left behind is
//! found by its mark and replaced.

mod kernel;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::sys::socket::SockProtocol;
use wgmfa_core::gate::routing::{self, Open, Routing, Rule, Sections};
use wgmfa_core::gate::{Addresses, Layout, Opening, ruleset};
use wgmfa_core::name::TierName;

use super::netlink::{Monitor, Socket};
use super::{Gate, file, flowtable, nftables};

/// Rules and routes of IPv4 and IPv6 (RTNLGRP_IPV4_RULE 8, _ROUTE 7, _IPV6_RULE 19, _ROUTE 11).
const NOTICES: u32 = 1 << (8 - 1) | 1 << (7 - 1) | 1 << (19 - 1) | 1 << (11 - 1);

/// Rules in the priorities 200 to 900, and routes in tables of their own.
pub struct IpRule {
    socket: Socket,
    /// Asked for flowtables; none where the kernel has no nftables.
    filter: Option<Socket>,
    monitor: Monitor,
    /// IPv4, and IPv6 where there is any.
    families: &'static [bool],
    state_dir: PathBuf,
    /// Whether no table of nftables stands beside it.
    alone: bool,
    layout: Layout,
    open: Open,
    sections: Sections,
    /// What was made, once it was installed.
    standing: Option<Routing>,
    /// Whether it may have been touched.
    doubtful: bool,
}

impl IpRule {
    pub fn new(state_dir: &Path) -> Result<Self, String> {
        let fault = |error: io::Error| format!("routing rules: {error}");
        let (socket, families) = open().map_err(fault)?;
        Ok(Self {
            socket,
            families,
            state_dir: state_dir.to_owned(),
            alone: false,
            filter: Socket::open(SockProtocol::NetlinkNetFilter).ok(),
            monitor: Monitor::open(SockProtocol::NetlinkRoute, NOTICES).map_err(fault)?,
            layout: Layout::default(),
            open: Open::new(),
            sections: Sections::new(),
            standing: None,
            doubtful: true,
        })
    }

    /// Makes what is wanted of what stands.
    fn make(&mut self, layout: &Layout, open: Open, found: Routing) -> Result<(), String> {
        let sections =
            routing::sections(&self.sections, &open).ok_or("too many different sets of tiers are open at once")?;
        let families = self.families;
        let behind = self.list(|socket| kernel::behind(socket, families, &layout.interfaces))?;
        let mut wanted = routing::routing(layout, &open, &sections, &behind);
        wanted.rules.retain(|rule| families.contains(&rule.v6));
        wanted.routes.retain(|route| families.contains(&route.to.addr().is_ipv6()));
        self.standing = None;
        replace(&mut self.socket, &found, &wanted)?;
        self.layout = layout.clone();
        self.open = open;
        self.sections = sections;
        self.standing = Some(wanted);
        Ok(())
    }

    fn read(&mut self) -> Result<Routing, String> {
        let families = self.families;
        self.list(|socket| kernel::read(socket, families))
    }

    fn list<T>(&mut self, list: impl FnOnce(&mut Socket) -> io::Result<T>) -> Result<T, String> {
        list(&mut self.socket).map_err(|error| format!("routing rules: {error}"))
    }
}

impl Gate for IpRule {
    fn install(&mut self, layout: &Layout, openings: &[Opening]) -> Result<(), String> {
        let known =
            openings.iter().filter(|one| layout.tiers.get(&one.tier).is_some() && one.left >= ruleset::LEAST_LEFT);
        let open = known.map(|one| (one.addresses.clone(), one.tier.clone())).collect();
        // until it stands: what stood before is not what was asked for
        self.standing = None;
        self.doubtful = true;
        let found = self.read()?;
        self.make(layout, open, found)?;
        // what another configuration of this agent has left, now that this gate stands
        if !std::mem::replace(&mut self.alone, true) {
            if let Some(filter) = &mut self.filter {
                // a kernel without nftables has no table
                let _ = nftables::clear(filter);
            }
            file::write(&self.state_dir, ruleset::NONE)?;
        }
        self.intact()
    }

    fn change(&mut self, open: &[Opening], close: &[(Addresses, TierName)]) -> Result<(), String> {
        let standing = self.standing.clone().ok_or("the gate was not installed yet")?;
        if let Some(opening) = open.iter().find(|opening| self.layout.tiers.get(&opening.tier).is_none()) {
            return Err(format!("no such tier on this gateway: {}", opening.tier));
        }
        let mut after = self.open.clone();
        after.retain(|one| !close.contains(one));
        let open = open.iter().filter(|opening| opening.left >= ruleset::LEAST_LEFT);
        after.extend(open.map(|opening| (opening.addresses.clone(), opening.tier.clone())));
        self.make(&self.layout.clone(), after, standing)
    }

    fn intact(&mut self) -> Result<(), String> {
        self.doubtful |= self.monitor.drain();
        let standing = self.standing.clone().ok_or("the gate was not installed yet")?;
        if !self.doubtful {
            return Ok(());
        }
        let found = self.read()?;
        if found.rules != standing.rules {
            return Err("routing rules of the gate were changed".to_owned());
        }
        if found.routes != standing.routes {
            return Err("routing tables of the gate were changed".to_owned());
        }
        // other addresses may be behind the interfaces than before
        self.make(&self.layout.clone(), self.open.clone(), standing)?;
        self.doubtful = false;
        Ok(())
    }

    fn changed(&self) -> Option<BorrowedFd<'_>> {
        Some(self.monitor.descriptor())
    }

    fn remove(&mut self) -> Result<(), String> {
        self.standing = None;
        self.open.clear();
        self.sections.clear();
        let found = self.read()?;
        replace(&mut self.socket, &found, &Routing::default())
    }

    fn bypassed(&mut self) -> Option<String> {
        flowtable::find(self.filter.as_mut()?)
    }
}

/// Takes all rules and routes of a gate away, if there are any.
pub fn clear() -> Result<(), String> {
    // a kernel without routing rules has none
    let found = open().and_then(|(mut socket, families)| Ok((kernel::read(&mut socket, families)?, socket)));
    found.map_or(Ok(()), |(found, mut socket)| replace(&mut socket, &found, &Routing::default()))
}

/// A socket, and the families of addresses that there are.
fn open() -> io::Result<(Socket, &'static [bool])> {
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let families: &[bool] = if kernel::has_v6(&mut socket) { &[false, true] } else { &[false] };
    Ok((socket, families))
}

/// Goes from one to the other: takes leave away before anybody gets any, and never lets a packet fall into a section that
/// is not for it.
fn replace(socket: &mut Socket, found: &Routing, wanted: &Routing) -> Result<(), String> {
    let fault = |what: &'static str| move |error: io::Error| format!("routing rules: {what}: {error}");
    for route in wanted.routes.difference(&found.routes) {
        kernel::add_route(socket, route).map_err(fault("a route is refused"))?;
    }
    let mut old: Vec<&Rule> = found.rules.difference(&wanted.rules).collect();
    old.sort_by_key(|rule| (rule.is_frame(), rule.priority));
    for rule in old {
        kernel::delete_rule(socket, rule).map_err(fault("a rule stays"))?;
    }
    let mut new: Vec<&Rule> = wanted.rules.difference(&found.rules).collect();
    new.sort_by_key(|rule| (!rule.is_frame(), std::cmp::Reverse(rule.priority)));
    for rule in new {
        kernel::add_rule(socket, rule).map_err(fault("a rule is refused"))?;
    }
    for route in found.routes.difference(&wanted.routes) {
        kernel::delete_route(socket, route).map_err(fault("a route stays"))?;
    }
    Ok(())
}
