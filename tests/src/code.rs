//! One-time codes, computed by `oathtool`, a stranger to our code.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::program::run;

/// RFC 6238's default step, in seconds.
const STEP: u64 = 30;

/// How long a code must still be good for when it is made: a login takes less on a slow machine too, but on an emulated
/// processor (`tests/kernel`) it may take as long as a step.
fn on_its_way() -> Duration {
    Duration::from_secs(if std::env::var_os("WGMFA_ON_KERNEL").is_some() { STEP } else { 15 })
}

/// A person's authenticator. It knows which steps were used, since a code is good for one login.
#[derive(Debug)]
pub struct Authenticator {
    secret: String,
    last_step: u64,
}

impl Authenticator {
    /// From an `otpauth://` URL with the default parameters.
    ///
    /// # Panics
    /// It is none.
    pub fn from_url(url: &str) -> Self {
        let secret = url.split(['?', '&']).find_map(|part| part.strip_prefix("secret="));
        let secret = secret.unwrap_or_else(|| panic!("no secret in an otpauth URL")).to_owned();
        for (key, expected) in [("period=", "30"), ("digits=", "6"), ("algorithm=", "SHA1")] {
            let value = url.split(['?', '&']).find_map(|part| part.strip_prefix(key));
            assert!(value.is_none_or(|value| value == expected), "the lab's authenticator knows {key}{expected} only");
        }
        Self { secret, last_step: 0 }
    }

    /// A code that has not been used and is accepted now. The bastion accepts the step before and the one after, so that
    /// three logins in a row need no waiting, or two late in a step; one more waits for the next step.
    pub fn next_code(&mut self) -> String {
        let wanted = |now: u64| (now - 1..=now + 1).find(|step| *step > self.last_step);
        let step = loop {
            // near the end of a step the earliest one may be too old when it arrives
            let (now, into) = step_of(SystemTime::now());
            let now = if into + on_its_way() > Duration::from_secs(STEP) { now + 1 } else { now };
            if let Some(step) = wanted(now).filter(|step| *step <= step_of(SystemTime::now()).0 + 1) {
                break step;
            }
            std::thread::sleep(Duration::from_secs(STEP).saturating_sub(into));
        };
        self.last_step = step;
        self.code_of(step)
    }

    /// Every code up to now, and of the step after, counts as used: so does a bastion that was restored.
    pub fn skip_to_now(&mut self) {
        self.last_step = self.last_step.max(step_of(SystemTime::now()).0 + 1);
    }

    /// The code of the last login once more.
    pub fn used_code(&self) -> String {
        self.code_of(self.last_step)
    }

    /// A code that is wrong now: none of the three that are accepted.
    pub fn wrong_code(&self) -> String {
        let now = step_of(SystemTime::now()).0;
        let near: Vec<String> = (now - 2..=now + 2).map(|step| self.code_of(step)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).expect("a million codes are many")
    }

    /// The code of a step.
    pub fn code_of(&self, step: u64) -> String {
        let at = format!("@{}", step * STEP);
        run(Command::new("oathtool").args(["--totp", "--base32", "--now", &at, "-"]), self.secret.as_bytes())
            .ok()
            .stdout
            .trim_end()
            .to_owned()
    }
}

/// The step of a time, and how far into it that time is.
fn step_of(time: SystemTime) -> (u64, Duration) {
    let since = time.duration_since(UNIX_EPOCH).expect("after 1970");
    (since.as_secs() / STEP, since - Duration::from_secs(since.as_secs() / STEP * STEP))
}
