//! Flowtables: packets of a flow that the kernel has taken into one pass by every filter and every routing rule.

use netlink_bindings::nftables::{Nfgenmsg, OpGetflowtableDump};

use super::netlink::Socket;
use super::nftables::message;

/// The first flowtable of this namespace, of whatever interfaces: a flow needs only one of its two in it.
pub fn find(socket: &mut Socket) -> Option<String> {
    let listed = socket.dump(message::GET_FLOWTABLE, |bytes| {
        OpGetflowtableDump::encode_request(bytes, &Nfgenmsg::default());
    });
    // a kernel without nftables has no flowtables
    let found = listed.ok()?.into_iter().next()?;
    let (_, attributes) = OpGetflowtableDump::decode_request(&found);
    let name = |name: Option<&std::ffi::CStr>| name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (table, flowtable) = (name(attributes.get_table().ok()), name(attributes.get_name().ok()));
    Some(format!(
        "the flowtable {flowtable} of nftables table {table} lets packets pass by the gate, also after a deadline: take the \
         flowtable and its 'flow add' rules out of the site's ruleset"
    ))
}
