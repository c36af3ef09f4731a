//! A day of ten thousand connections: fifty gateways, forty-five with an agent that stays and five with cron, and two and
//! a half thousand people who log in as people do. Every minute of it can be computed again: chance has one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use wgmfa_core::rotation::Hold;

use super::key::Kind;
use super::ledger::Happened;
use super::login::{Attempted, Typed};
use super::site::{Place, Site};
use super::world::{CRON, File, World};

const HOSTS: usize = 50;
const RESIDENT: usize = 45;
const PEOPLE: usize = 2500;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// How far apart the rounds of an agent that stays are here. (In the program: a minute, and at once after a change.)
const ROUND: u64 = 15 * MINUTE;

/// The session length of the policy.
const INTERVAL: u64 = HOUR;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The bastion's machine is gone, for so long.
    BastionAway(u64),
    BastionBack,
    /// A gateway is not reached, for so long.
    Unreachable(usize, u64),
    /// A gateway loses its power, and comes back.
    PowerCut(usize),
    Round(usize),
    /// The timer of an agent that stays.
    Deadline(Place),
    /// The same of one that is out of contact: for any of its peers.
    Look(usize),
    LogIn(usize),
}

/// Chance (SplitMix64, from its authors' public domain code's constants).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Debug, Default)]
struct Counts {
    logins: usize,
    opened: usize,
    locked_on_time: usize,
    locked_at_a_round: usize,
    locked_in_an_outage: usize,
    released_in_an_outage: usize,
    /// Prolonged between two rounds of cron with the old deadline in between, and locked all the same.
    prolonged_too_late: usize,
    refused: BTreeMap<&'static str, usize>,
}

struct Day {
    world: World,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    chance: Chance,
    /// When each session ends, as the person was told.
    sessions: BTreeMap<Place, u64>,
    /// When they would have ended, had they not been prolonged.
    prolonged: BTreeMap<Place, u64>,
    bastion_back: u64,
    counts: Counts,
}

fn site() -> Rc<Site> {
    let mut peers = vec![Vec::new(); HOSTS];
    for person in 0..PEOPLE {
        for gateway in 0..4 {
            peers[(person + 13 * gateway) % HOSTS].push(person);
        }
    }
    let policy = "description='Prod'\nrotation-interval='1h'\nmfa=true\nserver-peers=['*/devices']";
    Rc::new(Site::new(peers, (0..PEOPLE).collect(), &[&[("101-prod.toml", policy)]]))
}

impl Day {
    fn new() -> Self {
        let residents: Vec<_> = (0..HOSTS).map(|host| host < RESIDENT).collect();
        let world = World::new(&site(), &residents);
        let (chance, sessions, counts) = (Chance(1), BTreeMap::new(), Counts::default());
        let (events, prolonged) = (BinaryHeap::new(), BTreeMap::new());
        let mut day = Self { world, events, chance, sessions, prolonged, bastion_back: 0, counts };
        day.at(0, Event::BastionBack);
        (0..HOSTS).for_each(|host| day.at(ROUND + host as u64, Event::Round(host)));
        for person in 0..PEOPLE {
            // most come between half past seven and ten
            let (one, other) = (day.chance.below(75 * MINUTE), day.chance.below(75 * MINUTE));
            day.at(7 * HOUR + 30 * MINUTE + one + other, Event::LogIn(person));
        }
        day.at(12 * HOUR, Event::BastionAway(20 * MINUTE));
        day.at(14 * HOUR, Event::Unreachable(5, 150 * MINUTE));
        day.at(14 * HOUR, Event::Unreachable(46, 150 * MINUTE));
        day.at(15 * HOUR, Event::PowerCut(7));
        day.at(15 * HOUR, Event::PowerCut(47));
        day
    }

    fn at(&mut self, time: u64, event: Event) {
        self.events.push(Reverse((time, event)));
    }

    fn run(&mut self) {
        while let Some(Reverse((time, event))) = self.events.pop() {
            if time > 24 * HOUR {
                return;
            }
            self.world.now = time;
            self.happen(event);
            self.settle_accounts();
        }
    }

    /// What happened just now is compared with the sessions, and held to the rules.
    fn settle_accounts(&mut self) {
        let lock = |happened: &Happened| match happened {
            Happened::Locked { place, .. } => Some(*place),
            _ => None,
        };
        let locks: Vec<_> = self.world.since_judged().iter().filter_map(lock).collect();
        locks.into_iter().for_each(|place| self.locked(place));
        self.world.judge_what_happened().unwrap_or_else(|broken| panic!("{} s: {broken}", self.world.now / SECOND));
    }

    fn happen(&mut self, event: Event) {
        let now = self.world.now;
        match event {
            Event::BastionAway(away) => {
                self.world.kill_keeper(away);
                self.bastion_back = now + away;
                self.at(self.bastion_back, Event::BastionBack);
            }
            Event::BastionBack => {
                self.world.bastion(|bastion, site, now, happened| bastion.start(site, now, happened));
                // agents that stay try again within half a minute
                (0..RESIDENT).for_each(|host| self.at(now + host as u64 * SECOND / 2, Event::Round(host)));
            }
            Event::Unreachable(host, away) => {
                self.world.cut(host);
                self.world.unreachable[host] = now + away;
            }
            Event::PowerCut(host) => {
                self.world.reboot(host, 2 * MINUTE, File::Lock);
                // with the power went the sessions
                self.sessions.retain(|place, _| place.0 != host);
            }
            Event::Round(host) => {
                let resident = self.world.hosts[host].resident;
                self.world.hosts[host].want_round(now);
                self.world.begin(host);
                self.world.settle_with(host);
                if resident {
                    self.arm(host);
                } else {
                    self.adopted(host);
                }
                let next = if resident { ROUND } else { CRON };
                if resident && now % ROUND != host as u64 {
                    return; // one between the others
                }
                self.at((now / next + 1) * next + host as u64, Event::Round(host));
            }
            Event::Deadline((host, peer)) => {
                if self.world.hosts[host].agent.is_some() {
                    self.world.host(host, |host, around| host.enforce_on(vec![peer], around));
                }
            }
            Event::Look(host) => {
                self.world.enforce(host);
                self.arm(host);
            }
            Event::LogIn(person) => self.log_in(person),
        }
    }

    /// The timer of an agent that stays is set for what ends before its next round.
    fn arm(&mut self, number: usize) {
        let host = &self.world.hosts[number];
        if let (None, Some(next)) = (&self.world.links[number], host.next_deadline(self.world.now)) {
            return self.at(next, Event::Look(number));
        }
        let held = host.agent.iter().flat_map(|agent| &agent.memory.peers);
        let open = held.filter_map(|(peer, kept)| match kept.held.hold {
            Hold::Open { deadline } => Some(((number, *peer), host.true_time(deadline))),
            _ => None,
        });
        let soon: Vec<_> = open.filter(|(_, deadline)| *deadline <= self.world.now + 2 * ROUND).collect();
        soon.into_iter().for_each(|(place, deadline)| self.at(deadline, Event::Deadline(place)));
    }

    /// A peer was locked: was it time?
    fn locked(&mut self, place: Place) {
        let now = self.world.now;
        let Some(until) = self.sessions.remove(&place) else { return };
        let cut_off = now < self.world.unreachable[place.0] || now < self.bastion_back;
        if now < until.saturating_sub(SECOND) && cut_off {
            self.counts.locked_in_an_outage += 1; // what the bastion gave meanwhile, this gateway has not heard of
        } else if self.world.hosts[place.0].resident {
            let late = now.saturating_sub(until);
            assert!(until <= now + SECOND && late <= SECOND, "{place:?} was locked at {now}, to be locked at {until}");
            self.counts.locked_on_time += 1;
        } else if self.prolonged.get(&place).is_some_and(|before| *before <= now + SECOND && now < before + CRON)
            && now < until
        {
            self.counts.prolonged_too_late += 1;
        } else {
            assert!(until <= now + SECOND, "{place:?} was locked at {now}, before {until}");
            assert!(now <= until + CRON + SECOND, "{place:?} was locked at {now}, long after {until}");
            self.counts.locked_at_a_round += 1;
        }
    }

    /// What a cron agent has heard of at this round ends, at the latest, at the first round after it.
    fn adopted(&self, host: usize) {
        let now = self.world.now;
        for (place, until) in self.sessions.range((host, 0)..(host + 1, 0)) {
            assert!(now < until + CRON, "{place:?} is still open at {now}, and its session was over at {until}");
        }
    }

    fn log_in(&mut self, person: usize) {
        let now = self.world.now;
        let (going_home, patience) = (18 * HOUR, 30 * SECOND + self.chance.below(10 * MINUTE));
        if self.world.bastion.keeper.is_none() {
            self.at(now + patience, Event::LogIn(person)); // ssh says: connection refused
            return;
        }
        self.counts.logins += 1;
        let typed = Typed::App { steps_ago: 0 };
        self.world.log_in(Attempted {
            user: person,
            source: 1,
            device: person,
            password_right: true,
            typed,
            renews: true,
        });
        let before = self.world.ledger.refusals.len();
        for _ in 0..10 {
            self.world.proceed(0);
            for (host, _) in self.world.site.clone().places_of_device(person) {
                if *host < RESIDENT {
                    self.world.settle_with(*host);
                }
            }
        }
        self.world.hang_up_all();
        self.settle_accounts();
        self.opened(person);
        let refusals = self.world.ledger.refusals.split_off(before);
        let again = !refusals.is_empty();
        refusals.into_iter().for_each(|(place, reason)| self.refused(place, &reason));
        // some prolong a session before its end, most log in when it is over and they notice; who was refused tries again
        let next = match self.chance.below(10) {
            _ if again => 2 * MINUTE + self.chance.below(10 * MINUTE),
            0 | 1 => INTERVAL - self.chance.below(10 * MINUTE),
            _ => INTERVAL + self.chance.below(40 * MINUTE),
        };
        if now + next < going_home {
            self.at(now + next, Event::LogIn(person));
        }
    }

    /// Whatever was released: its server side accepts it, and will end it.
    fn opened(&mut self, person: usize) {
        let now = self.world.now;
        for place in self.world.site.clone().places_of_device(person).iter().copied() {
            let Some((generation, until)) = self.world.bastion.session(place, now) else { continue };
            if until != now + INTERVAL {
                continue; // of an earlier login
            }
            let host = &self.world.hosts[place.0];
            let stands = host.slots[place.1].map(|key| key.kind);
            if stands == Some(Kind::Lock) && self.outage(place.0).is_some() {
                self.counts.released_in_an_outage += 1; // the gateway has locked what it could not hear to be prolonged
                continue;
            }
            assert_eq!(
                stands,
                Some(Kind::Generation(generation)),
                "{place:?} was released, and another key stands there"
            );
            self.counts.opened += 1;
            if let Some(before) = self.sessions.insert(place, until) {
                self.prolonged.insert(place, before);
            }
        }
    }

    /// Why a gateway could not hear.
    fn outage(&self, host: usize) -> Option<&'static str> {
        let power = 15 * HOUR..15 * HOUR + 2 * MINUTE + ROUND + MINUTE;
        if self.world.now < self.world.unreachable[host] {
            Some("the gateway is not reached")
        } else if power.contains(&self.world.now) && (host == 7 || host == 47) {
            Some("the gateway has lost its power")
        } else {
            None
        }
    }

    /// A refusal must have a reason in the world.
    fn refused(&mut self, (host, peer): Place, reason: &str) {
        let now = self.world.now;
        let resident = self.world.hosts[host].resident;
        let locked = self.world.hosts[host].slots[peer].is_some_and(|key| key.kind == Kind::Lock);
        let why = if let Some(outage) = self.outage(host) {
            outage
        } else if (12 * HOUR..12 * HOUR + 20 * MINUTE + ROUND).contains(&now) {
            "the bastion was away"
        } else if !resident && self.world.bastion.is_between_keys((host, peer)) {
            "the session is over, and cron has not come by"
        } else if resident && locked {
            "the session is over, and the next key is on its way"
        } else {
            panic!("{now}: ({host}, {peer}) was refused without a reason in the world: {reason}");
        };
        *self.counts.refused.entry(why).or_default() += 1;
    }
}

#[test]
fn a_day_of_ten_thousand_connections_passes_as_written() {
    let mut day = Day::new();
    day.run();
    let Counts { logins, opened, locked_on_time, locked_at_a_round, prolonged_too_late, refused, .. } = &day.counts;
    let said = format!("{:?}", day.counts);
    assert!((15_000..30_000).contains(logins), "{said}");
    assert!(*opened > 3 * logins, "{said}");
    assert!(*locked_on_time > 40_000 && *locked_at_a_round > 4_000, "{said}");
    assert_eq!(*prolonged_too_late, 0, "{said}");
    assert!(refused["the session is over, and cron has not come by"] * 100 < *opened, "{said}");
    assert!(day.sessions.is_empty(), "at night nobody is in: {:?}", day.sessions);
}
