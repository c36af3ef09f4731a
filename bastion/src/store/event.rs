//! What audit lines are about.

use std::fmt;

use super::{Actor, Place};

/// Makes the enum and its two tables of names from one list.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What an audit line is about. The name is what `log --event` takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Event {
            $($(#[$doc])* $variant,)*
        }

        impl Event {
            /// Every event, for `--help` and for refusing an unknown name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as it stands in the log.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

events! {
    /// The store was made.
    Begun = "begun",
    /// The keeper began to serve.
    Started = "started",
    /// The keeper stopped.
    Stopped = "stopped",
    /// The bastion's next SSH host key is announced.
    HostKeyAnnounced = "host-key-announced",
    /// The bastion uses another SSH host key.
    HostKeySwitched = "host-key-switched",
    /// An SSH host key of the bastion that is not in use was deleted.
    HostKeyRetired = "host-key-retired",
    /// A set of policies came into force.
    PoliciesLoaded = "policies-loaded",
    /// A reload of the policies was refused.
    PoliciesRefused = "policies-refused",
    /// A one-time or recovery code was accepted, and is used up.
    CodeAccepted = "code-accepted",
    /// A person's SSH key was shown as the first factor.
    KeyAccepted = "key-accepted",
    /// Somebody came in with an invitation.
    InvitationAccepted = "invitation-accepted",
    /// An invited person has set password and code secret.
    Enrolled = "enrolled",
    /// A person has changed their password.
    PasswordChanged = "password-changed",
    /// A person has new recovery codes.
    RecoveryReplaced = "recovery-replaced",
    /// An administrator handed out a code to read out on the telephone.
    CodeIssued = "code-issued",
    /// An SSH key of a person was registered.
    UserKeyAdded = "user-key-added",
    /// An SSH key of a person was forgotten.
    UserKeyRemoved = "user-key-removed",
    /// A login passed.
    LoginAccepted = "login-accepted",
    /// A login was refused; the reason is the real one.
    LoginRefused = "login-refused",
    /// A person was added.
    UserAdded = "user-added",
    /// A person was disabled.
    UserDisabled = "user-disabled",
    /// A person was enabled again.
    UserEnabled = "user-enabled",
    /// A person's failed logins were forgiven.
    UserUnlocked = "user-unlocked",
    /// A person was removed.
    UserRemoved = "user-removed",
    /// A person's password, code secret or recovery codes were replaced.
    UserReset = "user-reset",
    /// A host was added.
    HostAdded = "host-added",
    /// A host's agent has another SSH key.
    HostRekeyed = "host-rekeyed",
    /// A host was disabled.
    HostDisabled = "host-disabled",
    /// A host was enabled again.
    HostEnabled = "host-enabled",
    /// A host was removed.
    HostRemoved = "host-removed",
    /// An administrator agreed to a changed interface key.
    HostAccepted = "host-accepted",
    /// A host's agent came and proved itself.
    HostConnected = "host-connected",
    /// A second connection of a host replaced its first.
    HostReplaced = "host-replaced",
    /// A host's agent was refused.
    HostRefused = "host-refused",
    /// Something in a host's report was refused.
    ReportRefused = "report-refused",
    /// A device was added.
    DeviceAdded = "device-added",
    /// A device was disabled.
    DeviceDisabled = "device-disabled",
    /// A device was enabled again.
    DeviceEnabled = "device-enabled",
    /// A device was removed.
    DeviceRemoved = "device-removed",
    /// A registration was refused because somebody else has that public key.
    RegistrationRefused = "registration-refused",
    /// A generation was put on disk.
    Deposited = "deposited",
    /// A deposit was refused.
    DepositRefused = "deposit-refused",
    /// The second of two servers holds a generation that both are going to use.
    Staged = "staged",
    /// The server side accepts a generation.
    Applied = "applied",
    /// The server side was rebooted or its interface made anew: the key of a session that goes on was handed back to it.
    HandedBack = "handed-back",
    /// A generation was released to a person.
    Released = "released",
    /// A running session got a new deadline.
    Renewed = "renewed",
    /// A tier is open for a peer, by a login or a code inside the tunnel; the reason tells which, and until when.
    Granted = "granted",
    /// A tier was closed for a peer before its time.
    Revoked = "revoked",
    /// A code that was given inside a tunnel was refused; the reason is the real one.
    CodeRefused = "code-refused",
    /// A release was refused.
    ReleaseRefused = "release-refused",
    /// A generation, or a grant, is over: its deadline has passed.
    Expired = "expired",
    /// A generation was ended before its time.
    Ended = "ended",
    /// A new generation was ordered.
    RotationOrdered = "rotation-ordered",
    /// An administrator has set a preshared key.
    KeySet = "key-set",
    /// An administrator released a generation to an owned host, or opened a tier.
    Overridden = "overridden",
    /// Root on a host opened a peer without the bastion.
    Override = "override",
    /// Root on a host stopped its agent from enforcing.
    StandDown = "stand-down",
    /// An agent locked a peer of its own accord.
    Locked = "locked",
    /// A key on an interface was changed behind the agent's back.
    ChangedOutside = "changed-outside",
    /// A connection's key has another state.
    State = "state",
    /// Two endpoints take turns for one peer: its private key is in two places.
    TwoEndpoints = "two-endpoints",
    /// Many refusals that were not listed one by one.
    RefusalsOmitted = "refusals-omitted",
    /// The code of a login was spent on an administrator's act.
    ActAllowed = "act-allowed",
    /// Somebody may not give an administrator's command.
    ActRefused = "act-refused",
    /// Many lines that one host caused and that were not listed one by one.
    HostLinesOmitted = "host-lines-omitted",
    /// A host has seen a line of this log that it does not have.
    LogLost = "log-lost",
    /// An administrator agreed that lines of this log are lost.
    LogLossAccepted = "log-loss-accepted",
    /// The oldest lines were removed after they had been exported.
    LogPruned = "log-pruned",
    /// A backup was made.
    BackedUp = "backed-up",
    /// The store was restored from a backup.
    Restored = "restored",
    /// A host made higher generations than this store knew.
    GenerationsRaised = "generations-raised",
    /// Everything was sealed with a new key.
    Resealed = "resealed",
    /// The clock jumped, or was set back.
    ClockJumped = "clock-jumped",
    /// Root set the bastion's time back to the clock of the machine.
    ClockReset = "clock-reset",
    /// Anything else that a program wants to leave behind; the reason says what.
    Noted = "noted",
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Event {
    type Err = UnknownEvent;
    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        Self::ALL.iter().copied().find(|event| event.as_str() == text).ok_or(UnknownEvent)
    }
}

/// Not the name of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEvent;

impl fmt::Display for UnknownEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such event")
    }
}

impl std::error::Error for UnknownEvent {}

/// An audit line to be written. It must not hold a secret: give names, never answers or keys that are not public.
#[derive(Debug, Clone)]
pub struct Note {
    pub(super) event: Event,
    pub(super) user: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) from: Option<String>,
    pub(super) host: Option<String>,
    pub(super) device: Option<String>,
    pub(super) place: Option<Place>,
    pub(super) generation: Option<u64>,
    pub(super) reason: Option<String>,
}

impl Note {
    /// A line about an event.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            user: None,
            actor: None,
            from: None,
            host: None,
            device: None,
            place: None,
            generation: None,
            reason: None,
        }
    }

    /// Whom it is about.
    #[must_use]
    pub fn user(mut self, user: impl ToString) -> Self {
        self.user = Some(user.to_string());
        self
    }

    /// Who did it, and from where.
    #[must_use]
    pub fn actor(mut self, actor: Actor<'_>) -> Self {
        self.actor = actor.name.map(str::to_owned);
        self.from(actor.from)
    }

    /// Where it came from.
    #[must_use]
    pub fn from(mut self, from: Option<&str>) -> Self {
        self.from = from.map(str::to_owned);
        self
    }

    /// The host that it is about.
    #[must_use]
    pub fn host(mut self, host: impl ToString) -> Self {
        self.host = Some(host.to_string());
        self
    }

    /// The device that it is about.
    #[must_use]
    pub fn device(mut self, device: impl ToString) -> Self {
        self.device = Some(device.to_string());
        self
    }

    /// The connection that it is about, by a peer of its server side; its name is looked up when the line is written.
    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.host = Some(place.server_side.host.to_string());
        self.place = Some(place.clone());
        self
    }

    /// The generation that it is about.
    #[must_use]
    pub fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Why, in words.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}
