//! Numbers of nfnetlink messages, and the marks around a transaction.

use netlink_bindings::nftables::Nfgenmsg;

use crate::gate::netlink::Batch;

const SUBSYSTEM: u16 = 10;

pub const NEW_TABLE: u16 = SUBSYSTEM << 8;
pub const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
pub const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
pub const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
pub const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
pub const GET_SET: u16 = SUBSYSTEM << 8 | 10;
pub const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
pub const GET_ELEMENT: u16 = SUBSYSTEM << 8 | 13;
pub const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
pub const GET_GENERATION: u16 = SUBSYSTEM << 8 | 16;
pub const GET_FLOWTABLE: u16 = SUBSYSTEM << 8 | 23;

const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// The family `inet`, of IPv4 and IPv6 alike.
pub const INET: u8 = 1;

pub fn header(family: u8) -> Nfgenmsg {
    Nfgenmsg { nfgen_family: family, ..Nfgenmsg::default() }
}

pub fn begin_transaction(batch: &mut Batch) {
    mark(batch, BEGIN);
}

pub fn end_transaction(batch: &mut Batch) {
    mark(batch, END);
}

fn mark(batch: &mut Batch, kind: u16) {
    let header = Nfgenmsg { _res_id_be: SUBSYSTEM.to_be(), ..Nfgenmsg::default() };
    batch.begin(kind, 0).extend_from_slice(header.as_slice());
}
