//! Elements of the sets: an interface with an address, or with the first and the last address of a network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use netlink_bindings::nftables::{IterableSetelemAttrs, OpDelsetelemDo, OpNewsetelemDo, PushSetelemListElemAttrs};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils;
use wgmfa_core::gate::{Addresses, ruleset};
use wgmfa_core::name::TierName;

use super::message;
use crate::gate::netlink::{ACK, Batch, CREATE, EXCLUSIVE};

/// Room for an interface's name in the kernel, with the zero after it.
const NAME: usize = 16;

/// Elements of one message: an attribute has at most 64 KiB.
const AT_ONCE: usize = 400;

/// NFTA_SET_ELEM_KEY_END and NFTA_DATA_VALUE of linux/netfilter/nf_tables.h. netlink-bindings 0.3.5 takes the number
/// before it, which is that of another attribute.
const KEY_END: u16 = 10;
const VALUE: u16 = 1;

/// What becomes of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// It is there for this time from now; none: it is not there.
    pub open: Option<Duration>,
    /// It is not there yet, as far as anybody knows.
    pub absent: bool,
}

/// Changes by set.
pub type Changes = HashMap<Set, HashMap<Key, Change>>;

/// A set of a tier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Set {
    tier: TierName,
    wide: bool,
    v6: bool,
}

impl Set {
    pub fn of(tier: &TierName, addresses: &Addresses) -> Self {
        let network = addresses.network;
        Self { tier: tier.clone(), wide: ruleset::is_wide(network), v6: network.addr().is_ipv6() }
    }

    pub fn name(&self) -> String {
        ruleset::tier_set(&self.tier, self.wide, self.v6)
    }
}

/// An element's key as the kernel has it: the interface's name with zeros after it, and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    first: Bytes,
    /// The last of a network.
    last: Option<Bytes>,
    length: usize,
}

type Bytes = [u8; NAME + 16];

impl Key {
    pub fn of(addresses: &Addresses) -> Result<Self, String> {
        let name = addresses.interface.as_str().as_bytes();
        if name.len() >= NAME {
            return Err(format!("{}: no interface can have so long a name", addresses.interface));
        }
        let bytes = |address: IpAddr| {
            let mut bytes = [0; NAME + 16];
            bytes[..name.len()].copy_from_slice(name);
            match address {
                IpAddr::V4(address) => bytes[NAME..NAME + 4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes[NAME..].copy_from_slice(&address.octets()),
            }
            bytes
        };
        let network = addresses.network;
        Ok(Self {
            first: bytes(network.network()),
            last: ruleset::is_wide(network).then(|| bytes(network.broadcast())),
            length: NAME + if network.addr().is_ipv4() { 4 } else { 16 },
        })
    }

    /// The key of a listed element.
    pub fn decode(element: &IterableSetelemAttrs<'_>) -> Option<Self> {
        let bytes = |value: &[u8]| {
            let mut bytes = [0; NAME + 16];
            bytes.get_mut(..value.len())?.copy_from_slice(value);
            Some(bytes)
        };
        let first = element.get_key().and_then(|key| key.get_value()).ok()?;
        let last = utils::find_attr(element.get_buf(), KEY_END).and_then(|nested| utils::find_attr(nested, VALUE));
        let last = match last {
            None => None,
            Some(last) => Some(bytes(last)?),
        };
        Some(Self { first: bytes(first)?, last, length: first.len() })
    }
}

/// One transaction of all these changes, by set.
///
/// Adding an element again does not prolong it before Linux 6.12, and deleting one that is not there fails as a whole: so
/// each is added, deleted, and added with its time. Nobody sees the steps between. Where it is `sure` what is absent, that
/// is just added, which takes a third of the time; it fails if it is there after all.
pub fn encode(batch: &mut Batch, changes: &Changes, sure: bool) {
    message::begin_transaction(batch);
    for (set, changes) in changes {
        let set = set.name();
        let (fresh, known): (Vec<_>, Vec<_>) = changes.iter().partition(|(_, change)| sure && change.absent);
        let clear: Vec<Element<'_>> = known.iter().map(|(key, _)| (*key, None)).collect();
        add(batch, &set, 0, &clear);
        for elements in clear.chunks(AT_ONCE) {
            let request = OpDelsetelemDo::encode_request(
                batch.begin(message::DELETE_ELEMENT, ACK),
                &message::header(message::INET),
            );
            push(request.push_table_bytes(b"wgmfa").push_set_bytes(set.as_bytes()).nested_elements(), elements);
        }
        for (flags, changes) in [(0, known), (EXCLUSIVE, fresh)] {
            let open = changes.into_iter().filter(|(_, change)| change.open.is_some());
            let open: Vec<Element<'_>> = open.map(|(key, change)| (key, change.open)).collect();
            add(batch, &set, flags, &open);
        }
    }
    message::end_transaction(batch);
}

type Element<'a> = (&'a Key, Option<Duration>);

fn add(batch: &mut Batch, set: &str, flags: u16, elements: &[Element<'_>]) {
    for elements in elements.chunks(AT_ONCE) {
        let bytes = batch.begin(message::NEW_ELEMENT, ACK | CREATE | flags);
        let request = OpNewsetelemDo::encode_request(bytes, &message::header(message::INET));
        push(request.push_table_bytes(b"wgmfa").push_set_bytes(set.as_bytes()).nested_elements(), elements);
    }
}

fn push<P: Pusher>(mut list: PushSetelemListElemAttrs<P>, elements: &[Element<'_>]) {
    for (key, left) in elements {
        let mut element = list.nested_elem().nested_key().push_value(&key.first[..key.length]).end_nested();
        if let Some(last) = &key.last {
            let last = &last[..key.length];
            let bytes = element.as_vec_mut();
            let begun = utils::push_nested_header(bytes, KEY_END);
            utils::push_header(bytes, VALUE, last.len() as u16);
            bytes.extend_from_slice(last);
            utils::finalize_nested_header(bytes, begun);
        }
        if let Some(left) = left {
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            element = element.push_timeout(millis.to_be());
        }
        list = element.end_nested();
    }
    list.end_nested();
}
