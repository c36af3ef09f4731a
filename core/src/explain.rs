//! For each connection: which policy wins and why, which side rotates, what is next.
