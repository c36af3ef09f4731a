//! A scripted bastion: a real SSH server that keeps to the contract of the conversation and writes down what it hears.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use russh::keys::ssh_key::SshSig;
use russh::keys::{Algorithm, PrivateKey, PublicKey as SshKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId, ChannelMsg};
use tokio::sync::{mpsc, oneshot};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::{
    Deposit, FromAgent, PeerGeneration, PeerRef, SIGNATURE_NAMESPACE, ToAgent, signed_text,
};
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::message::{Lines, decode, encode};
use wgmfa_core::rotation::{Assignment, Standing};

use crate::bed::{preshared_keys, wait_until};
use crate::gates::Gates;

/// A message of the agent, and the preshared keys on its interface when it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub message: FromAgent,
    pub on_interface: BTreeMap<PublicKey, String>,
}

/// What the bastion knows of one connection.
#[derive(Clone, Default)]
pub struct Connection {
    pub interval: u64,
    /// After how long without a handshake its sessions are over, in seconds.
    pub idle_timeout: Option<u64>,
    pub highest: u64,
    pub keys: BTreeMap<u64, PresharedKey>,
    pub applied: Option<(u64, Instant)>,
    pub released: Option<(u64, Instant)>,
    pub keep_locked: Option<String>,
    /// Deposits are not taken.
    pub disk_is_full: bool,
}

pub type Connections = BTreeMap<PeerRef, Connection>;
type Interjection = Box<dyn FnOnce(&mut Connections) -> ToAgent + Send>;

#[derive(Default)]
struct Model {
    connections: Connections,
    heard: Vec<Heard>,
    accepted: Option<SshKey>,
    uncovered: Vec<PeerRef>,
    to_agent: Option<mpsc::UnboundedSender<Vec<u8>>>,
    answers: Vec<FromAgent>,
    gates: Gates,
    /// Said in place of the next assignments.
    nonsense: Option<Vec<u8>>,
    /// Happens when the next report has come, before it is answered.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    /// Happens when the next deposits have come, and is said before they are answered.
    interjection: Option<Interjection>,
    connected: usize,
    /// Its version and its clock, if it tells them.
    tells: (Option<String>, Option<i64>),
}

pub struct Bastion {
    model: Arc<Mutex<Model>>,
    host_key: PrivateKey,
    address: SocketAddr,
    namespace: String,
    interface: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Bastion {
    /// Listens on loopback in a namespace.
    pub fn start(namespace: &str, interface: &str) -> Self {
        let mut bastion = Self {
            model: Arc::default(),
            host_key: PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap(),
            address: "127.0.0.1:0".parse().unwrap(),
            namespace: namespace.to_owned(),
            interface: interface.to_owned(),
            running: None,
        };
        bastion.resume();
        bastion
    }

    /// Listens again on the same port after [`Bastion::stop`].
    pub fn resume(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let (bound, wait) = std::sync::mpsc::channel();
        let (model, interface, address) = (self.model.clone(), self.interface.clone(), self.address);
        let config = Arc::new(Config {
            keys: vec![self.host_key.clone()],
            auth_rejection_time: Duration::ZERO,
            ..Config::default()
        });
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let thread = std::thread::spawn(move || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                // a program that another test is just starting has a copy of the old listener until it is executed
                while let Err(error) = socket.bind(address) {
                    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let listener = socket.listen(16).unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let handler = Front { model: model.clone(), interface: interface.clone(), channel: None };
                        let config = config.clone();
                        tokio::spawn(async move {
                            if let Ok(session) = run_stream(config, stream, handler).await {
                                let _ = session.await;
                            }
                        });
                    }
                };
                tokio::select! { () = accept => (), _ = stopped => () }
            });
        });
        self.address = wait.recv().unwrap();
        self.running = Some((stop, thread));
    }

    /// Hangs up on everybody and listens no more.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
            lock(&self.model).to_agent = None;
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Shows another host key from now on.
    pub fn change_host_key(&mut self) {
        self.stop();
        self.host_key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        self.resume();
    }

    pub fn known_host(&self, name: &str) -> String {
        format!("{name} {}", self.host_key.public_key().to_openssh().unwrap())
    }

    /// The one host key that may log in.
    pub fn accept(&self, line: &str) {
        lock(&self.model).accepted = Some(SshKey::from_openssh(line).unwrap());
    }

    /// A policy covers these peers.
    pub fn cover(&self, peers: &[PeerRef], interval: u64) {
        for peer in peers {
            self.change(peer, |connection| connection.interval = interval);
        }
    }

    pub fn uncover(&self, peers: &[PeerRef]) {
        let mut model = lock(&self.model);
        peers.iter().for_each(|peer| _ = model.connections.remove(peer));
    }

    pub fn name_uncovered(&self, peers: &[PeerRef]) {
        lock(&self.model).uncovered = peers.to_vec();
    }

    /// Changes what the bastion knows of a connection.
    pub fn change(&self, peer: &PeerRef, change: impl FnOnce(&mut Connection)) {
        change(lock(&self.model).connections.entry(peer.clone()).or_default());
    }

    pub fn connection(&self, peer: &PeerRef) -> Connection {
        lock(&self.model).connections[peer].clone()
    }

    /// The generation that waits for its person, in base64.
    pub fn waiting_key(&self, peer: &PeerRef) -> Option<String> {
        let connection = self.connection(peer);
        let (generation, _) = connection.applied.filter(|_| connection.released.is_none())?;
        Some(connection.keys[&generation].expose_base64().to_string())
    }

    /// Answers the next report with these bytes.
    pub fn talk_nonsense(&self, bytes: &[u8]) {
        lock(&self.model).nonsense = Some(bytes.to_vec());
    }

    /// Does something when the next report has come, before it is answered.
    pub fn meanwhile(&self, act: impl FnOnce() + Send + 'static) {
        lock(&self.model).meanwhile = Some(Box::new(act));
    }

    /// Has something happen when the next deposits have come, and says it before they are answered.
    pub fn interject(&self, happens: impl FnOnce(&mut Connections) -> ToAgent + Send + 'static) {
        lock(&self.model).interjection = Some(Box::new(happens));
    }

    /// Which version it says that it is of, and which time its clock shows.
    pub fn tell(&self, program: &str, clock: i64) {
        lock(&self.model).tells = (Some(program.to_owned()), Some(clock));
    }

    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.model).heard.clone()
    }

    /// What the agent has told of what happened there: the event and its reason.
    pub fn events(&self) -> Vec<(String, String)> {
        let heard = self.heard().into_iter();
        heard
            .flat_map(|heard| match heard.message {
                FromAgent::Report { events, .. } => events,
                _ => Vec::new(),
            })
            .map(|event| (event.event, event.reason))
            .collect()
    }

    pub fn forget_heard(&self) {
        lock(&self.model).heard.clear();
    }

    /// How many agents have proved themselves so far.
    pub fn connected(&self) -> usize {
        lock(&self.model).connected
    }

    pub fn send(&self, message: ToAgent) {
        lock(&self.model).to_agent.as_ref().expect("an agent is connected").send(encode(&message)).unwrap();
    }

    /// Opens the waiting generation on a resident agent; returns why it refused.
    pub fn open(&self, peer: &PeerRef, seconds_left: u64) -> Option<String> {
        let generation = self.connection(peer).applied.expect("a generation waits").0;
        let refused = self.open_generation(peer, generation, seconds_left);
        if refused.is_none() {
            let until = Instant::now() + Duration::from_secs(seconds_left);
            self.change(peer, |connection| connection.released = Some((generation, until)));
        }
        refused
    }

    pub fn open_generation(&self, peer: &PeerRef, generation: u64, seconds_left: u64) -> Option<String> {
        let id = rand::random_range(1..u64::MAX / 2);
        self.send(ToAgent::Open { id, which: PeerGeneration { peer: peer.clone(), generation }, seconds_left });
        let mut found = None;
        wait_until("the answer to open", || {
            found = lock(&self.model).answers.iter().find_map(|answer| match answer {
                FromAgent::Opened { id: of, refused } if *of == id => Some(refused.clone()),
                _ => None,
            });
            found.is_some()
        });
        found.unwrap()
    }

    /// Changes what is known of the gate.
    pub fn gates<T>(&self, change: impl FnOnce(&mut Gates) -> T) -> T {
        change(&mut lock(&self.model).gates)
    }

    pub fn answer_to<T>(&self, order: &str, find: impl Fn(&FromAgent) -> Option<T>) -> T {
        let mut found = None;
        wait_until(&format!("the answer to {order}"), || {
            found = lock(&self.model).answers.iter().find_map(&find);
            found.is_some()
        });
        found.unwrap()
    }

    pub fn lock(&self, peer: &PeerRef, reason: &str) -> Option<String> {
        let id = rand::random_range(1..u64::MAX / 2);
        self.send(ToAgent::Lock { id, peer: peer.clone(), reason: reason.to_owned() });
        let mut found = None;
        wait_until("the answer to lock", || {
            found = lock(&self.model).answers.iter().find_map(|answer| match answer {
                FromAgent::Locked { id: of, failed } if *of == id => Some(failed.clone()),
                _ => None,
            });
            found.is_some()
        });
        found.unwrap()
    }
}

/// Also after another thread of this test has failed.
fn lock(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One SSH connection.
struct Front {
    model: Arc<Mutex<Model>>,
    interface: String,
    channel: Option<Channel<Msg>>,
}

impl Handler for Front {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let accepted = lock(&self.model).accepted.clone();
        let good = accepted.is_some_and(|accepted| accepted.key_data() == key.public_key.key_data());
        Ok(if user == "agent" && good { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        assert_eq!(name, "wgmfa-agent");
        session.channel_success(id)?;
        let (model, interface) = (self.model.clone(), self.interface.clone());
        tokio::spawn(converse(self.channel.take().unwrap(), model, interface));
        Ok(())
    }
}

async fn converse(mut channel: Channel<Msg>, model: Arc<Mutex<Model>>, interface: String) {
    let nonce = "bm9uY2U=".to_owned();
    let (program, clock) = lock(&model).tells.clone();
    let (to_agent, mut orders) = mpsc::unbounded_channel();
    to_agent.send(encode(&ToAgent::Challenge { version: 1, nonce: nonce.clone(), program, clock })).unwrap();
    let mut lines = Lines::new(8 * 1024 * 1024);
    loop {
        tokio::select! {
            Some(order) = orders.recv() => {
                if channel.data(&order[..]).await.is_err() {
                    return;
                }
            }
            part = channel.wait() => match part {
                Some(ChannelMsg::Data { data }) => lines.push(&data),
                Some(_) => {}
                None => return,
            },
        }
        while let Some(line) = lines.next_line().unwrap() {
            let message: FromAgent = decode(&line).unwrap();
            let on_interface = preshared_keys(&interface);
            let mut model = lock(&model);
            if !matches!(message, FromAgent::Ping) {
                model.heard.push(Heard { message: message.clone(), on_interface });
            }
            if let FromAgent::Hello { host, signature, .. } = &message {
                let key = model.accepted.clone().unwrap();
                let signature = SshSig::from_pem(signature).unwrap();
                key.verify(SIGNATURE_NAMESPACE, signed_text(&nonce, host).as_bytes(), &signature).unwrap();
                model.connected += 1;
                model.to_agent = Some(to_agent.clone());
            }
            let is_report = matches!(message, FromAgent::Report { .. });
            if let Some(act) = model.meanwhile.take_if(|_| is_report) {
                act();
            }
            let is_deposit = matches!(message, FromAgent::Deposit { .. });
            if let Some(happens) = model.interjection.take_if(|_| is_deposit) {
                let _ = to_agent.send(encode(&happens(&mut model.connections)));
            }
            if let Some(nonsense) = model.nonsense.take_if(|_| is_report) {
                let _ = to_agent.send(nonsense);
            } else if let Some(answer) = model.answer(message) {
                let _ = to_agent.send(encode(&answer));
            }
        }
    }
}

impl Model {
    fn answer(&mut self, message: FromAgent) -> Option<ToAgent> {
        match message {
            FromAgent::Hello { host, .. } => Some(ToAgent::Welcome { host }),
            FromAgent::Report { events, interrupted, .. } => {
                let restored = interrupted.iter().filter_map(|which| self.connections.get(&which.peer)?.goes_on(which));
                let restored = restored.collect();
                events.iter().for_each(|event| self.gates.hear(event));
                let assignments =
                    self.connections.iter().map(|(peer, connection)| connection.assignment(peer)).collect();
                Some(ToAgent::Assignments {
                    assignments,
                    uncovered: self.uncovered.clone(),
                    deliveries: Vec::new(),
                    log_head: None,
                    pairs: Vec::new(),
                    gates: self.gates.assignments(),
                    free: self.gates.free.clone(),
                    gated: Vec::new(),
                    restored,
                    host_keys: Vec::new(),
                })
            }
            FromAgent::Deposit { deposits } => {
                let mut stored = Vec::new();
                for deposit in deposits {
                    let connection = self.connections.get_mut(&deposit.which.peer).unwrap();
                    if connection.disk_is_full {
                        continue;
                    }
                    assert!(deposit.which.generation > connection.highest, "generations only go up");
                    connection.highest = deposit.which.generation;
                    connection.keys.insert(deposit.which.generation, deposit.preshared_key.clone());
                    connection.applied = None;
                    stored.push(deposit.which);
                }
                Some(ToAgent::Stored { deposits: stored })
            }
            FromAgent::Applied { applied, staged } => {
                for which in &applied {
                    let connection = self.connections.get_mut(&which.peer).unwrap();
                    (connection.applied, connection.released) = (Some((which.generation, Instant::now())), None);
                }
                Some(ToAgent::Noted { applied, staged })
            }
            FromAgent::Ping => Some(ToAgent::Pong),
            FromAgent::CheckCode { id, peer, tiers, code } => {
                let verdict = self.gates.check(&peer, &tiers, &code)?;
                Some(ToAgent::CodeChecked { id, verdict })
            }
            answer => {
                self.answers.push(answer);
                None
            }
        }
    }
}

impl Connection {
    /// The key of a session that goes on, as it was deposited.
    fn goes_on(&self, which: &PeerGeneration) -> Option<Deposit> {
        let (released, until) = self.released?;
        let goes_on = released == which.generation && until > Instant::now() && self.keep_locked.is_none();
        let key = self.keys.get(&which.generation).filter(|_| goes_on)?;
        Some(Deposit { which: which.clone(), preshared_key: key.clone() })
    }

    fn assignment(&self, peer: &PeerRef) -> Assignment {
        let left = |until: Instant| until.saturating_duration_since(Instant::now()).as_secs();
        let standing = if let Some(reason) = &self.keep_locked {
            Standing::KeepLocked { reason: reason.clone() }
        } else if let Some((generation, until)) = self.released
            && until > Instant::now()
        {
            Standing::Released { generation, seconds_left: left(until) }
        } else if let Some((generation, since)) = self.applied.filter(|_| self.released.is_none()) {
            Standing::Waiting { generation, age_seconds: since.elapsed().as_secs() }
        } else {
            Standing::Missing { reason: "none waits".to_owned() }
        };
        Assignment {
            peer: peer.clone(),
            connection: format!(
                "app-gw/devices:p{}",
                &peer.public_key.to_string()[..6].to_lowercase().replace(['+', '/'], "x")
            ),
            policy: Some(PolicyRef { ordinal: 101, description: "Prod User Devices".to_owned(), mfa: true }),
            rotation_interval: self.interval,
            idle_timeout: self.idle_timeout,
            highest_generation: self.highest,
            standing,
        }
    }
}
