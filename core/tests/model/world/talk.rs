//! What is said between hosts and the bastion, and when a host begins.

use wgmfa_core::message::agent::signed_text;

use super::{CRON, Pretence, World};
use crate::ledger::Happened;
use crate::network::{Down, Hello, Link, Signature, Up};

impl World {
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
        self.repeated |= twice;
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
        self.repeated |= twice;
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
            self.connect(number);
        } else if host.agent.is_some() && self.links[number].is_none() && !host.resident {
            self.gives_up(number); // no bastion: until the next round
        }
        if let Some(link) = &mut self.links[number]
            && self.hosts[number].is_round_due(now)
        {
            link.say_up(now, self.hosts[number].begin_round(now));
        }
    }

    /// A host connects, and proves who it is.
    fn connect(&mut self, number: usize) {
        let nonce = self.nonce();
        let host = self.site.hosts[number].clone();
        let hello = Hello { signature: Signature { by: number, text: signed_text(&nonce, &host) }, host };
        self.hellos[number] = Some(hello.clone());
        if self.bastion.prove(&self.site, &nonce, &hello) == Some(number) {
            self.links[number] = Some(Link::default());
            self.hosts[number].connected(self.now);
            self.bastion.heard(number, self.now);
        }
    }

    /// A host comes under another one's name.
    pub fn impersonate(&mut self, liar: usize, victim: usize, how: Pretence) {
        if self.bastion.keeper.is_none() || liar == victim {
            return;
        }
        let nonce = self.nonce();
        let host = self.site.hosts[victim].clone();
        let own = Signature { by: liar, text: signed_text(&nonce, &host) };
        let signature = match how {
            Pretence::OwnKey => Some(own),
            Pretence::Replay => self.hellos[victim].clone().map(|hello| hello.signature),
            Pretence::OwnName => {
                let text = signed_text(&nonce, &self.site.hosts[liar]);
                Some(Signature { by: liar, text })
            }
        };
        if let Some(signature) = signature
            && let Some(host) = self.bastion.prove(&self.site, &nonce, &Hello { host, signature })
        {
            self.happened.push(Happened::Proved { host, by: liar });
        }
    }

    fn nonce(&mut self) -> String {
        self.nonces += 1;
        format!("nonce {}", self.nonces)
    }
}
