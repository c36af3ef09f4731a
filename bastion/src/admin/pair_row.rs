//! What is known about the key of two servers that rotate together, from which its state follows.

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::connection::Connection;
use wgmfa_core::name::HostName;
use wgmfa_core::policy::{Selection, Sides};
use wgmfa_core::release::Phase;
use wgmfa_core::state::{Facts, Handshake, Ordered, Reported};
use wgmfa_core::tandem::IN_FLIGHT;

use super::ends::reported;
use super::site::{Site, places};
use crate::store::{Generation, Record};

/// Puts right what is not so when two servers use a generation together.
pub fn put_right(facts: &mut Facts<'_>, site: &Site, connection: &Connection, record: Option<&Record>) {
    let both = matches!(facts.selection, Selection::Applies { sides: Sides::Both, .. });
    let Some(current) = record.and_then(|record| record.current.as_deref()).filter(|current| current.together) else {
        if both {
            facts.deadline = None; // what stands there is from another policy
        }
        return;
    };
    let ends = places(connection);
    let [first, second] = &ends[..] else { return };
    let says = |end: &crate::store::Place, confirmed| {
        let peer = site.peer(&end.server_side, &end.public_key);
        last_said(current, confirmed, site.last_report(&end.server_side.host), reported(peer))
    };
    let is_server = |end: &crate::store::Place| match facts.selection {
        Selection::Applies { sides, .. } => sides.server_side(connection) == Some(&end.server_side),
        _ => false,
    };
    let said = [says(first, current.applied_at), says(second, current.other_applied_at)];
    (facts.server, facts.other) = if is_server(second) { (said[1], said[0]) } else { (said[0], said[1]) };
    facts.locked &= current.phase == Phase::Expired;
    let since = current.applied_at.max(current.other_applied_at);
    let proof = since.and_then(|since| since.checked_add(SignedDuration::from_secs(IN_FLIGHT.cast_signed())).ok());
    let peers = ends.iter().filter_map(|end| site.peer(&end.server_side, &end.public_key));
    let latest_handshake = peers.filter_map(|peer| peer.latest_handshake).max();
    // both change in place: only the time tells which key a handshake was made with
    facts.applied_at = proof;
    facts.handshake = latest_handshake.filter(|_| proof.is_some()).map(|at| Handshake { at, with_this_key: true });
    if both && facts.ordered.is_none() && current.phase == Phase::Applied && current.other_applied_at.is_none() {
        facts.ordered = Some(Ordered::Other(unconfirmed(&second.server_side.host, current.generation)));
    }
}

fn unconfirmed(host: &HostName, generation: u64) -> String {
    format!("{host} has not confirmed generation {generation}")
}

/// A confirmation says what the interface shows; a later report says it anew.
fn last_said(
    current: &Generation,
    confirmed: Option<Timestamp>,
    last_report: Option<Timestamp>,
    reported: Reported,
) -> Reported {
    match confirmed {
        Some(confirmed) if current.phase == Phase::Applied && last_report.is_none_or(|at| at <= confirmed) => {
            Reported::Key(current.fingerprint)
        }
        _ => reported,
    }
}
