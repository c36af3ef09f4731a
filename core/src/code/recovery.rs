//! Recovery codes: 80 random bits on paper, each good for one login in place of a one-time code. Invitations, and codes
//! that are read out on the telephone, look the same.

use std::fmt;

use sha2::{Digest, Sha256};
use totp_rs::Secret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::name::UserName;

/// 80 bits are 16 characters of base32.
const CHARACTERS: usize = 16;

/// A recovery code. It has no `Display`, its `Debug` is fixed text, and it is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode([u8; 10]);

/// The text is no recovery code. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryCodeError;

impl fmt::Display for RecoveryCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recovery code is four groups of four letters and digits")
    }
}

impl std::error::Error for RecoveryCodeError {}

impl RecoveryCode {
    /// A new code from 80 random bits.
    pub fn from_random(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    /// Reads a code as people type it: either case, with or without hyphens and spaces; `0`, `1` and `8`, which the
    /// alphabet leaves out, are taken for the `o`, `l` and `b` that they look like.
    ///
    /// # Errors
    /// [`RecoveryCodeError`].
    pub fn parse(text: &str) -> Result<Self, RecoveryCodeError> {
        let text = normalise(text).ok_or(RecoveryCodeError)?;
        let secret = Secret::try_from_base32(&*text).map_err(|_| RecoveryCodeError)?;
        let mut bytes = [0; 10];
        bytes.copy_from_slice(secret.as_bytes());
        Ok(Self(bytes))
    }

    /// The code as it is shown once: `xxxx-xxxx-xxxx-xxxx`, base32 (RFC 4648) in lower case.
    pub fn expose_text(&self) -> Zeroizing<String> {
        let mut base32 = Zeroizing::new(Secret::from(self.0).to_base32());
        base32.make_ascii_lowercase();
        let groups = [&base32[..4], &base32[4..8], &base32[8..12], &base32[12..]];
        Zeroizing::new(groups.join("-"))
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(hidden)")
    }
}

/// 16 characters of the base32 alphabet in upper case, or nothing.
fn normalise(text: &str) -> Option<Zeroizing<String>> {
    let mut code = Zeroizing::new(String::with_capacity(CHARACTERS));
    for c in text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '-') {
        let c = match c.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'L',
            '8' => 'B',
            c @ ('A'..='Z' | '2'..='7') => c,
            _ => return None,
        };
        if code.len() == CHARACTERS {
            return None;
        }
        code.push(c);
    }
    (code.len() == CHARACTERS).then_some(code)
}

/// Whether an answer to `One-time code: ` was meant as a recovery code. Says nothing about whether it is a good one.
pub fn looks_like_recovery(text: &str) -> bool {
    normalise(text).is_some()
}

/// What such a code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One login in place of a one-time code; on paper.
    Recovery,
    /// Setting one's own password and code secret, once.
    Invitation,
    /// One login in place of a one-time code; read out on the telephone. It is as long as a recovery code so that it is
    /// let through as one when a hundred failures in a day keep all shorter codes out: that may be why the person rings.
    Telephone,
}

/// What the store keeps of a recovery code: SHA-256 over a domain, the user's name and the code. A slow hash would
/// protect nothing here, 80 random bits cannot be searched.
pub fn recovery_hash(user: &UserName, code: &RecoveryCode) -> [u8; 32] {
    hash_for(Purpose::Recovery, user, code)
}

/// The same for any purpose: a code for one is none for another.
pub fn hash_for(purpose: Purpose, user: &UserName, code: &RecoveryCode) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(match purpose {
        Purpose::Recovery => b"wgmfa-recovery-code-v1\0".as_slice(),
        Purpose::Invitation => b"wgmfa-invitation-v1\0",
        Purpose::Telephone => b"wgmfa-telephone-code-v1\0",
    });
    hash.update(user.as_str().as_bytes());
    hash.update(b"\0");
    hash.update(code.0);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_reads_back_as_people_type_it() {
        let code = RecoveryCode::from_random(*b"\x00\x44\x32\x14\xc7\x42\x54\xb6\x35\xcf");
        let text = code.expose_text();
        assert_eq!(*text, "abcd-efgh-ijkl-mnop");
        for typed in ["abcd-efgh-ijkl-mnop", "ABCDEFGHIJKLMNOP", " abcd efgh ijk1 mn0p\n", "a8cd-efgh-ijkl-mnop"] {
            assert!(looks_like_recovery(typed), "{typed:?}");
            assert_eq!(RecoveryCode::parse(typed).unwrap().0, code.0, "{typed:?}");
        }
    }

    #[test]
    fn what_is_no_recovery_code_is_refused() {
        for typed in [
            "",
            "123456",
            "12345678",
            "abcd-efgh-ijkl-mno",
            "abcd-efgh-ijkl-mnopq",
            "abcd-efgh-ijkl-mn9p",
            "äbcdefghijklmnop",
        ] {
            assert!(!looks_like_recovery(typed), "{typed:?}");
            assert!(RecoveryCode::parse(typed).is_err(), "{typed:?}");
        }
        assert_eq!(format!("{:?}", RecoveryCode::from_random([7; 10])), "RecoveryCode(hidden)");
    }

    #[test]
    fn the_stored_hash_binds_the_code_to_its_person() {
        let (ada, bob): (UserName, UserName) = ("ada".parse().unwrap(), "bob".parse().unwrap());
        let code = RecoveryCode::from_random([7; 10]);
        assert_eq!(recovery_hash(&ada, &code), recovery_hash(&ada, &code.clone()));
        assert_ne!(recovery_hash(&ada, &code), recovery_hash(&bob, &code));
        assert_ne!(recovery_hash(&ada, &code), recovery_hash(&ada, &RecoveryCode::from_random([8; 10])));
        let hashes = [Purpose::Recovery, Purpose::Invitation, Purpose::Telephone].map(|p| hash_for(p, &ada, &code));
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[2] != hashes[0]);
    }
}
