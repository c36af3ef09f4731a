//! One login at the bastion, step by step as the keeper takes them (`keeper/verify.rs`, `keeper/attempt.rs`,
//! `keeper/release.rs`): between any two of them another login may go on, or the keeper be killed.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use totp_rs::{Algorithm, Builder, Secret};
use wgmfa_core::code::{CodeSecret, CodeVerdict, PERIOD_SECONDS, Parameters, verify};
use wgmfa_core::guessing::{self, Attempt, Source};
use wgmfa_core::login::{Answer, CodeAnswer, CodeUse, Evidence, Judgement, judge};
use wgmfa_core::release::{
    Admission, Decision, Facts, Hears, Phase as Standing, RELEASE_WINDOW_SECONDS, decide, may_spend,
};

use super::bastion::{Bastion, LoginRow};
use super::host::Died;
use super::ledger::{Happened, Item};
use super::network::Down;
use super::site::{Place, Site};

/// How long the keeper waits for an agent, in milliseconds.
const CONFIRM_WITHIN: u64 = 2000;

/// What a person types after the second prompt.
#[derive(Debug, Clone, Copy)]
pub enum Typed {
    /// What the authenticator shows, or showed so many steps ago.
    App { steps_ago: u64 },
    /// Something else.
    Wrong,
    /// A recovery code, by its number.
    Recovery(u8),
}

/// Who logs in, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Attempted {
    pub user: usize,
    pub source: u8,
    pub device: usize,
    pub password_right: bool,
    pub typed: Typed,
}

#[derive(Debug)]
pub struct Login {
    pub id: u64,
    attempted: Attempted,
    code: String,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    Asked,
    Charged,
    Judged(CodeUse),
    CodeUsed,
    Passed { at: u64 },
    Opening { at: u64, offers: Vec<Offer>, until: u64 },
    Over,
}

#[derive(Debug, Clone)]
struct Offer {
    place: Place,
    generation: u64,
    seconds_left: u64,
    renewal: bool,
    /// The order that the agent has not answered.
    asked: Option<u64>,
    told: bool,
}

/// What the keeper tells agents meanwhile.
pub type Told = Vec<(usize, Down)>;

fn secret(user: usize) -> [u8; 20] {
    [u8::try_from(user % 200).unwrap() + 1; 20]
}

/// What a person's authenticator shows at a true time; the phone's clock is right.
fn shown(user: usize, time: jiff::Timestamp) -> String {
    let secret = Secret::from(secret(user));
    let totp = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(PERIOD_SECONDS);
    let totp = totp.with_secret(secret).build().unwrap();
    totp.generate(u64::try_from(time.as_second()).unwrap()).to_string()
}

impl Login {
    pub fn new(id: u64, attempted: Attempted, true_time: jiff::Timestamp) -> Self {
        let code = match attempted.typed {
            Typed::App { steps_ago } => {
                let ago = i64::try_from(steps_ago * PERIOD_SECONDS).unwrap();
                shown(attempted.user, true_time - SignedDuration::from_secs(ago))
            }
            Typed::Wrong | Typed::Recovery(_) => "none".to_owned(),
        };
        Self { id, attempted, code, stage: Stage::Asked }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// When it goes on by itself, in true time.
    pub fn waits_until(&self) -> Option<u64> {
        match &self.stage {
            Stage::Opening { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// An agent has answered an order.
    pub fn answered(&mut self, id: u64, refused: Option<&str>, happened: &mut Vec<Happened>) {
        let Stage::Opening { offers, .. } = &mut self.stage else { return };
        for offer in offers.iter_mut().filter(|offer| offer.asked == Some(id)) {
            (offer.asked, offer.told) = (None, refused.is_none());
        }
        if let Some(reason) = refused {
            let gone = |offer: &Offer| !offer.told && offer.asked.is_none();
            for offer in offers.iter().filter(|offer| gone(offer)) {
                happened.push(Happened::Refused { place: offer.place, reason: reason.to_owned() });
            }
            offers.retain(|offer| !gone(offer));
        }
    }

    /// Takes the next step; none was possible when it waits for an agent.
    pub fn proceed(
        &mut self,
        bastion: &mut Bastion,
        site: &Site,
        residents: &[bool],
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Told, Died> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        match stage {
            Stage::Asked => self.charge(bastion, now)?,
            Stage::Charged => self.judge(bastion, now),
            Stage::Judged(used) => self.use_up(bastion, used, now, happened)?,
            Stage::CodeUsed => {
                bastion.write(now)?;
                let disabled = bastion.store.people[self.attempted.user].disabled;
                if let Some(row) = bastion.store.logins.get_mut(&self.id).filter(|row| !row.passed && !disabled) {
                    row.passed = true;
                    self.stage = Stage::Passed { at: now };
                }
            }
            Stage::Passed { at } => return self.offer(bastion, site, residents, at, now, happened),
            Stage::Opening { at, offers, until } => {
                if offers.iter().any(|offer| offer.asked.is_some()) && now < until {
                    self.stage = Stage::Opening { at, offers, until };
                } else {
                    self.stage = Stage::Passed { at }; // who is logged in may ask again
                    return self.release(bastion, site, offers, now, happened);
                }
            }
            Stage::Over => {}
        }
        Ok(Told::new())
    }

    /// An administrator who has logged in pays for an act with the code.
    pub fn spend(&self, bastion: &mut Bastion, now: u64, happened: &mut Vec<Happened>) -> Result<(), Died> {
        if matches!(self.stage, Stage::Passed { .. } | Stage::Opening { .. }) {
            let time = bastion.write(now)?;
            let row = bastion.store.logins.get_mut(&self.id).expect("it has passed");
            if matches!(may_spend(row.facts(), time), Admission::Admit) {
                row.acted = true;
                happened.push(Happened::Acted { login: self.id, user: self.attempted.user, at: now });
            }
        }
        Ok(())
    }

    fn source(&self) -> Source {
        Source::from(std::net::IpAddr::from([192, 0, 2, self.attempted.source]))
    }

    fn charge(&mut self, bastion: &mut Bastion, now: u64) -> Result<(), Died> {
        let time = bastion.time(now);
        let (source, recovery) = (self.source(), matches!(self.attempted.typed, Typed::Recovery(_)));
        let person = &bastion.store.people[self.attempted.user];
        let pair = person.pairs.get(&source).cloned().unwrap_or_default();
        if let Attempt::Judge { pair, person } = guessing::attempt(&pair, &person.guesses, recovery, time) {
            bastion.write(now)?;
            let stored = &mut bastion.store.people[self.attempted.user];
            stored.pairs.insert(source, pair);
            stored.guesses = person;
            self.stage = Stage::Charged;
        }
        Ok(())
    }

    fn judge(&mut self, bastion: &Bastion, now: u64) {
        let person = &bastion.store.people[self.attempted.user];
        let code = match self.attempted.typed {
            Typed::Recovery(number) if !person.used_recovery.contains(&number) => CodeAnswer::Recovery([number; 32]),
            Typed::Recovery(_) => CodeAnswer::Wrong,
            Typed::App { .. } | Typed::Wrong => {
                let secret = CodeSecret::from_random(secret(self.attempted.user));
                let time = bastion.time(now);
                match verify(&secret, Parameters::default(), &self.code, time, person.last_step) {
                    CodeVerdict::Accept(step) => CodeAnswer::Step(step),
                    CodeVerdict::Used => CodeAnswer::Used,
                    CodeVerdict::Wrong => CodeAnswer::Wrong,
                }
            }
        };
        let password = if self.attempted.password_right { Answer::Right } else { Answer::Wrong };
        let evidence =
            Evidence { known: true, disabled: person.disabled, barred: None, invited: false, password, code };
        if let Judgement::Accept(used) = judge(&evidence) {
            self.stage = Stage::Judged(used);
        }
    }

    /// Uses up the code: one change of the store, or refusal.
    fn use_up(
        &mut self,
        bastion: &mut Bastion,
        used: CodeUse,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<(), Died> {
        let (time, source) = (bastion.write(now)?, self.source());
        let person = &mut bastion.store.people[self.attempted.user];
        let accepted = !person.disabled
            && match used {
                CodeUse::Step(step) => {
                    person.last_step < Some(step) && {
                        person.last_step = Some(step);
                        true
                    }
                }
                CodeUse::Recovery([number, ..]) => {
                    !person.used_recovery.contains(&number) && {
                        person.used_recovery.push(number);
                        true
                    }
                }
                CodeUse::Telephone(_) | CodeUse::Nothing => false, // none is handed out here
            };
        if accepted {
            let (pair, guesses) = guessing::success(&person.pairs[&source], &person.guesses, time);
            person.pairs.insert(source, pair);
            person.guesses = guesses;
            let row =
                LoginRow { user: self.attempted.user, code_at: time, passed: false, released: false, acted: false };
            bastion.store.logins.insert(self.id, row);
            happened.push(Happened::CodeAccepted { login: self.id, user: self.attempted.user, used, at: now });
            self.stage = Stage::CodeUsed;
        }
        Ok(())
    }

    /// Decides about each connection of the device, and has the servers open.
    fn offer(
        &mut self,
        bastion: &mut Bastion,
        site: &Site,
        residents: &[bool],
        at: u64,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Told, Died> {
        let mine = site.owners[self.attempted.device] == self.attempted.user;
        if now - at > RELEASE_WINDOW_SECONDS.unsigned_abs() * 1000 || !mine {
            return Ok(Told::new());
        }
        bastion.expire(now, happened)?;
        let (time, policies) = (bastion.time(now), bastion.keeper().policies);
        let (mut offers, mut told) = (Vec::new(), Told::new());
        for place in site.places_of_device(self.attempted.device).iter().copied() {
            let facts = Facts {
                cover: site.served[policies][place.0][place.1].cover.clone(),
                cut_off: bastion.cut_off(site, place),
                newest: bastion.store.records.get(&place).and_then(|record| record.newest()),
                unheard: bastion.unheard(place.0, now),
                hears: match (residents[place.0], bastion.is_on_time(place.0, now)) {
                    (true, _) => Hears::Asked,
                    (false, true) => Hears::ComesBy,
                    (false, false) => Hears::NotReached("gw".to_owned()),
                },
                next_round: "its next round is to come".to_owned(),
            };
            match decide(&facts, time) {
                Decision::Grant { generation, seconds_left, renewal, .. } => {
                    let asked = (!renewal && residents[place.0]).then(|| {
                        let keeper = bastion.keeper();
                        keeper.next_id += 1;
                        let (id, peer) = (keeper.next_id, place.1);
                        told.push((place.0, Down::Open { id, peer, generation, seconds_left }));
                        id
                    });
                    offers.push(Offer { place, generation, seconds_left, renewal, asked, told: false });
                }
                Decision::Refuse(reason) => happened.push(Happened::Refused { place, reason }),
                Decision::Pass | Decision::Open { .. } => {}
            }
        }
        let row = bastion.store.logins.get(&self.id).and_then(LoginRow::facts);
        if !offers.is_empty() && matches!(may_spend(row, time), Admission::Admit) {
            self.stage = Stage::Opening { at, offers, until: now + CONFIRM_WITHIN };
            return Ok(told);
        }
        Ok(Told::new())
    }

    /// Records the release, all of it in one change of the store, and tells the servers that have not confirmed.
    fn release(
        &mut self,
        bastion: &mut Bastion,
        site: &Site,
        offers: Vec<Offer>,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Told, Died> {
        let Attempted { user, device, .. } = self.attempted;
        let time = bastion.write(now)?;
        let row = bastion.store.logins.get(&self.id).filter(|row| row.user == user).and_then(LoginRow::facts);
        let person = &bastion.store.people[user];
        let mine = site.owners[device] == user && !bastion.store.disabled_devices[device] && !person.disabled;
        if !matches!(may_spend(row, time), Admission::Admit) || !mine {
            return Ok(Told::new());
        }
        let (mut items, mut told) = (Vec::new(), BTreeMap::new());
        for offer in offers {
            let Offer { place, generation, seconds_left, renewal, .. } = offer;
            let cut_off = bastion.cut_off(site, place).is_some();
            let Some(record) = bastion.store.records.get(&place).filter(|_| !cut_off) else { continue };
            let highest = record.highest;
            let fits = |phase: Standing| match phase {
                Standing::Applied => generation == highest,
                Standing::Released { deadline } => deadline > time,
                Standing::Deposited | Standing::Expired => false,
            };
            let current = record.current.as_ref();
            let current = current.filter(|current| current.generation == generation && fits(current.phase));
            let Some(current) = current else {
                let reason = "the server does not accept it yet, or not any more".to_owned();
                happened.push(Happened::Refused { place, reason });
                continue;
            };
            let asked_for = time + SignedDuration::from_secs(i64::try_from(seconds_left).unwrap());
            let deadline = match current.phase {
                Standing::Released { deadline } => deadline.max(asked_for),
                _ => asked_for,
            };
            bastion.release(place, deadline);
            items.push(Item { place, generation, seconds: seconds_left });
            if renewal {
                let keeper = bastion.keeper();
                keeper.next_id += 1;
                let open = Down::Open { id: keeper.next_id, peer: place.1, generation, seconds_left };
                told.insert(place, vec![(place.0, open), (place.0, Down::Round)]);
            } else if !offer.told {
                told.insert(place, vec![(place.0, Down::Round)]);
            }
        }
        if !items.is_empty() {
            bastion.store.logins.get_mut(&self.id).expect("it may release").released = true;
            happened.push(Happened::Released { login: self.id, user, device, items, at: now });
        }
        Ok(told.into_values().flatten().collect())
    }
}
