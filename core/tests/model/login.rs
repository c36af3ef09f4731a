//! One login at the bastion, step by step as the keeper takes them (`keeper/verify.rs`, `keeper/attempt.rs`,
//! `keeper/release.rs`, `keeper/renewal.rs`): between any two of them another login may go on, or the keeper be killed.

mod release;
mod renewal;

use jiff::SignedDuration;
use totp_rs::{Algorithm, Builder, Secret};
use wgmfa_core::code::{CodeSecret, CodeVerdict, PERIOD_SECONDS, Parameters, verify};
use wgmfa_core::guessing::{self, Attempt, Source};
use wgmfa_core::login::{Answer, CodeAnswer, CodeUse, Evidence, Judgement, judge};
use wgmfa_core::release::{Admission, may_spend};

use super::bastion::{Bastion, LoginRow};
use super::client::Given;
use super::host::Died;
use super::ledger::Happened;
use super::network::Down;
use super::site::Site;
use release::Offer;
use renewal::Handed;

/// How long the keeper waits for an agent, in milliseconds.
const CONFIRM_WITHIN: u64 = 2000;

/// What a person types after the second prompt.
#[derive(Debug, Clone, Copy)]
pub enum Typed {
    /// What the authenticator shows, or showed so many steps ago.
    App { steps_ago: u64 },
    /// What another person's authenticator shows.
    OfAnother,
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
    /// The client waits for the bastion's word before it uses the next generation of a session; else it gets none.
    pub renews: bool,
}

#[derive(Debug)]
pub struct Login {
    pub id: u64,
    attempted: Attempted,
    code: String,
    stage: Stage,
    /// What the client has just put into its interface.
    pub applied: Vec<Given>,
}

#[derive(Debug, Clone)]
enum Stage {
    Asked,
    Charged,
    Judged(CodeUse),
    CodeUsed,
    Passed {
        at: u64,
    },
    /// Servers open what nobody had.
    Opening {
        at: u64,
        offers: Vec<Offer>,
        until: u64,
    },
    /// It is recorded; servers hear that their sessions are prolonged.
    Telling {
        at: u64,
        keys: Vec<Handed>,
        until: u64,
    },
    /// Servers make the next generations of sessions that are renewed.
    MakingNext {
        at: u64,
        keys: Vec<Handed>,
        until: u64,
    },
    /// The keys are on their way to the client.
    Given {
        at: u64,
        keys: Vec<Handed>,
    },
    /// The client has them, and servers change to the next generations.
    Changing {
        at: u64,
        keys: Vec<Handed>,
        until: u64,
    },
    Over,
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
            Typed::OfAnother => shown(attempted.user + 1, true_time),
            Typed::Wrong | Typed::Recovery(_) => "none".to_owned(),
        };
        Self { id, attempted, code, stage: Stage::Asked, applied: Vec::new() }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// When it goes on by itself, in true time.
    pub fn waits_until(&self) -> Option<u64> {
        match &self.stage {
            Stage::Opening { until, .. }
            | Stage::Telling { until, .. }
            | Stage::MakingNext { until, .. }
            | Stage::Changing { until, .. } => Some(*until),
            _ => None,
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
                    return self.release(bastion, site, residents, offers, now, happened);
                }
            }
            stage => return Ok(self.go_on(stage, bastion, residents, now, happened)),
        }
        Ok(Told::new())
    }

    /// An administrator who has logged in pays for an act with the code.
    pub fn spend(&self, bastion: &mut Bastion, now: u64, happened: &mut Vec<Happened>) -> Result<(), Died> {
        if self.has_passed() {
            let time = bastion.write(now)?;
            let row = bastion.store.logins.get_mut(&self.id).expect("it has passed");
            if matches!(may_spend(row.facts(), time), Admission::Admit) {
                row.acted = true;
                happened.push(Happened::Acted { login: self.id, user: self.attempted.user, at: now });
            }
        }
        Ok(())
    }

    /// Whether its person is logged in.
    pub fn has_passed(&self) -> bool {
        !matches!(self.stage, Stage::Asked | Stage::Charged | Stage::Judged(_) | Stage::CodeUsed | Stage::Over)
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
            Typed::App { .. } | Typed::OfAnother | Typed::Wrong => {
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
            let own = matches!(self.attempted.typed, Typed::App { .. } | Typed::Recovery(_));
            let proved = self.attempted.password_right && own;
            happened.push(Happened::CodeAccepted { login: self.id, user: self.attempted.user, used, proved, at: now });
            self.stage = Stage::CodeUsed;
        }
        Ok(())
    }
}
