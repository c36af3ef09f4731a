//! One-time codes (RFC 6238).
