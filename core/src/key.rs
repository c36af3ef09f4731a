//! WireGuard keys: public keys, preshared keys, and the fingerprint by which two ends compare a preshared key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why a text is not a key. Never contains the text itself: a mistyped key may be a secret one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 44 characters of base64 that decode to 32 bytes, as wg prints them")
    }
}

impl std::error::Error for KeyError {}

/// 44 characters, the last one `=`, canonical: the unused bits are zero.
fn decode(text: &str) -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 33];
    if text.len() != 44 {
        return Err(KeyError);
    }
    match STANDARD.decode_slice(text, &mut bytes) {
        Ok(32) => {
            let mut key = [0; 32];
            key.copy_from_slice(&bytes[..32]);
            bytes.zeroize();
            Ok(key)
        }
        _ => Err(KeyError),
    }
}

/// A WireGuard public key (Curve25519, RFC 7748).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A public key from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn text<'t>(&self, room: &'t mut [u8; 44]) -> &'t str {
        let length = STANDARD.encode_slice(self.0, room).expect("32 bytes are 44 characters");
        std::str::from_utf8(&room[..length]).expect("base64 is ASCII")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut [0; 44]))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; 44]))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// A WireGuard preshared key: 32 secret bytes.
///
/// It has no `Display`, its `Debug` is fixed text, it is wiped when dropped and compared in constant time. It leaves
/// only through [`PresharedKey::expose_base64`], [`PresharedKey::expose_bytes`] and, for messages, [`exposed`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    /// A preshared key from 32 random bytes. All zero is refused: WireGuard takes it for "no preshared key".
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let key = Self(bytes);
        if bool::from(key.0.ct_eq(&[0; 32])) { Err(KeyError) } else { Ok(key) }
    }

    /// The secret in base64, as `wg set … preshared-key` reads it.
    pub fn expose_base64(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(STANDARD.encode(self.0))
    }

    /// The secret bytes.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What both ends may show of this key to prove that they hold the same one: the first 16 bytes of HMAC-SHA-256
    /// (RFC 2104) with the preshared key as the key over `wgmfa-fingerprint-v1` and the two public keys, sorted.
    pub fn fingerprint(&self, one: &PublicKey, other: &PublicKey) -> Fingerprint {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(b"wgmfa-fingerprint-v1");
        mac.update(low.as_bytes());
        mac.update(high.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Fingerprint(first)
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(decode(text)?)
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PresharedKey {}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(hidden)")
    }
}

/// For `#[serde(with = "exposed")]` on the few message fields that carry a preshared key.
pub mod exposed {
    use super::PresharedKey;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the secret in base64.
    pub fn serialize<S: Serializer>(key: &PresharedKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&key.expose_base64())
    }

    /// Reads the secret from base64; the error does not repeat it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PresharedKey, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Stands for a preshared key where the key itself must not be shown: 16 bytes, printed in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// A fingerprint from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn text<'t>(&self, room: &'t mut [u8; 32]) -> &'t str {
        let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
        for (pair, byte) in room.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        std::str::from_utf8(room).expect("digits are ASCII")
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 16];
        if text.len() != 32 {
            return Err(KeyError);
        }
        let digit = |character: u8| match character {
            b'0'..=b'9' => Ok(character - b'0'),
            b'a'..=b'f' => Ok(character - b'a' + 10),
            b'A'..=b'F' => Ok(character - b'A' + 10),
            _ => Err(KeyError),
        };
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut [0; 32]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; 32]))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// A password, a one-time code, an answer at a prompt: text that nobody may print.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(hidden)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_44_characters_of_canonical_base64() {
        let text = "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA=";
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
        for bad in ["", "0KL4", &text[..43], "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYB=", &format!("{text} ")] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
        }
        assert!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse::<PresharedKey>().is_err());
    }

    #[test]
    fn a_preshared_key_shows_itself_to_nobody() {
        let key = PresharedKey::from_bytes([7; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "PresharedKey(hidden)");
        assert_eq!(format!("{:?}", SecretText::new("hunter2".into())), "SecretText(hidden)");
    }

    #[test]
    fn a_fingerprint_is_the_same_from_both_ends_and_differs_between_keys() {
        let key = PresharedKey::from_bytes([7; 32]).unwrap();
        let (a, b) = (PublicKey::from_bytes([1; 32]), PublicKey::from_bytes([2; 32]));
        let fingerprint = key.fingerprint(&a, &b);
        assert_eq!(fingerprint, key.fingerprint(&b, &a));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string().to_uppercase().parse(), Ok(fingerprint));
        for bad in ["", "0", &"+f".repeat(16), &"0g".repeat(16), &"\u{e4}".repeat(16)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(KeyError), "{bad}");
        }
        assert_ne!(fingerprint, PresharedKey::from_bytes([8; 32]).unwrap().fingerprint(&a, &b));
        // computed with: printf 'wgmfa-fingerprint-v1' + 32 bytes 01 + 32 bytes 02 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…
        assert_eq!(fingerprint.to_string(), FINGERPRINT_BY_OPENSSL);
    }

    const FINGERPRINT_BY_OPENSSL: &str = "59b802c1460273380cdbfbefec5ae914";
}
