//! Preshared keys, with what nobody in the world can see: what each is.

use wgmfa_core::key::{Fingerprint, PresharedKey, PublicKey};

/// What a preshared key is, which nobody in the world can see from its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody has it.
    Lock,
    /// A generation.
    Generation(u64),
    /// Root or a file put it there.
    Foreign,
}

/// A preshared key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub fingerprint: Fingerprint,
    pub kind: Kind,
}

/// Where keys come from: no two are equal.
#[derive(Debug, Default)]
pub struct Keys(u64);

impl Keys {
    pub fn fresh(&mut self, kind: Kind) -> Key {
        self.0 += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        let [one, other] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        Key { fingerprint: PresharedKey::from_bytes(bytes).unwrap().fingerprint(&one, &other), kind }
    }
}
