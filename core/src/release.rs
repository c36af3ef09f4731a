//! Whether a login may have the keys of a device, and which.
