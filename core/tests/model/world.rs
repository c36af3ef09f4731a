//! The world: true time, hosts, the bastion, the ways between them, and what may happen to each.

mod talk;
mod time;

use std::rc::Rc;

use super::bastion::Bastion;
use super::client::{Clients, Given};
use super::host::{Around, Died, Host};
use super::key::{Key, Keys, Kind};
use super::ledger::{Broken, Happened, Ledger};
use super::login::{Attempted, Login};
use super::network::{Hello, Link};
use super::site::Site;

/// How far apart a cron agent's rounds are, in milliseconds.
pub const CRON: u64 = 60_000;

/// How long systemd waits before it starts a program again, in milliseconds.
const RESTART: u64 = 1000;

/// With which key an interface comes back.
#[derive(Debug, Clone, Copy)]
pub enum File {
    /// The lock key that the agent keeps there.
    Lock,
    /// What stood on the interface (`SaveConfig`).
    Live,
    /// What stood there once (a restored backup).
    Old,
    /// None.
    Nothing,
}

/// How a host pretends to be another one.
#[derive(Debug, Clone, Copy)]
pub enum Pretence {
    /// It signs with its own key.
    OwnKey,
    /// It says what the other one has said.
    Replay,
    /// It signs for its own name, and gives the other's.
    OwnName,
}

pub struct World {
    /// The true time in milliseconds.
    pub now: u64,
    pub site: Rc<Site>,
    pub hosts: Vec<Host>,
    pub bastion: Bastion,
    pub links: Vec<Option<Link>>,
    /// No new connection is made before this time.
    pub unreachable: Vec<u64>,
    pub keys: Keys,
    /// What people's devices have in their interfaces.
    pub clients: Clients,
    pub ledger: Ledger,
    happened: Vec<Happened>,
    /// Earlier keys of each interface.
    old: Vec<Vec<Option<Key>>>,
    next_login: u64,
    /// A message has arrived twice, which no SSH lets happen.
    pub repeated: bool,
    nonces: u64,
    /// The last proof that each host gave; whoever owns the line knows it.
    hellos: Vec<Option<Hello>>,
    /// For how long in all the bastion's time has stood still, or gone back.
    still: u64,
}

impl World {
    pub fn new(site: &Rc<Site>, residents: &[bool]) -> Self {
        let mut keys = Keys::default();
        let peers = site.peers.iter().map(Vec::len);
        let hosts: Vec<_> = residents
            .iter()
            .zip(peers)
            .enumerate()
            .map(|(number, (resident, peers))| Host::new(number, *resident, peers, &mut keys))
            .collect();
        let bastion = Bastion::new(site);
        Self {
            now: 0,
            site: site.clone(),
            links: hosts.iter().map(|_| None).collect(),
            unreachable: vec![0; hosts.len()],
            old: hosts.iter().map(|host| host.slots.clone()).collect(),
            hosts,
            bastion,
            keys,
            clients: Clients::default(),
            ledger: Ledger::default(),
            happened: Vec::new(),
            next_login: 0,
            repeated: false,
            nonces: 0,
            hellos: site.peers.iter().map(|_| None).collect(),
            still: 0,
        }
    }

    /// For how long the bastion's time has stood still, in milliseconds.
    pub fn stood_still(&self) -> u64 {
        self.still
    }

    /// What has happened since the rules were last held.
    pub fn since_judged(&self) -> &[Happened] {
        &self.happened
    }

    /// Holds all rules.
    pub fn judge(&mut self) -> Broken {
        self.judge_what_happened()?;
        self.ledger.look(self)
    }

    /// Holds the rules over what has happened.
    pub fn judge_what_happened(&mut self) -> Broken {
        let happened = std::mem::take(&mut self.happened);
        let mut ledger = std::mem::take(&mut self.ledger);
        let judged = ledger.take(happened, self);
        self.ledger = ledger;
        judged
    }

    /// Lets a host act; if its agent dies, its connection goes with it.
    pub fn host<T>(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut Host, &mut Around<'_>) -> Result<T, Died>,
    ) -> Option<T> {
        let mut around = Around { now: self.now, keys: &mut self.keys, happened: &mut self.happened };
        let host = &mut self.hosts[number];
        match act(host, &mut around) {
            Ok(done) => Some(done),
            Err(Died) => {
                (host.agent, host.fuse, host.starts) = (None, None, self.now + RESTART);
                self.cut(number);
                None
            }
        }
    }

    /// Lets the bastion act; if the keeper dies, every connection goes with it.
    pub fn bastion<T>(
        &mut self,
        act: impl FnOnce(&mut Bastion, &Site, u64, &mut Vec<Happened>) -> Result<T, Died>,
    ) -> Option<T> {
        match act(&mut self.bastion, &self.site, self.now, &mut self.happened) {
            Ok(done) => Some(done),
            Err(Died) => {
                self.kill_keeper(RESTART);
                None
            }
        }
    }

    pub fn kill_keeper(&mut self, away: u64) {
        self.hang_up_all();
        (self.bastion.keeper, self.bastion.fuse, self.bastion.starts) = (None, None, self.now + away);
        (0..self.links.len()).for_each(|number| self.cut(number));
    }

    /// A connection is gone, with everything that is on its way; both ends know. A cron agent gives up.
    pub fn cut(&mut self, number: usize) {
        if self.links[number].take().is_some() {
            self.hosts[number].disconnected(self.now);
            if !self.hosts[number].resident {
                self.gives_up(number);
            }
        }
    }

    /// An agent that comes by enforces what the bastion did not mend, and ends.
    fn gives_up(&mut self, number: usize) {
        if self.hosts[number].agent.is_some() {
            self.host(number, |host, around| host.enforce(around));
            self.hosts[number].agent = None;
        }
    }

    /// A machine goes down and comes up again.
    pub fn reboot(&mut self, number: usize, away: u64, file: File) {
        self.links[number] = None;
        let slots = self.keys_of(number, file);
        self.hosts[number].reboot(self.now, slots);
        self.hosts[number].starts = self.now + away;
        self.happened.push(Happened::Rebooted { host: number });
    }

    /// Somebody puts a file's keys on a running interface (`wg syncconf`).
    pub fn syncconf(&mut self, number: usize, file: File) {
        self.hosts[number].slots = self.keys_of(number, file);
        self.enforce(number); // an agent that stays looks every second
    }

    /// What a file says; what stands on the interface now is the next old one.
    fn keys_of(&mut self, number: usize, file: File) -> Vec<Option<Key>> {
        let live = self.hosts[number].slots.clone();
        let old = std::mem::replace(&mut self.old[number], live.clone());
        match file {
            File::Lock => live.iter().map(|_| Some(self.keys.fresh(Kind::Lock))).collect(),
            File::Live => live,
            File::Old => old,
            File::Nothing => vec![None; live.len()],
        }
    }

    pub fn enforce(&mut self, number: usize) {
        let asks = self.hosts[number].asks_until().is_some_and(|until| self.now < until);
        if self.hosts[number].agent.is_some() {
            self.host(
                number,
                |host, around| {
                    if asks { host.enforce_before_asking(around) } else { host.enforce(around) }
                },
            );
        }
    }

    pub fn override_(&mut self, number: usize, peer: usize, seconds: u64) {
        if self.hosts[number].agent.is_none() || !self.hosts[number].resident {
            return;
        }
        let until = self.now + seconds * 1000;
        if self.host(number, |host, around| host.open_by_root(peer, seconds, around)) == Some(true) {
            self.happened.push(Happened::Overridden { place: (number, peer), until });
        }
    }

    pub fn log_in(&mut self, attempted: Attempted) {
        if self.bastion.keeper.is_none() {
            return;
        }
        self.next_login += 1;
        let true_time = self.bastion.clock(self.now) - jiff::SignedDuration::from_millis(self.bastion.ahead);
        let login = Login::new(self.next_login, attempted, true_time);
        self.bastion.keeper().logins.push(login);
    }

    /// One of the logins in progress takes its next step.
    pub fn proceed(&mut self, which: usize) {
        let Some(keeper) = &mut self.bastion.keeper else { return };
        keeper.logins.retain(|login| !login.is_over());
        if let Some(count) = std::num::NonZero::new(keeper.logins.len()) {
            let id = keeper.logins[which % count].id;
            self.proceed_one(id);
        }
    }

    /// One of those who have logged in is to pay for an administrator's act.
    pub fn spend(&mut self, which: usize) {
        let Some(keeper) = &mut self.bastion.keeper else { return };
        let logins = keeper.logins.iter().enumerate();
        let passed: Vec<_> = logins.filter(|(_, login)| login.has_passed()).map(|(at, _)| at).collect();
        if let Some(count) = std::num::NonZero::new(passed.len()) {
            let login = keeper.logins.remove(passed[which % count]);
            let acted = self.bastion(|bastion, _, now, happened| login.spend(bastion, now, happened));
            if let (Some(keeper), Some(())) = (&mut self.bastion.keeper, acted) {
                keeper.logins.push(login);
            }
        }
    }

    /// A person's line is lost.
    pub fn hang_up(&mut self, which: usize, arrived: bool) {
        let Some(keeper) = &mut self.bastion.keeper else { return };
        if let Some(count) = std::num::NonZero::new(keeper.logins.len()) {
            let login = keeper.logins.remove(which % count);
            self.use_keys(&login.hang_up(arrived));
        }
    }

    /// Everybody's.
    pub fn hang_up_all(&mut self) {
        let logins = self.bastion.keeper.iter_mut().flat_map(|keeper| std::mem::take(&mut keeper.logins));
        let given: Vec<_> = logins.flat_map(|login| login.hang_up(true)).collect();
        self.use_keys(&given);
    }

    /// A client puts keys into its interface.
    fn use_keys(&mut self, given: &[Given]) {
        for (place, generation) in self.clients.apply(given) {
            self.happened.push(Happened::Used { place, generation });
        }
    }

    /// A device shakes hands with what it has.
    pub fn shake(&mut self, host: usize, peer: usize) {
        let (now, key) = (self.now, self.clients.key((host, peer)));
        self.hosts[host].shake(peer, key, now);
        self.enforce(host); // an agent that stays looks every second
    }

    fn proceed_one(&mut self, id: u64) {
        let Some(keeper) = &mut self.bastion.keeper else { return };
        let Some(at) = keeper.logins.iter().position(|login| login.id == id) else { return };
        let mut login = keeper.logins.remove(at);
        let connected = |(link, host): (&Option<Link>, &Host)| link.is_some() && host.resident;
        let residents: Vec<_> = self.links.iter().zip(&self.hosts).map(connected).collect();
        let told = self.bastion(|bastion, site, now, happened| login.proceed(bastion, site, &residents, now, happened));
        if let (Some(keeper), Some(told)) = (&mut self.bastion.keeper, told) {
            let applied = std::mem::take(&mut login.applied);
            keeper.logins.insert(at, login);
            self.use_keys(&applied);
            told.into_iter().for_each(|(host, message)| self.tell(host, message));
        }
    }
}
