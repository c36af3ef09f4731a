//! Policies: their files, and which one applies to a connection.
