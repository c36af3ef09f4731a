//! Command lines that came over SSH, cut into words.
