//! The world: true time, hosts, the bastion, the ways between them, and what may happen to each.

use std::rc::Rc;

use super::bastion::Bastion;
use super::host::{Around, Died, Host};
use super::key::{Key, Keys, Kind};
use super::ledger::{Broken, Happened, Ledger};
use super::login::{Attempted, Login};
use super::network::{Down, Link, Up};
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
    pub ledger: Ledger,
    happened: Vec<Happened>,
    /// Earlier keys of each interface.
    old: Vec<Vec<Option<Key>>>,
    next_login: u64,
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
            ledger: Ledger::default(),
            happened: Vec::new(),
            next_login: 0,
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

    /// One of the logins in progress is to pay for an administrator's act.
    pub fn spend(&mut self, which: usize) {
        let Some(keeper) = &mut self.bastion.keeper else { return };
        if let Some(count) = std::num::NonZero::new(keeper.logins.len()) {
            let login = keeper.logins.remove(which % count);
            let acted = self.bastion(|bastion, _, now, happened| login.spend(bastion, now, happened));
            if let (Some(keeper), Some(())) = (&mut self.bastion.keeper, acted) {
                keeper.logins.push(login);
            }
        }
    }

    fn proceed_one(&mut self, id: u64) {
        let Some(keeper) = &mut self.bastion.keeper else { return };
        let Some(at) = keeper.logins.iter().position(|login| login.id == id) else { return };
        let mut login = keeper.logins.remove(at);
        let connected = |(link, host): (&Option<Link>, &Host)| link.is_some() && host.resident;
        let residents: Vec<_> = self.links.iter().zip(&self.hosts).map(connected).collect();
        let told = self.bastion(|bastion, site, now, happened| login.proceed(bastion, site, &residents, now, happened));
        if let (Some(keeper), Some(told)) = (&mut self.bastion.keeper, told) {
            keeper.logins.insert(at, login);
            told.into_iter().for_each(|(host, message)| self.tell(host, message));
        }
    }

    /// The bastion says something to an agent that stays connected.
    pub fn tell(&mut self, number: usize, message: Down) {
        if let Some(link) = self.links[number].as_mut().filter(|_| self.hosts[number].resident) {
            link.say_down(self.now, message);
        }
    }

    /// The next message from a host arrives; or it arrives twice.
    pub fn deliver_up(&mut self, number: usize, twice: bool) {
        let Some(message) = self.links[number].as_mut().and_then(|link| link.up.pop_front()) else { return };
        let again = twice.then(|| message.1.clone());
        for message in [Some(message.1), again].into_iter().flatten() {
            self.hear_up(number, message);
        }
    }

    fn hear_up(&mut self, number: usize, message: Up) {
        if self.bastion.keeper.is_none() || self.links[number].is_none() {
            return;
        }
        let heard = self.bastion(|bastion, site, now, happened| bastion.hear(site, number, message, now, happened));
        match heard {
            Some(Some(answers)) => {
                if let Some(link) = &mut self.links[number] {
                    answers.into_iter().for_each(|answer| link.say_down(self.now, answer));
                }
            }
            Some(None) => self.cut(number),
            None => {}
        }
    }

    /// The next message to a host arrives; or it arrives twice.
    pub fn deliver_down(&mut self, number: usize, twice: bool) {
        let Some(message) = self.links[number].as_mut().and_then(|link| link.down.pop_front()) else { return };
        let again = twice.then(|| message.1.clone());
        for message in [Some(message.1), again].into_iter().flatten() {
            if self.hosts[number].agent.is_none() {
                return;
            }
            let answer = self.host(number, |host, around| host.hear(message, around)).flatten();
            if let (Some(answer), Some(link)) = (answer, &mut self.links[number]) {
                link.say_up(self.now, answer);
            }
            self.end_of_round(number);
        }
    }

    /// A cron agent whose round is over ends.
    fn end_of_round(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        if !host.resident && host.agent.as_ref().is_some_and(|agent| agent.finished) {
            self.links[number] = None;
            self.gives_up(number);
        }
    }

    /// Everything that is on its way arrives, until nobody has anything to say.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            (0..self.hosts.len()).for_each(|number| self.begin(number));
            let full = |link: &&Option<Link>| link.as_ref().is_some_and(|link| !link.is_quiet());
            if !self.links.iter().any(|link| full(&link)) {
                return;
            }
            for number in 0..self.hosts.len() {
                self.deliver_up(number, false);
                self.deliver_down(number, false);
            }
        }
        panic!("the hosts and the bastion do not stop talking");
    }

    /// The same between the bastion and one host.
    pub fn settle_with(&mut self, number: usize) {
        for _ in 0..1000 {
            self.begin(number);
            if self.links[number].as_ref().is_none_or(Link::is_quiet) {
                return;
            }
            self.deliver_up(number, false);
            self.deliver_down(number, false);
        }
        panic!("host {number} and the bastion do not stop talking");
    }

    /// Starts, connects and begins whatever is due at a host.
    pub fn begin(&mut self, number: usize) {
        let (now, host) = (self.now, &mut self.hosts[number]);
        if host.agent.is_none() && host.starts <= now {
            if !host.resident {
                host.starts = (now / CRON + 1) * CRON;
            }
            self.host(number, |host, around| {
                host.start(around);
                if host.resident { host.enforce(around) } else { host.enforce_before_asking(around) }
            });
        }
        let reachable = self.bastion.keeper.is_some()
            && self.unreachable[number] <= now
            && !self.bastion.store.disabled_hosts[number];
        let host = &mut self.hosts[number];
        if host.agent.is_some() && self.links[number].is_none() && reachable {
            self.links[number] = Some(Link::default());
            host.connected(now);
            self.bastion.heard(number, now);
        } else if host.agent.is_some() && self.links[number].is_none() && !host.resident {
            self.gives_up(number); // no bastion: until the next round
        }
        if let Some(link) = &mut self.links[number]
            && self.hosts[number].is_round_due(now)
        {
            link.say_up(now, self.hosts[number].begin_round(now));
        }
    }

    /// Everything that happens by itself at this moment.
    fn tick(&mut self) {
        for number in 0..self.hosts.len() {
            let link = &self.links[number];
            if link.as_ref().and_then(Link::dies_at).is_some_and(|dies| dies <= self.now) {
                self.cut(number);
            } else if link.as_ref().is_some_and(|link| link.is_quiet() && link.swallows.is_none()) {
                // pings, with nothing in front of them
                let asked = self.hosts[number].clock(self.now);
                if self.hosts[number].resident {
                    self.host(number, |host, around| {
                        host.reached(asked, around);
                        Ok(())
                    });
                }
                self.bastion.heard(number, self.now);
            }
            self.enforce(number);
            self.begin(number);
        }
        if self.bastion.keeper.is_none() && self.bastion.starts <= self.now {
            self.bastion(|bastion, site, now, happened| bastion.start(site, now, happened));
        }
        if self.bastion.keeper.is_some()
            && let Some(over) = self.bastion(|bastion, _, now, happened| bastion.expire(now, happened))
        {
            over.into_iter().for_each(|host| self.tell(host, Down::Round));
            let waited = |login: &Login| login.waits_until().is_some_and(|until| until <= self.now);
            let logins = self.bastion.keeper.iter().flat_map(|keeper| &keeper.logins);
            let waited: Vec<_> = logins.filter(|login| waited(login)).map(|login| login.id).collect();
            waited.into_iter().for_each(|id| self.proceed_one(id));
        }
    }

    fn next_event(&self, until: u64) -> u64 {
        let mut moments = vec![until];
        for (host, link) in self.hosts.iter().zip(&self.links) {
            moments.extend(host.next_deadline(self.now));
            moments.extend(link.as_ref().and_then(Link::dies_at));
            moments.push(host.starts);
            moments.extend(host.asks_until());
            moments.extend(host.agent.as_ref().map(|agent| host.true_time(agent.next_round)));
        }
        moments.extend(&self.unreachable);
        if let Some(keeper) = &self.bastion.keeper {
            moments.extend(keeper.logins.iter().filter_map(Login::waits_until));
        } else {
            moments.push(self.bastion.starts);
        }
        moments.into_iter().filter(|moment| *moment > self.now).min().unwrap_or(until).min(until)
    }

    /// Time passes; messages stand still on their way unless `settling`.
    ///
    /// # Errors
    /// A broken rule.
    pub fn pass(&mut self, millis: u64, settling: bool) -> Broken {
        let until = self.now + millis;
        loop {
            let next = self.next_event(until);
            let before = self.bastion.time(self.now);
            let step = next - self.now;
            self.now = next;
            let moved = self.bastion.time(self.now).duration_since(before).as_millis();
            self.still += u64::try_from(i128::from(step) - moved).unwrap_or(0);
            self.tick();
            if settling {
                self.settle();
            }
            self.judge()?;
            if next == until {
                return Ok(());
            }
        }
    }

    /// Somebody sets the clock of the bastion's machine.
    pub fn set_clock(&mut self, by: i64) {
        let before = self.bastion.time(self.now);
        self.bastion.ahead += by;
        let back = before.duration_since(self.bastion.time(self.now)).as_millis();
        self.still += u64::try_from(back).unwrap_or(0);
    }
}
