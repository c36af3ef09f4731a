//! The resident agent: connected as long as it can be, enforcing whether it is or not.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::agent::ToAgent;

use crate::agent::{Agent, NOT_REACHED, Outcome};
use crate::clock::{self, Timer};
use crate::codes::{self, Call, Codes, Question};
use crate::conversation::Conversation;
use crate::orders::{Answer, Asked, Listener, Order};
use crate::speech;
use crate::store::Store;
use crate::voice;

/// How often the interfaces are looked at: WireGuard tells nobody that something changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first and the longest pause before another attempt to connect.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A connection that lived this long, in seconds, was a good one: after it the pauses are short again.
const GOOD_AFTER: u64 = 60;

/// How often contact is saved, in seconds. What is saved may be older than the truth: then keys are locked sooner.
const SAVE_EVERY: u64 = 30;

/// The way to the bastion.
enum Link {
    Down { until: Instant },
    Dialling { attempt: JoinHandle<Result<Conversation, Failure>> },
    Up { conversation: Conversation, since: Boottime },
}

/// What happened on it.
enum Event {
    Retry,
    Dialled(Result<Conversation, Failure>),
    Heard(Result<(ToAgent, Option<Boottime>), Failure>),
}

struct Resident {
    agent: Agent,
    link: Link,
    pause: Duration,
    saved: Boottime,
    /// Rounds that were ordered: those that wait for one to begin, and those that wait for its end.
    ordered: Vec<Ordered>,
    running: Vec<Ordered>,
    /// Root's order to stand down, carried out and not answered.
    farewell: Option<(Answer, oneshot::Sender<Answer>)>,
    round_is_dry: bool,
    codes: Codes,
    /// Who waits for the bastion's word about a code, by the number of the question.
    callers: BTreeMap<u64, oneshot::Sender<codes::Answer>>,
    /// Becomes readable when somebody changes the firewall.
    gate: Option<AsyncFd<Watched>>,
}

/// A round that somebody waits for.
struct Ordered {
    dry_run: bool,
    says_all: bool,
    answer: oneshot::Sender<Answer>,
}

struct Watched(OwnedFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Stays until SIGTERM (the keys stay as they are, their deadlines are remembered) or until root has it stand down.
///
/// # Errors
/// The event loop, the timer or the socket cannot be made.
pub async fn run(agent: Agent, store: &Store) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error.to_string().to_lowercase());
    let timer = Timer::new().map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (give, mut orders) = mpsc::channel(16);
    let listener = Listener::bind(store.socket(), give)?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let link = Link::Down { until: Instant::now() };
    let (call, mut calls) = mpsc::channel(16);
    let codes = Codes::new(&agent.config, call);
    let mut resident = Resident {
        agent,
        link,
        pause: PAUSE.0,
        saved: clock::now(),
        ordered: Vec::new(),
        running: Vec::new(),
        farewell: None,
        round_is_dry: false,
        codes,
        callers: BTreeMap::new(),
        gate: None,
    };
    // without a service manager there is nobody to tell
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        timer.arm(resident.agent.next_deadline()).map_err(failed)?;
        tokio::select! {
            biased; // deadlines go before whatever the bastion has to say
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = timer.expired() => resident.agent.enforce_at_deadline(),
            _ = look.tick() => {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                resident.look();
            }
            Some(asked) = orders.recv() => {
                if resident.obey(asked) {
                    break;
                }
            }
            event = resident.link.event() => resident.react(event),
            () = changed(&resident.gate) => resident.agent.firewall_changed(LOOK_EVERY),
            Some(call) = calls.recv() => resident.hear_call(call),
        }
        resident.go_on();
    }
    resident.say_changes();
    let saved = resident.agent.save();
    if let Some((answered, answer)) = resident.farewell.take() {
        // before the answer, so that whoever starts it again then does not find it here
        resident.say_stood_down().await;
        let _ = answer.send(answered);
    }
    saved?;
    // Whoever waits for an answer that was given gets it: each of them holds a way in until then.
    drop(listener);
    while let Ok(Some(_)) = timeout(LOOK_EVERY, orders.recv()).await {}
    Ok(Exit::Done)
}

/// Somebody changes the firewall. May be dropped and called again.
async fn changed(gate: &Option<AsyncFd<Watched>>) {
    let Some(gate) = gate else { return std::future::pending().await };
    match gate.readable().await {
        // whoever looks at the gate reads what is there
        Ok(mut guard) => guard.clear_ready(),
        Err(_) => std::future::pending().await,
    }
}

impl Link {
    /// What happens next. May be dropped and called again.
    async fn event(&mut self) -> Event {
        match self {
            Self::Down { until } => {
                sleep_until(*until).await;
                Event::Retry
            }
            Self::Dialling { attempt } => Event::Dialled(
                attempt.await.unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "the attempt to connect broke off"))),
            ),
            Self::Up { conversation, .. } => Event::Heard(conversation.next().await),
        }
    }
}

impl Resident {
    fn react(&mut self, event: Event) {
        match event {
            Event::Retry => {
                let config = self.agent.config.clone();
                let attempt = tokio::spawn(async move { Conversation::begin(&config, true).await });
                self.link = Link::Dialling { attempt };
            }
            Event::Dialled(Ok(conversation)) => {
                self.link = Link::Up { conversation, since: clock::now() };
                self.agent.connected();
            }
            Event::Dialled(Err(failure)) => self.lost(failure),
            Event::Heard(Err(failure)) => self.lost(failure),
            Event::Heard(Ok((message, asked))) => {
                if let Some(asked) = asked {
                    self.agent.reached(asked);
                }
                let answers = self.agent.hear(message);
                if let Link::Up { conversation, .. } = &mut self.link {
                    answers.into_iter().for_each(|answer| conversation.send(answer));
                }
            }
        }
    }

    /// Once a second.
    fn look(&mut self) {
        self.agent.enforce();
        if let Link::Up { conversation, .. } = &mut self.link {
            conversation.ping_if_due();
            if conversation.is_dead() {
                self.lost(Failure::new(Exit::Unreachable, "the bastion does not answer any more"));
            }
        }
        if clock::now().since(self.saved).as_secs() >= SAVE_EVERY {
            self.saved = clock::now();
            if let Err(failure) = self.agent.save() {
                voice::fail(&failure);
            }
        }
    }

    /// Tells what was done, begins a round that is due, tells of one that has ended.
    fn go_on(&mut self) {
        self.say_changes(); // a round begins with a look at every interface
        if let Some(outcome) = self.agent.take_outcome() {
            self.tell(Ok(outcome));
        }
        let is_dry = self.ordered.iter().any(|one| one.dry_run);
        if let Link::Up { conversation, .. } = &mut self.link
            && (self.agent.is_round_due() || is_dry && self.agent.is_between_rounds())
        {
            let ordered = std::mem::take(&mut self.ordered);
            (self.running, self.ordered) = ordered.into_iter().partition(|one| one.dry_run == is_dry);
            self.round_is_dry = is_dry;
            conversation.send(self.agent.begin_round(is_dry));
        }
        for (id, verdict) in self.agent.take_verdicts() {
            if let Some(caller) = self.callers.remove(&id) {
                let _ = caller.send(codes::Answer::Verdict(verdict));
            }
        }
        self.callers.retain(|_, caller| !caller.is_closed());
        for fault in self.codes.follow(self.agent.gated_interfaces()) {
            voice::fail(&Failure::new(Exit::Partly, fault));
        }
        self.watch_gate();
        self.say_changes();
    }

    /// Watches the firewall as long as there is a gate.
    fn watch_gate(&mut self) {
        if self.agent.gated_interfaces().is_empty() {
            self.gate = None;
        } else if self.gate.is_none() {
            #[expect(
                deprecated,
                reason = "its successor is unsafe; Watched owns one descriptor, open as long as it lives"
            )]
            let watched = self.agent.watch_gate().and_then(|descriptor| AsyncFd::new(Watched(descriptor)).ok());
            self.gate = watched;
        }
    }

    /// Answers a question from inside a tunnel, or asks the bastion first.
    fn hear_call(&mut self, Call { interface, address, question, answer }: Call) {
        if answer.is_closed() {
            return; // it took too long already
        }
        let answered = match question {
            Question::Caller => self.agent.caller(&interface, address).map(codes::Answer::Caller),
            Question::Open => self.agent.open_to(&interface, address).map(codes::Answer::Open),
            Question::LogOut => self.agent.log_out(&interface, address).map(|()| codes::Answer::LoggedOut),
            Question::Code { tier, code } => {
                let Link::Up { conversation, .. } = &mut self.link else {
                    let _ = answer.send(codes::Answer::Refused(NOT_REACHED.to_owned()));
                    return;
                };
                match self.agent.ask_about(&interface, address, &tier, code) {
                    Ok((id, question)) => {
                        conversation.send(question);
                        self.callers.insert(id, answer);
                        return;
                    }
                    Err(why) => Err(why),
                }
            }
        };
        let _ = answer.send(answered.unwrap_or_else(codes::Answer::Refused));
    }

    /// Carries out an order of root's. True: there is nothing more to do for this agent.
    fn obey(&mut self, (order, answer): Asked) -> bool {
        if let Order::Round { dry_run, says_all } = order {
            self.ordered.push(Ordered { dry_run, says_all, answer });
            if !dry_run {
                self.agent.want_round();
            }
            if let Link::Down { until } = &mut self.link {
                *until = Instant::now();
            }
            return false;
        }
        let stands_down = matches!(order, Order::StandDown { .. });
        let answered = self.agent.obey(order);
        let over = stands_down && self.agent.state.stood_down;
        if over {
            self.farewell = Some((answered, answer));
        } else {
            let _ = answer.send(answered);
        }
        over
    }

    /// No connection: enforcing goes on, the next attempt comes later.
    fn lost(&mut self, failure: Failure) {
        if matches!(&self.link, Link::Up { since, .. } if clock::now().since(*since).as_secs() >= GOOD_AFTER) {
            self.pause = PAUSE.0;
        }
        self.agent.disconnected();
        // Half of each pause is left to chance, so that many agents do not come back at the same moment.
        self.link = Link::Down { until: Instant::now() + self.pause.mul_f64(rand::random_range(0.5..1.0)) };
        self.pause = (self.pause * 2).min(PAUSE.1);
        self.running.append(&mut self.ordered);
        self.tell(Err(failure));
    }

    /// Speaks of a round that has ended, and answers those who ordered it.
    fn tell(&mut self, round: Result<Outcome, Failure>) {
        for Ordered { dry_run, says_all, answer } in std::mem::take(&mut self.running) {
            let _ = answer.send(match &round {
                Ok(outcome) if dry_run => Answer::done(outcome.planned.clone(), outcome.faults.clone()),
                Err(failure) if dry_run => failure.clone().into(),
                _ => {
                    let exit = round.as_ref().map_or_else(|failure| failure.exit, |outcome| outcome.exit);
                    Answer::after_round(exit, speech::answer(&mut self.agent, &round, says_all))
                }
            });
        }
        if std::mem::take(&mut self.round_is_dry) && round.is_ok() {
            return;
        }
        let speech = speech::after_round(&mut self.agent, &round, false);
        voice::speak(&speech);
        if round.is_err()
            && let Err(failure) = self.agent.save()
        {
            voice::fail(&failure);
        }
    }

    /// The bastion shows that nothing is enforced here. Without a connection it learns so when enforcing begins again.
    async fn say_stood_down(&mut self) {
        if let Link::Up { conversation, .. } = &mut self.link {
            conversation.send(self.agent.begin_round(true));
            let _ = timeout(LOOK_EVERY, conversation.next()).await;
        }
    }

    fn say_changes(&mut self) {
        self.agent.take_changes().iter().for_each(|change| voice::say(change));
    }
}
