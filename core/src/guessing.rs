//! What failed logins cost the next one.
