//! What may happen in the small world, and a run of it.

use std::rc::Rc;

use proptest::prelude::*;

use super::login::{Attempted, Typed};
use super::network::Down;
use super::site::Site;
use super::world::{File, Pretence, World};

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Act {
    /// Time passes, and messages stand still on their way.
    Stall(u64),
    /// Time passes, and messages arrive.
    Pass(u64),
    Up {
        host: usize,
        twice: bool,
    },
    Down {
        host: usize,
        twice: bool,
    },
    Cut {
        host: usize,
        away: u64,
    },
    Swallow {
        host: usize,
    },
    Settle,
    LogIn(Attempted),
    /// A login goes on.
    Proceed(usize),
    /// A login's line is lost, before or after the keys have arrived.
    HangUp {
        which: usize,
        arrived: bool,
    },
    /// A person logs in, and again while the session runs; the second login stops after so many steps, with what was said
    /// last still on its way. Meanwhile, if so, the servers report.
    Renew {
        device: usize,
        steps: usize,
        reports: bool,
    },
    /// A device shakes hands with the key that it has.
    Shake {
        host: usize,
        peer: usize,
    },
    /// A host comes under another one's name.
    Impersonate {
        liar: usize,
        victim: usize,
        how: Pretence,
    },
    /// An administrator's act is asked for by one of them.
    Spend(usize),
    /// Logins go on until they are done.
    Finish,
    AgentDies {
        host: usize,
        effects: u32,
    },
    AgentStops {
        host: usize,
        away: u64,
    },
    Reboot {
        host: usize,
        away: u64,
        file: File,
    },
    Syncconf {
        host: usize,
        file: File,
    },
    Override {
        host: usize,
        peer: usize,
        seconds: u64,
    },
    DiskFull {
        host: usize,
        full: bool,
    },
    KeeperDies {
        changes: u32,
    },
    KeeperStops {
        away: u64,
    },
    SetClock(i64),
    Policies(usize),
    DisableDevice(usize, bool),
    DisablePerson(usize, bool),
    DisableHost(usize, bool),
    OrderRotation {
        host: usize,
        peer: usize,
    },
}

/// How many sets of policies there are.
const SETS: usize = 6;

/// Two gateways, one with an agent that stays and one with cron; two people, one with two devices.
pub fn site() -> Rc<Site> {
    let all = ("101-all.toml", "description='a'\nrotation-interval='5m'\nmfa=true\nserver-peers=['*/devices']");
    let short = ("101-all.toml", "description='a'\nrotation-interval='90s'\nmfa=true\nserver-peers=['*/devices']");
    let risky = ("099-risky.toml", "description='r'\nrotation-interval='2m'\nmfa=true\nclient-peers=['device0']");
    let nobody = ("101-no.toml", "description='n'\nrotation-interval='5m'\nmfa=true\nserver-peers=['nobody/x']");
    let both = (
        "050-both.toml",
        "description='c'\nrotation-interval='5m'\nmfa=true\nserver-peers=['gw0/*']\nclient-peers=['gw0/devices']",
    );
    let idle = (
        "101-all.toml",
        "description='a'\nrotation-interval='12m'\nidle-timeout='5m'\nmfa=true\nserver-peers=['*/devices']",
    );
    let sets: [&[(&str, &str)]; SETS] = [&[all], &[short], &[all, risky], &[nobody], &[both, all], &[idle]];
    Rc::new(Site::new(vec![vec![0, 1, 2], vec![0, 2]], vec![0, 0, 1], &sets))
}

fn file() -> impl Strategy<Value = File> {
    prop_oneof![Just(File::Lock), Just(File::Live), Just(File::Old), Just(File::Nothing)]
}

fn attempted() -> impl Strategy<Value = Attempted> {
    let typed = prop_oneof![
        8 => Just(Typed::App { steps_ago: 0 }),
        2 => (1..4_u64).prop_map(|steps_ago| Typed::App { steps_ago }),
        1 => Just(Typed::Wrong),
        1 => Just(Typed::OfAnother),
        1 => (0..3_u8).prop_map(Typed::Recovery),
    ];
    // rarely, somebody asks for a device that is another person's
    let who = prop_oneof![6 => Just((0, 0)), 3 => Just((0, 1)), 6 => Just((1, 2)), 1 => Just((1, 0))];
    let likely = || prop::bool::weighted(0.9);
    (who, 0..2_u8, likely(), typed, likely()).prop_map(|((user, device), source, password_right, typed, renews)| {
        Attempted { user, source, device, password_right, typed, renews }
    })
}

fn away() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_000_u64, 5_000..100_000_u64, 100_000..900_000_u64]
}

fn pretence() -> impl Strategy<Value = Pretence> {
    prop_oneof![Just(Pretence::OwnKey), Just(Pretence::Replay), Just(Pretence::OwnName)]
}

/// A peer of one of the two gateways.
fn place() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![Just((0, 0)), Just((0, 1)), Just((0, 2)), Just((1, 0)), Just((1, 1))]
}

pub fn act() -> impl Strategy<Value = Act> {
    let host = || 0..2_usize;
    prop_oneof![
        4 => prop_oneof![0..3_000_u64, 0..60_000_u64].prop_map(Act::Stall),
        14 => prop_oneof![0..40_000_u64, 40_000..400_000_u64].prop_map(Act::Pass),
        8 => (host(), prop::bool::weighted(0.1)).prop_map(|(host, twice)| Act::Up { host, twice }),
        8 => (host(), prop::bool::weighted(0.1)).prop_map(|(host, twice)| Act::Down { host, twice }),
        3 => (host(), away()).prop_map(|(host, away)| Act::Cut { host, away }),
        1 => host().prop_map(|host| Act::Swallow { host }),
        6 => Just(Act::Settle),
        12 => attempted().prop_map(Act::LogIn),
        10 => (0..4_usize).prop_map(Act::Proceed),
        3 => (0..4_usize).prop_map(Act::Spend),
        2 => (0..4_usize, any::<bool>()).prop_map(|(which, arrived)| Act::HangUp { which, arrived }),
        3 => place().prop_map(|(host, peer)| Act::Shake { host, peer }),
        3 => (0..3_usize, 6..11_usize, any::<bool>())
            .prop_map(|(device, steps, reports)| Act::Renew { device, steps, reports }),
        1 => (host(), host(), pretence()).prop_map(|(liar, victim, how)| Act::Impersonate { liar, victim, how }),
        10 => Just(Act::Finish),
        4 => (host(), 0..6_u32).prop_map(|(host, effects)| Act::AgentDies { host, effects }),
        2 => (host(), away()).prop_map(|(host, away)| Act::AgentStops { host, away }),
        3 => (host(), away(), file()).prop_map(|(host, away, file)| Act::Reboot { host, away, file }),
        3 => (host(), file()).prop_map(|(host, file)| Act::Syncconf { host, file }),
        2 => (host(), 0..2_usize, 30..200_u64).prop_map(|(host, peer, seconds)| Act::Override { host, peer, seconds }),
        1 => (host(), any::<bool>()).prop_map(|(host, full)| Act::DiskFull { host, full }),
        3 => (0..6_u32).prop_map(|changes| Act::KeeperDies { changes }),
        2 => away().prop_map(|away| Act::KeeperStops { away }),
        2 => prop_oneof![-400_000..400_000_i64, -4_000..4_000_i64].prop_map(Act::SetClock),
        3 => (0..SETS).prop_map(Act::Policies),
        2 => (0..3_usize, any::<bool>()).prop_map(|(device, cut)| Act::DisableDevice(device, cut)),
        1 => (0..2_usize, any::<bool>()).prop_map(|(user, cut)| Act::DisablePerson(user, cut)),
        1 => (host(), any::<bool>()).prop_map(|(host, cut)| Act::DisableHost(host, cut)),
        2 => (host(), 0..2_usize).prop_map(|(host, peer)| Act::OrderRotation { host, peer }),
    ]
}

/// A run: what happens, and then quiet.
///
/// # Errors
/// The rule that was broken.
pub fn run(site: &Rc<Site>, acts: &[Act]) -> Result<(), String> {
    let mut world = World::new(site, &[true, false]);
    world.pass(0, true)?;
    for act in acts {
        world.happen(act)?;
        world.judge()?;
    }
    world.calm_down()?;
    world.has_converged()?;
    world.everybody_gets_in()?;
    world.who_is_idle_is_locked()
}

impl World {
    fn happen(&mut self, act: &Act) -> Result<(), String> {
        match act.clone() {
            Act::Stall(millis) => self.pass(millis, false)?,
            Act::Pass(millis) => self.pass(millis, true)?,
            Act::Up { host, twice } => self.deliver_up(host, twice),
            Act::Down { host, twice } => self.deliver_down(host, twice),
            Act::Cut { host, away } => {
                self.cut(host);
                self.unreachable[host] = self.now + away;
            }
            Act::Swallow { host } => {
                if let Some(link) = &mut self.links[host] {
                    (link.swallows, link.up, link.down) = (Some(self.now), Default::default(), Default::default());
                }
            }
            Act::Settle => self.settle(),
            Act::LogIn(attempted) => self.log_in(attempted),
            Act::Proceed(which) => self.proceed(which),
            Act::Spend(which) => self.spend(which),
            Act::HangUp { which, arrived } => self.hang_up(which, arrived),
            Act::Renew { device, steps, reports } => self.renew(device, steps, reports)?,
            Act::Shake { host, peer } => self.shake(host, peer),
            Act::Impersonate { liar, victim, how } => self.impersonate(liar, victim, how),
            Act::Finish => self.finish_logins()?,
            Act::AgentDies { host, effects } => self.hosts[host].fuse = Some(effects),
            Act::AgentStops { host, away } => {
                self.cut(host);
                (self.hosts[host].agent, self.hosts[host].starts) = (None, self.now + away);
            }
            Act::Reboot { host, away, file } => self.reboot(host, away, file),
            Act::Syncconf { host, file } => self.syncconf(host, file),
            Act::Override { host, peer, seconds } => self.override_(host, peer, seconds),
            Act::DiskFull { host, full } => self.hosts[host].disk_full = full,
            Act::KeeperDies { changes } => self.bastion.fuse = Some(changes),
            Act::KeeperStops { away } => self.kill_keeper(away),
            Act::SetClock(by) => self.set_clock(by),
            Act::Policies(which) => self.put_in_force(which),
            Act::DisableDevice(device, cut) => {
                self.bastion.store.disabled_devices[device] = cut;
                self.cut_off(cut, |world, place| world.site.device(place) == device);
            }
            Act::DisablePerson(user, cut) => {
                self.bastion.store.people[user].disabled = cut;
                self.cut_off(cut, |world, place| world.site.owners[world.site.device(place)] == user);
            }
            Act::DisableHost(host, cut) => {
                self.bastion.store.disabled_hosts[host] = cut;
                self.cut_off(cut, |_, place| place.0 == host);
                if cut {
                    self.cut(host);
                }
            }
            Act::OrderRotation { host, peer } => {
                if self.bastion.store.records.contains_key(&(host, peer)) && self.bastion.keeper.is_some() {
                    self.bastion(|bastion, _, now, happened| {
                        bastion.order_rotation((host, peer), "leak", now, happened)
                    });
                    self.tell(host, Down::Round);
                }
            }
        }
        Ok(())
    }

    fn renew(&mut self, device: usize, steps: usize, reports: bool) -> Result<(), String> {
        let (user, typed) = (self.site.owners[device], Typed::App { steps_ago: 0 });
        let attempted = Attempted { user, source: 1, device, password_right: true, typed, renews: true };
        self.log_in(attempted);
        self.finish_logins()?;
        self.pass(61_000, true)?;
        self.log_in(attempted);
        for step in 1..=steps {
            if step == steps && reports {
                (0..self.hosts.len()).for_each(|host| {
                    self.hosts[host].want_round(self.now);
                    self.begin(host);
                });
            }
            let newest = self.bastion.keeper.as_ref().map_or(0, |keeper| keeper.logins.len().saturating_sub(1));
            self.proceed(newest);
            if step < steps {
                self.settle();
            }
        }
        Ok(())
    }

    fn put_in_force(&mut self, which: usize) {
        self.bastion.policies_on_disk = which;
        if let Some(keeper) = &mut self.bastion.keeper {
            keeper.policies = which;
            (0..self.hosts.len()).for_each(|host| self.tell(host, Down::Round));
        }
    }

    /// An administrator cuts off, or lets in again: keys are wiped in the store, agents are told.
    fn cut_off(&mut self, cut: bool, concerned: impl Fn(&Self, (usize, usize)) -> bool) {
        if self.bastion.keeper.is_none() {
            return;
        }
        let places: Vec<_> = self.site.places().filter(|place| concerned(self, *place)).collect();
        for (host, peer) in &places {
            let known = self.bastion.store.records.contains_key(&(*host, *peer));
            self.tell(*host, if cut && known { Down::Lock { peer: *peer } } else { Down::Round });
        }
        if cut {
            self.bastion(|bastion, _, _, happened| {
                bastion.end_all(&places, happened);
                Ok(())
            });
        }
    }

    pub fn finish_logins(&mut self) -> Result<(), String> {
        for _ in 0..14 {
            let count = self.bastion.keeper.as_ref().map_or(0, |keeper| keeper.logins.len());
            for which in 0..count {
                self.proceed(which);
                self.settle();
                self.judge()?;
            }
            // those that wait for an agent wait two seconds at most
            self.pass(200, true)?;
        }
        Ok(())
    }
}
