//! `serve`: the keeper's start, its event loop, and its end.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::front::{Limits, ToFront};
use zeroize::Zeroizing;

use super::{
    Keeper, Policies, admin_socket, children, host_keys, metrics, module, only_one, people, requests, say, sockets,
};
use crate::config::{Config, FirstFactor, MetricsAt};
use crate::store::{Event, Note, Store};
use crate::{check, confine, credential, host_key, policies};

/// How often the keeper looks for deadlines that have passed.
const EXPIRE_EVERY: Duration = Duration::from_millis(500);

/// Within this time the keeper sees a signal that ended the front.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// Serves until it is told to stop.
///
/// # Errors
/// The configuration, the policies, the PAM service or the store is not fit to serve, or an address is in use.
pub fn serve(config: Config) -> Result<(), Failure> {
    confine::keep_to_oneself();
    confine::give_memory_back();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the event loop: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, run(config))
}

async fn run(config: Config) -> Result<(), Failure> {
    // before anything that is to be left tidy
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hangup = signals(SignalKind::hangup())?;
    let set = policies::load(&config.policy_dir)?;
    check::pam::require_service(&config)?;
    let (host_keys, announced) = (host_keys::private(&config)?, host_key::announced(&config)?);
    let _only = only_one(&config.state_dir)?;
    let store = Store::open_with(&config.state_dir, &credential::or_file(&config))?;
    store.remove_unfinished_backups();
    sockets::folder(&config.run_dir)?;
    let (module_socket, admin_socket) =
        (sockets::unix(&config.keeper_socket())?, sockets::unix(&config.admin_socket())?);
    let people_socket = sockets::people(&config)?;
    let metrics_listener = config.metrics.as_ref().map(sockets::metrics).transpose()?;
    let (listeners, admits) = sockets::listeners(&config)?;
    let (front, mut front_process) = children::start_front(listeners, &config.front_user)?;
    let (from_front, mut to_front) = front.into_split();
    let (sender, mut outgoing) = mpsc::unbounded_channel::<Zeroizing<Vec<u8>>>();
    tokio::task::spawn_local(async move {
        while let Some(line) = outgoing.recv().await {
            if to_front.write_all(&line).await.is_err() {
                return;
            }
        }
    });
    let now = store.now(Timestamp::now());
    let keeper = Rc::new(Keeper::new(config, store, Policies { set, since: now }, sender));
    keeper.host_keys.announce(announced);
    keeper.store.note(now, Note::new(Event::Started))?;
    keeper.note_policies()?;
    keeper.say_head();
    keeper.end_sessions_of_another_time()?;
    keeper.look_over_everything();
    let keys = keeper.config.first_factor != FirstFactor::Password;
    keeper.to_front(&ToFront::Start { host_keys, listeners: admits, limits: Limits::default(), keys });
    for address in keeper.config.listen.iter().chain(&keeper.config.agent_listen) {
        say(&format!("listening on {address}"));
    }
    let mut deadlines = tokio::time::interval(EXPIRE_EVERY);
    tokio::task::spawn_local(sockets::accept(keeper.clone(), module_socket, module::serve));
    tokio::task::spawn_local(sockets::accept(keeper.clone(), admin_socket, admin_socket::serve));
    if let Some(socket) = people_socket {
        tokio::task::spawn_local(sockets::accept(keeper.clone(), socket, people::serve));
    }
    if let Some(listener) = metrics_listener {
        tokio::task::spawn_local(metrics::http::serve(keeper.clone(), listener));
    }
    let mut front_requests = tokio::task::spawn_local(requests::take(keeper.clone(), from_front));
    let mut told_to_end = pin!(async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    });
    // without a service manager there is nobody to tell
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let front_ended = loop {
        tokio::select! {
            () = &mut told_to_end => break None,
            _ = hangup.recv() => keeper.reload(),
            _ = deadlines.tick() => {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                keeper.expire();
                keeper.watch_clock();
                keeper.say_head_if_due();
                keeper.note_states();
            }
            _ = &mut front_requests => break Some("its last words stand above".to_owned()),
            status = front_process.wait() => {
                break Some(status.map_or_else(|error| error.to_string(), |status| status.to_string()));
            }
        }
    };
    // a signal to a whole unit or terminal ends the front too, and that may be seen first
    if let Some(how) = front_ended
        && tokio::time::timeout(SAME_SIGNAL, told_to_end).await.is_err()
    {
        return Err(Failure::new(Exit::Failed, "the front has ended").hint(how));
    }
    keeper.store.note(keeper.now(), Note::new(Event::Stopped))?;
    keeper.say_head();
    // the front holds the listening sockets: whoever starts a bastion next finds the addresses free
    let _ = front_process.kill().await;
    let metrics_socket = match &keeper.config.metrics {
        Some(MetricsAt::Unix(path)) => Some(path.clone()),
        _ => None,
    };
    let sockets = [keeper.config.keeper_socket(), keeper.config.admin_socket(), keeper.config.people_socket()];
    for socket in sockets.into_iter().chain(metrics_socket) {
        // a socket that is left behind is replaced at the next start
        let _ = std::fs::remove_file(socket);
    }
    Ok(())
}

fn signals(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Exit::Failed, format!("cannot wait for signals: {error}")))
}
