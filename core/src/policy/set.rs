//! All policies together.

use std::collections::BTreeMap;

use crate::connection::InterfaceRef;
use crate::diagnostic::{Fault, Faults};
use crate::key::PublicKey;
use crate::policy::index::Index;
use crate::policy::{List, Ordinal, Policy, file};

/// The policies of one folder: at least one, no two of one ordinal, sorted by ordinal.
#[derive(Debug, Clone)]
pub struct PolicySet {
    policies: Vec<Policy>,
    pub(super) index: Index,
}

impl PolicySet {
    /// Parses the `*.toml` files of a policy folder, each its name (or path) and its text. All or nothing.
    ///
    /// # Errors
    /// Every fault of every file; no file at all is one.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Faults> {
        if files.is_empty() {
            return Err(Fault::of_file("policies", "there is no policy file, and nothing would be protected").into());
        }
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort();
        let mut faults = Vec::new();
        let mut policies = BTreeMap::new();
        let mut taken: BTreeMap<Ordinal, &str> = BTreeMap::new();
        for (name, text) in sorted {
            let ordinal = file::ordinal(name).unwrap_or_else(|fault| {
                faults.push(fault);
                Ordinal(0) // goes nowhere: the fault refuses the whole set
            });
            match file::parse(name, ordinal, text) {
                Ok(policy) => drop(policies.insert(ordinal, policy)),
                Err(found) => faults.extend(found.into_vec()),
            }
            if file::ordinal(name).is_ok()
                && let Some(first) = taken.insert(ordinal, name)
            {
                faults.push(Fault::of_file(name, format!("ordinal {ordinal} is already that of {first}")));
            }
        }
        if !faults.is_empty() {
            return Err(Faults::new(faults));
        }
        let policies: Vec<Policy> = policies.into_values().collect();
        let index = Index::new(&policies);
        Ok(Self { policies, index })
    }

    /// The policies, lowest ordinal first.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The policies that name an interface as a server side, by its name or its public key.
    pub fn serving(&self, name: &InterfaceRef, public_key: &PublicKey) -> impl Iterator<Item = &Policy> {
        let by_name = self.index.of_interface(name).into_iter();
        let named = by_name.chain(self.index.of_key(public_key).iter().copied());
        named.filter(|naming| naming.list == List::Server).map(|naming| &self.policies[naming.policy])
    }

    /// The policy with this ordinal.
    pub fn policy(&self, ordinal: Ordinal) -> Option<&Policy> {
        let at = self.policies.binary_search_by_key(&ordinal, |policy| policy.ordinal).ok()?;
        Some(&self.policies[at])
    }
}
