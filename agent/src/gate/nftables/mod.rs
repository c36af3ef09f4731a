//! The gate as a table of nftables.
//!
//! The table is made by `nft`, in one transaction. What is opened and closed afterwards goes through netlink, in one
//! transaction each, without a process.

mod element;
pub mod message;
mod standing;

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use netlink_bindings::nftables::{Nfgenmsg, OpDeltableDo, OpGetgenDo, OpNewtableDo};
use nix::sys::socket::SockProtocol;
use wgmfa_core::gate::{Addresses, Layout, Opening, ruleset};
use wgmfa_core::name::TierName;

use self::element::{Change, Changes, Key, Set};
use self::standing::Standing;
use super::netlink::{ACK, CREATE, Monitor, Socket};
use super::{Gate, file, flowtable, ip_rule, now};

/// The multicast group of everything that changes in nftables (NFNLGRP_NFTABLES).
const NOTICES: u32 = 1 << (7 - 1);

/// How often the table is made anew until nobody else changed the ruleset meanwhile.
const TRIES: usize = 3;

/// A grant that ended is forgotten after this time: until then the kernel may still have it, by its own clock.
const SURELY_OVER: Duration = Duration::from_secs(10);

/// Those for whom a tier is open, with the earliest and the latest end: the kernel began to count in between.
type Open = HashMap<(Addresses, TierName), (Duration, Duration)>;

/// The table `inet wgmfa`.
pub struct Nftables {
    socket: Socket,
    monitor: Monitor,
    state_dir: PathBuf,
    layout: Layout,
    open: Open,
    /// Whether no gate of routing rules stands beside it.
    alone: bool,
    /// When grants that are surely over were last forgotten.
    forgot: Duration,
    /// What the kernel made of the text.
    standing: Option<Standing>,
    /// The generation of the ruleset in which the gate was last seen whole.
    seen: Option<u32>,
    /// The generation in which flowtables were last looked for, and what was found.
    flowtable: Option<(u32, Option<String>)>,
}

impl Nftables {
    pub fn new(state_dir: &Path) -> Result<Self, String> {
        let fault = |error: io::Error| format!("nftables: {error}");
        let mut socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(fault)?;
        generation(&mut socket).map_err(fault)?;
        Ok(Self {
            socket,
            monitor: Monitor::open(SockProtocol::NetlinkNetFilter, NOTICES).map_err(fault)?,
            state_dir: state_dir.to_owned(),
            layout: Layout::default(),
            open: Open::new(),
            alone: false,
            forgot: now(),
            standing: None,
            seen: None,
            flowtable: None,
        })
    }

    fn generation(&mut self) -> Result<u32, String> {
        generation(&mut self.socket).map_err(|error| format!("nftables: {error}"))
    }

    /// What is open, as of now.
    fn openings(&self, now: Duration) -> Vec<Opening> {
        let opening = |((addresses, tier), (end, _)): (&(Addresses, TierName), &(Duration, Duration))| Opening {
            addresses: addresses.clone(),
            tier: tier.clone(),
            left: end.saturating_sub(now),
        };
        self.open.iter().map(opening).collect()
    }

    /// Makes changes in the sets that there are.
    fn carry_out(&mut self, changes: &Changes, before: u32) -> Result<(), String> {
        if changes.is_empty() {
            return Ok(());
        }
        let Self { socket, monitor, .. } = self;
        let mut carry_out =
            |sure| monitor.unaware(|| socket.transaction(|batch| element::encode(batch, changes, sure)));
        let sure = self.seen == Some(before);
        let done = carry_out(sure).or_else(|error| if sure { carry_out(false) } else { Err(error) });
        if let Err(error) = done {
            self.seen = None;
            return Err(format!("nftables refuses the change: {error}"));
        }
        // in between only this change was made, or the gate is looked at again
        let after = before.wrapping_add(1);
        self.seen = (self.seen == Some(before) && self.generation()? == after).then_some(after);
        Ok(())
    }

    /// Looks at everything: the table, its chains, rules and sets, and who is in them.
    fn look(&mut self) -> Result<(), String> {
        let standing = self.standing.as_ref().ok_or("the gate was not installed yet")?;
        standing.compare(&Standing::read(&mut self.socket)?)?;
        let mut wanted: HashMap<Set, HashMap<Key, (Duration, Duration)>> = HashMap::new();
        for ((addresses, tier), end) in &self.open {
            wanted.entry(Set::of(tier, addresses)).or_default().insert(Key::of(addresses)?, *end);
        }
        let wanted: HashMap<String, _> = wanted.into_iter().map(|(set, keys)| (set.name(), keys)).collect();
        let none = HashMap::new();
        for set in standing.tier_sets() {
            standing::compare_elements(&mut self.socket, set, wanted.get(set).unwrap_or(&none), now())?;
        }
        Ok(())
    }
}

impl Gate for Nftables {
    fn install(&mut self, layout: &Layout, openings: &[Opening]) -> Result<(), String> {
        let text = ruleset::text(layout, openings);
        self.standing = None;
        let began = now();
        for _ in 0..TRIES {
            let before = self.generation()?;
            self.monitor.unaware(|| load(&text))?;
            let standing = Standing::read(&mut self.socket)?;
            let after = self.generation()?;
            self.seen = Some(after);
            self.standing = Some(standing);
            if after == before.wrapping_add(1) {
                break; // nobody touched it before it was read back
            }
        }
        let known =
            openings.iter().filter(|one| layout.tiers.get(&one.tier).is_some() && one.left >= ruleset::LEAST_LEFT);
        let after = now();
        self.open.clear();
        for opening in known {
            let end = self.open.entry((opening.addresses.clone(), opening.tier.clone())).or_default();
            *end = (*end).max((began + opening.left, after + opening.left));
        }
        self.layout = layout.clone();
        // what another configuration of this agent has left, now that this gate stands
        if !std::mem::replace(&mut self.alone, true) {
            ip_rule::clear()?;
        }
        file::write(&self.state_dir, &ruleset::text(layout, &[]))
    }

    fn change(&mut self, open: &[Opening], close: &[(Addresses, TierName)]) -> Result<(), String> {
        let standing = self.standing.as_ref().ok_or("the gate was not installed yet")?;
        if let Some(opening) = open.iter().find(|opening| self.layout.tiers.get(&opening.tier).is_none()) {
            return Err(format!("no such tier on this gateway: {}", opening.tier));
        }
        let before = generation(&mut self.socket).map_err(|error| format!("nftables: {error}"))?;
        let mut changes = Changes::new();
        let mut note = |addresses: &Addresses, tier: &TierName, open| -> Result<(), String> {
            let absent = !self.open.contains_key(&(addresses.clone(), tier.clone()));
            let set = changes.entry(Set::of(tier, addresses)).or_default();
            set.insert(Key::of(addresses)?, Change { open, absent });
            Ok(())
        };
        let open = || open.iter().filter(|opening| opening.left >= ruleset::LEAST_LEFT);
        close.iter().try_for_each(|(addresses, tier)| note(addresses, tier, None))?;
        open().try_for_each(|opening| note(&opening.addresses, &opening.tier, Some(opening.left)))?;
        let opens = |changes: &HashMap<Key, Change>| changes.values().any(|change| change.open.is_some());
        let no_room = changes.iter().any(|(set, changes)| opens(changes) && !standing.has_set(&set.name()));
        let began = now();
        if no_room {
            // the first network of its tier: only now is there need of an interval set
            let mut openings = self.openings(began);
            let concerned = |one: &Opening| {
                changes
                    .get(&Set::of(&one.tier, &one.addresses))
                    .is_some_and(|changes| Key::of(&one.addresses).is_ok_and(|key| changes.contains_key(&key)))
            };
            openings.retain(|one| !concerned(one));
            openings.extend(open().cloned());
            return self.install(&self.layout.clone(), &openings);
        }
        changes.retain(|set, _| standing.has_set(&set.name()));
        self.carry_out(&changes, before)?;
        let after = now();
        for closing in close {
            self.open.remove(closing);
        }
        for opening in open() {
            let end = (began + opening.left, after + opening.left);
            self.open.insert((opening.addresses.clone(), opening.tier.clone()), end);
        }
        if after > self.forgot + SURELY_OVER {
            self.open.retain(|_, (_, end)| *end + SURELY_OVER > after);
            self.forgot = after;
        }
        Ok(())
    }

    fn intact(&mut self) -> Result<(), String> {
        self.monitor.drain();
        let generation = self.generation()?;
        if self.seen == Some(generation) && self.standing.is_some() {
            return Ok(());
        }
        self.seen = None;
        self.look()?;
        self.seen = Some(generation);
        Ok(())
    }

    fn changed(&self) -> Option<BorrowedFd<'_>> {
        Some(self.monitor.descriptor())
    }

    fn remove(&mut self) -> Result<(), String> {
        self.standing = None;
        self.seen = None;
        self.open.clear();
        clear(&mut self.socket).map_err(|error| format!("the gate still stands: {error}"))?;
        // the site's own ruleset may include it
        file::write(&self.state_dir, ruleset::NONE)
    }

    fn bypassed(&mut self) -> Option<String> {
        let generation = generation(&mut self.socket).ok()?;
        match &self.flowtable {
            Some((seen, found)) if *seen == generation => found.clone(),
            _ => {
                let found = flowtable::find(&mut self.socket);
                self.flowtable = Some((generation, found.clone()));
                found
            }
        }
    }
}

/// Takes the table away, if it is there.
pub fn clear(socket: &mut Socket) -> io::Result<()> {
    let header = message::header(message::INET);
    socket.transaction(|batch| {
        message::begin_transaction(batch);
        // a table that is not there cannot be deleted, and need not be
        OpNewtableDo::encode_request(batch.begin(message::NEW_TABLE, ACK | CREATE), &header).push_name_bytes(b"wgmfa");
        OpDeltableDo::encode_request(batch.begin(message::DELETE_TABLE, ACK), &header).push_name_bytes(b"wgmfa");
        message::end_transaction(batch);
    })
}

/// The number of the ruleset: each transaction makes a new one.
fn generation(socket: &mut Socket) -> io::Result<u32> {
    let answers = socket.request(message::GET_GENERATION, 0, |bytes| {
        OpGetgenDo::encode_request(bytes, &Nfgenmsg::default());
    })?;
    let found = answers.iter().find_map(|payload| OpGetgenDo::decode_request(payload).1.get_id().ok());
    found.ok_or_else(|| io::Error::other("the ruleset has no generation"))
}

/// Has `nft` make the table: all of it, or nothing.
fn load(text: &str) -> Result<(), String> {
    // cron's PATH has no sbin
    let program = ["/usr/sbin/nft", "/sbin/nft"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("nft");
    let mut command = Command::new(program);
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = || -> io::Result<_> {
        let mut child = command.spawn()?;
        let mut pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // it reads all of it before it says anything
        let written = io::Write::write_all(&mut pipe, text.as_bytes());
        drop(pipe);
        let ended = child.wait_with_output()?;
        if ended.status.success() {
            written?;
        }
        Ok(ended)
    };
    let ended = match run() {
        Ok(ended) => ended,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("nft is not installed: apt install nftables".to_owned());
        }
        Err(error) => return Err(format!("nft: {error}")),
    };
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(format!("nft does not make the gate ({}): {first}", ended.status))
}
