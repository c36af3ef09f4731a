//! The second way to enforce: gateways whose firewall lets a peer through only while a grant is in force. Grants are
//! recorded here, and gates follow.

mod assign;
mod check;
mod open;
#[cfg(test)]
mod tests;

pub use assign::Gates;
pub use open::TierOffer;
