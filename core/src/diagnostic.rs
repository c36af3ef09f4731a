//! Faults in files, each with its place.
