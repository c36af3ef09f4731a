//! Passwords: argon2id (RFC 9106) as PHC strings. These functions take tens of milliseconds: run them off the event loop.

use std::fmt;
use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use wgmfa_core::key::SecretText;

/// Memory in KiB, passes and lanes: the first choice of the OWASP password storage cheat sheet for argon2id.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// An argon2id hash in PHC string form. Its `Debug` is fixed text.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub(super) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

/// Whether a password is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PasswordVerdict {
    /// It is.
    Right,
    /// It is not, or there is none to compare with.
    Wrong,
}

/// Hashes a password with a fresh salt.
pub fn hash_password(password: &SecretText) -> PasswordHash {
    let hash: phc::PasswordHash =
        argon2id().hash_password(password.expose().as_bytes()).expect("the salt is random and the cost is valid");
    PasswordHash(hash.to_string())
}

/// Compares a password with a hash. Without a hash (an unknown person) it takes as long, and the answer is `Wrong`.
pub fn verify_password(password: &SecretText, hash: Option<&PasswordHash>) -> PasswordVerdict {
    /// Nobody's hash, made with today's cost.
    static DUMMY: LazyLock<PasswordHash> = LazyLock::new(|| hash_password(&SecretText::new(String::new())));
    // made at the first call whoever asks, so that the first unknown person is not told by the time it takes
    let dummy = &*DUMMY;
    let right = phc::PasswordHash::new(&hash.unwrap_or(dummy).0)
        .is_ok_and(|parsed| argon2id().verify_password(password.expose().as_bytes(), &parsed).is_ok());
    if right && hash.is_some() { PasswordVerdict::Right } else { PasswordVerdict::Wrong }
}

fn argon2id() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("a valid cost");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    #[test]
    fn only_the_password_itself_is_right() {
        let hash = hash_password(&secret("correct horse"));
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert_ne!(hash, hash_password(&secret("correct horse")), "each hash has its own salt");
        assert_eq!(verify_password(&secret("correct horse"), Some(&hash)), PasswordVerdict::Right);
        for wrong in ["", "correct hors", "correct horse "] {
            assert_eq!(verify_password(&secret(wrong), Some(&hash)), PasswordVerdict::Wrong, "{wrong:?}");
        }
        assert_eq!(format!("{hash:?}"), "PasswordHash(hidden)");
    }

    #[test]
    fn nobody_has_a_right_password() {
        assert_eq!(verify_password(&secret(""), None), PasswordVerdict::Wrong);
        assert_eq!(verify_password(&secret(""), Some(&PasswordHash("garbage".into()))), PasswordVerdict::Wrong);
    }
}
