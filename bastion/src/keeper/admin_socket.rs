//! Administrators' commands on `admin.sock`: the words come in, what to print goes back.

use std::rc::Rc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::net::UnixStream;
use tokio::time::timeout;
use wgmfa_core::message::admin::AdminRequest;
use wgmfa_core::message::{LINE_FROM_AGENT, VERSION};

use super::caller::By;
use super::wire::Wire;
use super::{Keeper, orders};

/// Serves one command.
///
/// # Errors
/// What the other side did wrong, for the log.
pub async fn serve(keeper: Rc<Keeper>, stream: UnixStream) -> Result<(), String> {
    let mut wire = Wire::new(stream, LINE_FROM_AGENT);
    let peer = wire.peer().map_err(|error| error.to_string())?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Err(format!("user {} may not ask here", peer.uid()));
    }
    if peer.pid().is_some_and(|pid| keeper.logins.borrow().contains_key(&pid)) {
        return Err("a PAM worker may not ask here".to_owned());
    }
    let request = timeout(Duration::from_secs(5), wire.receive::<AdminRequest>()).await;
    let request = match request.map_err(|_| "nothing was asked".to_owned())?.map_err(|error| error.to_string())? {
        Some(request) if request.version == VERSION => request,
        Some(_) => return Err("a request of another version".to_owned()),
        None => return Ok(()),
    };
    // one that leaves before the answer is no fault
    let _ = orders::carry_out(&keeper, &request, &By::root(), &mut wire).await;
    Ok(())
}
