//! The edge that reads a WireGuard interface and changes a peer that is already there, for kernel and userspace
//! WireGuard, and the configuration files of `wg-quick(8)`.
//!
//! It also tells by which interface a connection leaves. It can do nothing else: it creates no peer and no interface, starts
//! no daemon, and never gives away a private key.
//! Every call acts in the calling thread's network namespace, blocks for a few milliseconds, and needs CAP_NET_ADMIN
//! (kernel) or the right to open `/var/run/wireguard/NAME.sock` (userspace).

mod change;
pub mod conf;
mod crash;
mod error;
mod interface;
mod kernel;
mod route;
mod steps;
mod userspace;

pub use change::{Change, EndpointRule, begin_handshakes, readd, set_preshared_key};
pub use error::Error;
pub use interface::{AllowedIp, Interface, Interfaces, Peer, Skipped, interfaces, is_same_handshake, read};
pub use route::leaves_by;
