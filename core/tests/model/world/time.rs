//! Time: what happens by itself, and when.

use super::World;
use crate::ledger::Broken;
use crate::login::Login;
use crate::network::{Down, Link};

impl World {
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
