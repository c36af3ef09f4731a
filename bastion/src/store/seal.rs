//! Sealing of secrets with a key that is not in the database.

use std::fmt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rand::Rng as _;
use sha2::Sha256;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_system::trusted::{self, Readers};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::StoreError;

/// Length of the sealing key in bytes (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha).
pub const KEY_BYTES: usize = 32;

/// Length of the nonce in front of each sealed record; long enough to be drawn at random for ever.
const NONCE_BYTES: usize = 24;

/// The key that seals preshared keys and one-time-code secrets. It shows itself to nobody and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; KEY_BYTES]);

/// Where a sealed record belongs. It is authenticated with the record, so that no record can stand in another's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding<'a> {
    /// The table.
    pub table: &'a str,
    /// The row.
    pub row: &'a str,
    /// The generation, or how often the secret was replaced.
    pub generation: u64,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(hidden)")
    }
}

impl SealingKey {
    /// A sealing key from its bytes.
    #[cfg(test)]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads the key file: exactly 32 bytes, readable by root (or by us, in a trial) alone.
    ///
    /// # Errors
    /// The file is missing, unsafe or has another length; with path, mode and what to do.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = trusted::read(path, Readers::Owner)?;
        let mut key = Self([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            let error =
                format!("{}: a sealing key has {KEY_BYTES} bytes, this file has {}", path.display(), bytes.len());
            return Err(
                Failure::new(Exit::Usage, error).hint("put the right file back, or restore a backup with its key")
            );
        }
        key.0.copy_from_slice(&bytes);
        Ok(key)
    }

    /// A new one.
    pub fn random() -> Self {
        let mut key = Self([0; KEY_BYTES]);
        rand::rng().fill_bytes(&mut key.0);
        key
    }

    /// The key for its file.
    pub(super) fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// By which name people tell it from others: the first 8 bytes of HMAC-SHA-256 with the key over
    /// `wgmfa-sealing-key-v1`, in hexadecimal. It tells nothing about the key.
    pub fn name(&self) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        mac.update(b"wgmfa-sealing-key-v1");
        mac.finalize().into_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Seals a secret for its place: nonce, then ciphertext and tag.
    pub(super) fn seal(&self, binding: Binding<'_>, secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: secret, aad: &binding.bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("secrets are short");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`StoreError::Broken`]: it was sealed for another place or with another key, or was changed.
    pub(super) fn unseal(&self, binding: Binding<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        sealed
            .split_first_chunk::<NONCE_BYTES>()
            .and_then(|(nonce, sealed)| {
                let payload = Payload { msg: sealed, aad: &binding.bytes() };
                self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()
            })
            .map(Zeroizing::new)
            .ok_or_else(|| {
                let Binding { table, row, generation } = binding;
                StoreError::Broken(format!("the sealed record of {table}, {row}, {generation} does not belong there"))
            })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

impl Binding<'_> {
    /// Table and row with their lengths in front, so that no two places have the same bytes.
    fn bytes(self) -> Vec<u8> {
        let mut bytes = b"wgmfa-seal-v1".to_vec();
        for part in [self.table, self.row] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Binding<'_> = Binding { table: "generations", row: "a/b:c", generation: 7 };

    #[test]
    fn a_sealed_secret_opens_only_in_its_place_with_its_key() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = key.seal(HERE, b"secret");
        assert_eq!(&**key.unseal(HERE, &sealed).unwrap(), b"secret");
        for elsewhere in [
            Binding { table: "people", ..HERE },
            Binding { row: "a/b:d", ..HERE },
            Binding { generation: 8, ..HERE },
            Binding { table: "generationsa", row: "/b:c", ..HERE },
        ] {
            assert!(key.unseal(elsewhere, &sealed).is_err(), "{elsewhere:?}");
        }
        assert!(SealingKey::from_bytes([2; 32]).unseal(HERE, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.unseal(HERE, &changed).is_err(), "byte {at}");
        }
        assert!(key.unseal(HERE, &sealed[..20]).is_err());
        assert_ne!(sealed, key.seal(HERE, b"secret"), "each time another nonce");
    }

    #[test]
    fn a_sealing_key_shows_itself_to_nobody() {
        assert_eq!(format!("{:?}", SealingKey::from_bytes([1; 32])), "SealingKey(hidden)");
    }
}
