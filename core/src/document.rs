//! TOML files read key by key, every fault kept with its place.
