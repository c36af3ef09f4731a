//! The front's requests, each taken to its conversation.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use wgmfa_core::message::front::{FromFront, Limits, ToFront};
use wgmfa_core::message::{LINE_OF_FRONT, Lines, decode};
use zeroize::Zeroizing;

use super::conversation::{self, Outlet};
use super::{Keeper, people, say};

/// Takes requests until the front has hung up, or said something that is none.
pub async fn take(keeper: Rc<Keeper>, mut front: OwnedReadHalf) {
    let mut lines = Lines::new(LINE_OF_FRONT);
    let mut inboxes: HashMap<u64, Outlet> = HashMap::new();
    let mut chunk = Zeroizing::new(vec![0; 64 * 1024]);
    loop {
        match front.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => lines.push(&chunk[..count]),
        }
        loop {
            let request = match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => decode::<FromFront>(&Zeroizing::new(line)),
                Err(error) => Err(error),
            };
            match request {
                Ok(request) if request.conversation() >= people::FIRST => {
                    say("the front: a number that is not its own");
                    return;
                }
                Ok(request) => dispatch(&keeper, &mut inboxes, request),
                Err(error) => {
                    say(&format!("the front: {error}"));
                    return;
                }
            }
        }
    }
}

fn dispatch(keeper: &Rc<Keeper>, inboxes: &mut HashMap<u64, Outlet>, request: FromFront) {
    let id = request.conversation();
    if let FromFront::Gone { .. } = request {
        inboxes.remove(&id);
        return;
    }
    inboxes.retain(|_, inbox| !inbox.is_closed());
    let source = match &request {
        FromFront::Login { source, .. } | FromFront::HostKey { source, .. } | FromFront::PersonKey { source, .. } => {
            Some(*source)
        }
        _ => None,
    };
    let inbox = match (inboxes.get(&id), source) {
        (Some(inbox), _) => inbox,
        (None, Some(_)) if inboxes.len() >= Limits::default().connections => {
            let reason = "too many connections".to_owned();
            return keeper.to_front(&ToFront::End { conversation: id, reason });
        }
        (None, Some(source)) => {
            let (inbox, requests) = conversation::inbox();
            tokio::task::spawn_local(conversation::serve(keeper.clone(), id, source, requests));
            inboxes.entry(id).or_insert(inbox)
        }
        // the conversation was ended here, and the front has not heard of it yet
        (None, None) => return,
    };
    if !inbox.put(request) {
        inboxes.remove(&id);
        keeper.to_front(&ToFront::End { conversation: id, reason: "too many requests at once".to_owned() });
    }
}
