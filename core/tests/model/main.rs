//! Model tests: a small world of hosts, a bastion, people and a bad network, in which anything happens in any order.
//!
//! What is decided is decided by core itself; the edges around it are modelled after the programs. After every step the
//! rules of the design are held ([`ledger`]); after a quiet time everything must be as the policies say.

mod act;
mod bastion;
mod client;
mod day;
mod host;
mod key;
mod ledger;
mod login;
mod network;
mod quiet;
mod site;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use act::{act, run, site};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5000,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_rules_hold_and_quiet_heals(acts in prop::collection::vec(act(), 1..120)) {
        run(&site(), &acts).map_err(TestCaseError::fail)?;
    }
}
