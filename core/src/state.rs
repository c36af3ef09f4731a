//! Key states, computed in one place.
