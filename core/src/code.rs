//! One-time codes (RFC 6238, on the HOTP of RFC 4226) and recovery codes.

mod recovery;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::name::UserName;
pub use recovery::{Purpose, RecoveryCode, RecoveryCodeError, hash_for, looks_like_recovery, recovery_hash};

/// Length of a time step in seconds, the default of RFC 6238 section 4.1 and the only one that every app supports.
pub const PERIOD_SECONDS: u64 = 30;

/// How many steps a code may be early or late: one, as RFC 6238 section 5.2 recommends.
const SKEW: u64 = 1;

/// Shortest secret that is accepted, in bytes: the 128 bits of RFC 4226 section 4, requirement R6.
const SHORTEST_SECRET: usize = 16;

/// Number of a time step: whole periods since 1970-01-01T00:00:00Z. Each step of a person is accepted at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Step(u64);

impl Step {
    /// A step from its number, as the store keeps it.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number for the store.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The step in which this time lies; times before 1970 are in the first.
    pub fn at(time: Timestamp) -> Self {
        Self(u64::try_from(time.as_second()).unwrap_or(0) / PERIOD_SECONDS)
    }

    /// The last step whose code can have been accepted up to this time.
    pub fn last_before(time: Timestamp) -> Self {
        Self(Self::at(time).0 + SKEW)
    }
}

/// The hash under the HMAC. Many apps know only SHA-1, which is sound in this place (RFC 4226 appendix B.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA-1, the default.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name in an `otpauth` URL.
    fn url_name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// Number of digits of a code: 6 (the default), 7 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Digits(u8);

impl Default for Digits {
    fn default() -> Self {
        Self(6)
    }
}

impl TryFrom<u8> for Digits {
    type Error = CodeSecretError;
    fn try_from(digits: u8) -> Result<Self, CodeSecretError> {
        if (6..=8).contains(&digits) { Ok(Self(digits)) } else { Err(CodeSecretError::Digits) }
    }
}

impl From<Digits> for u8 {
    fn from(digits: Digits) -> u8 {
        digits.0
    }
}

/// How codes are made from a secret. The default is what every authenticator app understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parameters {
    /// The hash.
    pub algorithm: Algorithm,
    /// The length of a code.
    pub digits: Digits,
}

/// Why something is no secret for one-time codes. Never contains the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSecretError {
    /// Under 128 bits.
    TooShort,
    /// Not base32 (RFC 4648).
    NotBase32,
    /// Not 6, 7 or 8 digits.
    Digits,
}

impl fmt::Display for CodeSecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "a secret for one-time codes has at least 128 bits",
            Self::NotBase32 => "a secret for one-time codes is written in base32 (A-Z and 2-7)",
            Self::Digits => "a one-time code has 6, 7 or 8 digits",
        })
    }
}

impl std::error::Error for CodeSecretError {}

/// The secret that a person's authenticator app shares with the bastion.
///
/// It has no `Display`, its `Debug` is fixed text, it is wiped when dropped and compared in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeSecret(Secret);

impl CodeSecret {
    /// A new secret from 160 random bits, the length that RFC 4226 section 4 recommends.
    pub fn from_random(bytes: [u8; 20]) -> Self {
        Self(Secret::from(bytes))
    }

    /// A secret from its bytes, as the store unsealed them.
    ///
    /// # Errors
    /// [`CodeSecretError::TooShort`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodeSecretError> {
        if bytes.len() < SHORTEST_SECRET { Err(CodeSecretError::TooShort) } else { Ok(Self(Secret::from(bytes))) }
    }

    /// A secret from base32 as apps print it: either case, spaces and padding ignored.
    ///
    /// # Errors
    /// [`CodeSecretError::NotBase32`], [`CodeSecretError::TooShort`].
    pub fn from_base32(text: &str) -> Result<Self, CodeSecretError> {
        let text: Zeroizing<String> = Zeroizing::new(
            text.trim_end_matches('=')
                .chars()
                .filter(|c| !c.is_ascii_whitespace())
                .map(|c| c.to_ascii_uppercase())
                .collect(),
        );
        if !text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7')) {
            return Err(CodeSecretError::NotBase32);
        }
        let secret = Secret::try_from_base32(&*text).map_err(|_| CodeSecretError::NotBase32)?;
        if secret.as_bytes().len() < SHORTEST_SECRET { Err(CodeSecretError::TooShort) } else { Ok(Self(secret)) }
    }

    /// The secret in base32 without padding, as people type it into an app.
    pub fn expose_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_base32())
    }

    /// The secret bytes, to be sealed.
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn totp(&self, parameters: Parameters) -> Totp {
        Builder::new()
            .with_algorithm(match parameters.algorithm {
                Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
                Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
                Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
            })
            .with_digits(parameters.digits.0)
            .with_step_duration(PERIOD_SECONDS)
            .with_secret(self.0.clone())
            .build()
            .expect("the length of the secret and the digits were checked when their types were made")
    }
}

impl fmt::Debug for CodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeSecret(hidden)")
    }
}

/// What a one-time code is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CodeVerdict {
    /// It is right. It counts only once this step is on disk, and only if a later or the same step was not there before.
    Accept(Step),
    /// It was right once: a code of the last accepted step or of one before it.
    Used,
    /// It is no code of this secret at this time.
    Wrong,
}

/// Judges a one-time code: right at this time or one step around it, and newer than the last accepted step `after`.
///
/// Two steps of one secret may bear the same digits. The newest match is the one that is taken, so that all the steps
/// which this code matches are spent with it; and a code that equals the one of the last accepted step is always taken
/// for a replay. ASCII white space is ignored: people type `123 456`. Every step is computed and compared in constant
/// time, whatever the outcome.
pub fn verify(
    secret: &CodeSecret,
    parameters: Parameters,
    code: &str,
    now: Timestamp,
    after: Option<Step>,
) -> CodeVerdict {
    let code: Zeroizing<String> = Zeroizing::new(code.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    let totp = secret.totp(parameters);
    let matches = |step: Step| same(&digits_at(&totp, step), &code);
    let (mut newest, mut used) = (None, after.is_some_and(matches));
    let Step(current) = Step::at(now);
    for step in (current.saturating_sub(SKEW)..=current + SKEW).map(Step) {
        if matches(step) {
            if Some(step) <= after {
                used = true;
            } else {
                newest = Some(step);
            }
        }
    }
    match newest {
        _ if used => CodeVerdict::Used,
        Some(step) => CodeVerdict::Accept(step),
        None => CodeVerdict::Wrong,
    }
}

fn digits_at(totp: &Totp, step: Step) -> Zeroizing<String> {
    Zeroizing::new(totp.generate(step.0.saturating_mul(PERIOD_SECONDS)).to_string())
}

fn same(one: &str, other: &str) -> bool {
    subtle::ConstantTimeEq::ct_eq(one.as_bytes(), other.as_bytes()).into()
}

/// The URL that authenticator apps read, mostly from a QR code (Key URI format). It holds the secret.
///
/// The issuer is `wgmfa` and the bastion's name. Algorithm and digits stand in it only when they are not the default,
/// because some apps refuse what they do not know.
pub fn otpauth_url(secret: &CodeSecret, parameters: Parameters, bastion: &str, user: &UserName) -> Zeroizing<String> {
    // A colon separates issuer and account, even when it is encoded.
    let issuer = percent_encode(&format!("wgmfa {}", bastion.replace(':', "-")));
    let account = percent_encode(user.as_str());
    let secret = secret.expose_base32();
    // Reserved in one piece: a string that grows leaves its old copy behind.
    let mut url = Zeroizing::new(String::with_capacity(64 + 2 * issuer.len() + account.len() + secret.len()));
    for part in ["otpauth://totp/", &issuer, ":", &account, "?secret=", &secret, "&issuer=", &issuer] {
        url.push_str(part);
    }
    if parameters.algorithm != Algorithm::default() {
        url.push_str(&format!("&algorithm={}", parameters.algorithm.url_name()));
    }
    if parameters.digits != Digits::default() {
        url.push_str(&format!("&digits={}", parameters.digits.0));
    }
    url
}

/// Everything but the unreserved characters of RFC 3986 section 2.3 as `%XX`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
