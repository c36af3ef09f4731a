//! An administrator's command: run on the store, then carried out on the agents, then answered.

use std::rc::Rc;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wgmfa_core::exit::Failure;
use wgmfa_core::message::admin::AdminRequest;
use wgmfa_core::name::HostName;

use super::agent::{Ask, locked_within};
use super::caller::{By, Caller, Gone};
use super::{Keeper, Policies};
use crate::admin::{self, Agents, Context, Order, Outcome};
use crate::store::Place;

/// Runs a command and answers it.
///
/// # Errors
/// The caller is gone.
pub async fn carry_out(
    keeper: &Rc<Keeper>,
    request: &AdminRequest,
    by: &By,
    caller: &mut impl Caller,
) -> Result<(), Gone> {
    let mut outcome = keeper.with_admin(by, |context| admin::run(request, context));
    if let Some(show) = outcome.show.take() {
        outcome.reply = keeper.show(&show, by).await;
    }
    if let Some(act) = outcome.by_hand.take() {
        outcome.reply = keeper.put_by_hand(&act, by).await;
    }
    if let Some(set) = outcome.policies.take() {
        keeper.put_in_force(set);
    }
    // who cuts themself off hears the answer first
    let is_own = |order: &Order| matches!(order, Order::HangUpUser(user) if user.as_str() == by.name);
    let (own, orders) = std::mem::take(&mut outcome.orders).into_iter().partition(is_own);
    let unconfirmed = give(keeper, orders).await;
    if !unconfirmed.is_empty() {
        keeper.with_admin(by, |context| admin::name_unconfirmed(&mut outcome.reply, &unconfirmed, context));
    }
    let told = tell(keeper, outcome, by, caller).await;
    give(keeper, own).await;
    told
}

/// Hands on the reply, and what comes after it until the caller goes.
///
/// # Errors
/// The caller is gone.
pub async fn tell(keeper: &Rc<Keeper>, outcome: Outcome, by: &By, caller: &mut impl Caller) -> Result<(), Gone> {
    caller.hear(outcome.reply).await?;
    let Some(mut stream) = outcome.stream else { return Ok(()) };
    caller.stay();
    loop {
        caller.wait(stream.every()).await?;
        tokio::task::yield_now().await; // the others' turn, also when there was nothing to wait for
        let more = keeper.with_admin(by, |context| stream.next(context));
        let ended = more.exit.is_some();
        if ended || !more.stdout.expose().is_empty() {
            caller.hear(more).await?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Carries out orders; answers with the locks, and the gates to be closed, that were not confirmed in time. A host is told
/// to do a round, or hung up on, when it has had the time to confirm them.
async fn give(keeper: &Rc<Keeper>, orders: Vec<Order>) -> Vec<Order> {
    let (mut locks, mut rounds, mut cut_off) = (tokio::task::JoinSet::new(), Vec::new(), Vec::new());
    for order in orders {
        match order {
            Order::Round { host, reason } => rounds.push((host, reason)),
            Order::HangUpHost(host) => cut_off.push(host),
            Order::HangUpUser(user) => keeper.hang_up_user(&user),
            Order::Lock { .. } | Order::Revoke { .. } => {
                let keeper = keeper.clone();
                locks.spawn_local(async move { (!keeper.closes(&order).await).then_some(order) });
            }
        }
    }
    let unconfirmed = locks.join_all().await.into_iter().flatten().collect();
    for (host, reason) in rounds {
        keeper.order_round(&host, &reason);
    }
    cut_off.iter().for_each(|host| keeper.hang_up_host(host));
    unconfirmed
}

/// What commands may know of the agents.
struct Connected<'a>(&'a Keeper);

impl Agents for Connected<'_> {
    fn connected(&self, host: &HostName) -> bool {
        self.0.links.borrow().contains_key(host)
    }

    fn resident(&self, host: &HostName) -> bool {
        self.0.has_resident(host)
    }

    fn last_seen(&self, host: &HostName) -> Option<Timestamp> {
        let heard = self.0.heard.borrow().get(host).copied();
        heard.or_else(|| self.0.store.host(host).ok().flatten()?.last_seen)
    }

    fn knows_host_key(&self, host: &HostName, key: &str) -> bool {
        self.0.host_keys.is_known(host, key)
    }

    fn version(&self, host: &HostName) -> Option<String> {
        self.0.host_keys.version(host)
    }

    fn take_host_keys(&self) -> Result<(), Failure> {
        self.0.take_host_keys()
    }

    fn end_logins(&self) -> usize {
        let logins = self.0.logins.borrow();
        for pid in logins.keys() {
            // one that has ended already is not waited for by anybody else
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        logins.len()
    }
}

impl Keeper {
    /// Whether the agent of a host is connected and stays.
    pub(super) fn has_resident(&self, host: &HostName) -> bool {
        self.links.borrow().get(host).is_some_and(|link| link.resident)
    }

    /// Has a peer locked, or a gate closed to it; whether that was confirmed in time.
    async fn closes(&self, order: &Order) -> bool {
        let done = match order {
            Order::Lock { host, peer, reason } => {
                let (place, peer, reason) = (Place::new(host, peer), peer.clone(), reason.clone());
                let done = self.ask(host, locked_within(), |answer| Ask::Lock(peer, reason, answer)).await;
                if matches!(done, Some(Ok(())))
                    && let Err(error) = self.store.locked_again(self.now(), &[place])
                {
                    super::say(&error.to_string());
                }
                done
            }
            Order::Revoke { host, peer, reason } => {
                let (peer, reason) = (peer.clone(), reason.clone());
                self.ask(host, locked_within(), |answer| Ask::Revoke(peer, reason, answer)).await
            }
            Order::Round { .. } | Order::HangUpHost(_) | Order::HangUpUser(_) => return true,
        };
        matches!(done, Some(Ok(())))
    }

    /// Lets an administrator's command look at the keeper and change its store.
    pub(super) fn with_admin<T>(&self, by: &By, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let now = self.now();
        let policies = self.policies.borrow().clone();
        let mut context = Context {
            store: &self.store,
            policies: &policies.set,
            policies_since: policies.since,
            config: &self.config,
            now,
            system: Timestamp::now(),
            zone: self.zone.clone(),
            agents: &Connected(self),
            actor: by.name.clone(),
            from: by.from,
        };
        act(&mut context)
    }

    /// Puts a set of policies in force, and tells every agent to ask what it means for its peers.
    pub(super) fn put_in_force(&self, set: wgmfa_core::policy::PolicySet) {
        *self.policies.borrow_mut() = Rc::new(Policies { set, since: self.now() });
        self.look_over_everything();
        let hosts: Vec<HostName> = self.links.borrow().keys().cloned().collect();
        for host in hosts {
            self.order_round(&host, "the policies have changed");
        }
    }
}
