//! By which interface a connection leaves this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_packet_utils::nla::DefaultNla;
use netlink_request::netlink_request_rtnl;
use nix::net::if_::if_indextoname;

/// `RTA_IP_PROTO` and `RTA_DPORT` of `linux/rtnetlink.h`: rules may ask for them.
const IP_PROTO: u16 = 27;
const DPORT: u16 = 29;

/// TCP, as IP numbers it.
const TCP: u8 = 6;

/// The interface by which a TCP connection to this address and port leaves, by the rules and routes that are in force now;
/// none: nowhere, since no route leads there or one prohibits it. Needs no rights. A route with several hops answers with
/// the one that the kernel would take.
///
/// # Errors
/// The kernel cannot be asked.
pub fn leaves_by(address: SocketAddr) -> io::Result<Option<String>> {
    let (family, length, to) = match address.ip() {
        IpAddr::V4(ip) => (AddressFamily::Inet, 32, RouteAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(ip)),
    };
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    question.header.destination_prefix_length = length;
    question.attributes = vec![
        RouteAttribute::Destination(to),
        RouteAttribute::Other(DefaultNla::new(IP_PROTO, vec![TCP])),
        RouteAttribute::Other(DefaultNla::new(DPORT, address.port().to_be_bytes().to_vec())),
    ];
    let asked = netlink_request_rtnl(RouteNetlinkMessage::GetRoute(question), Some(NLM_F_REQUEST | NLM_F_ACK));
    let answers = match asked {
        Ok(answers) => answers,
        Err(error) if leads_nowhere(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let index = answers.into_iter().find_map(|answer| match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
            route.attributes.into_iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(index),
                _ => None,
            })
        }
        _ => None,
    });
    let name = index.map(if_indextoname).transpose();
    Ok(name?.map(|name| name.to_string_lossy().into_owned()))
}

/// Unreachable, prohibited, a blackhole, or no such family here.
fn leads_nowhere(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let nowhere = [
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::EACCES,
        Errno::EINVAL,
        Errno::EAFNOSUPPORT,
        Errno::EOPNOTSUPP,
        Errno::EPROTONOSUPPORT,
    ];
    error.raw_os_error().is_some_and(|code| nowhere.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_this_machine_leaves_by_the_loopback() {
        assert_eq!(leaves_by("127.0.0.1:22".parse().unwrap()).unwrap().as_deref(), Some("lo"));
    }
}
