//! `user …`: people.

use serde::Serialize;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::SecretText;
use wgmfa_core::name::UserName;

use super::answer::{Answer, acted, cut_off, let_in, list, no_such, shown};
use super::credentials::{Credentials, first_line, password_from};
use super::cuts::remember;
use super::handout::{self, Fresh};
use super::site::serves;
use super::table::Table;
use super::{Asked, Context, Order, Outcome, person_key};
use crate::cli::words::{PasswordSource, UserCommand};
use crate::host_key::machine_name;
use crate::store::{Change, NewPerson, Password, PasswordKind, PasswordVerdict, Person, verify_password};
use crate::voice;

#[derive(Debug, Serialize)]
struct UserJson {
    name: String,
    admin: bool,
    disabled: bool,
    password: &'static str,
    has_code: bool,
    recovery_codes_left: u32,
    ssh_keys: u32,
    invited_until: Option<jiff::Timestamp>,
    telephone_code_until: Option<jiff::Timestamp>,
    added_at: jiff::Timestamp,
    last_login_at: Option<jiff::Timestamp>,
    last_login_from: Option<String>,
}

/// Carries out one of these commands.
///
/// # Errors
/// It cannot be done; nothing was changed.
pub fn run(command: &UserCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (store, now, json) = (context.store, context.now, asked.json);
    match command {
        UserCommand::Add { name, admin, invite: true, good_for, password } => {
            invite(name, *admin, password, *good_for, asked, context)
        }
        UserCommand::Add { name, admin, password, .. } => add(name, *admin, password, asked, context),
        UserCommand::Reset { name, good_for, password } if !password.is_given() => {
            invite_again(name, *good_for, asked, context)
        }
        UserCommand::Reset { name, password, .. } => reset(name, password, asked, context),
        UserCommand::Code { name, reason, good_for } => handout::read_out(name, reason, *good_for, asked, context),
        UserCommand::Key(command) => person_key::run(command, asked, context),
        UserCommand::List => Ok(render(&store.people()?, asked, context)),
        UserCommand::Show { name } => Ok(render(&[known(name, context)?], asked, context)),
        UserCommand::Disable { name } => {
            known(name, context)?;
            remember(context, |connection| serves(connection, name))?;
            let cut = context.act(|actor| store.set_person_disabled(now, actor, name, true))?;
            hang_up(
                cut_off(&cut, (json, context), &format!("disabled {name}"), &format!("{name} is disabled")),
                name,
                context,
            )
        }
        UserCommand::Enable { name } => {
            known(name, context)?;
            remember(context, |connection| serves(connection, name))?;
            let cut = context.act(|actor| store.set_person_disabled(now, actor, name, false))?;
            let_in(cut, (json, context), &format!("enabled {name}"), &format!("{name} is enabled again"))
        }
        UserCommand::Unlock { name } => {
            known(name, context)?;
            let change = context.act(|actor| store.unlock_person(now, actor, name))?;
            Ok(acted(change, json, &format!("unlocked {name}")))
        }
        UserCommand::Remove { name } => {
            let orders = hang_up(Outcome::default(), name, context)?.orders;
            remember(context, |connection| serves(connection, name))?;
            let cut = context.act(|actor| store.remove_person(now, actor, name))?;
            let mut outcome =
                cut_off(&cut, (json, context), &format!("removed {name}"), &format!("{name} was removed"));
            outcome.orders.extend(orders);
            Ok(outcome)
        }
    }
}

fn add(name: &UserName, admin: bool, source: &PasswordSource, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let password = password(source, asked)?;
    let credentials = Credentials::random(&machine_name(), name);
    let person = credentials.person(name, admin, password);
    match context.act(|actor| context.store.add_person(context.now, actor, &person))? {
        Change::Made => Ok(once(credentials.show(&format!("added {name}"), name, asked.json))),
        Change::Unchanged => {
            same_password(name, source, asked, context)?;
            Ok(acted(Change::Unchanged, asked.json, ""))
        }
    }
}

fn invite(
    name: &UserName,
    admin: bool,
    source: &PasswordSource,
    good_for: Option<Interval>,
    asked: &Asked<'_>,
    context: &Context<'_>,
) -> Answer {
    let fresh = Fresh::invitation(name, good_for, context.now)?;
    let password = if source.system_password { Password::System } else { Password::Unset };
    let person = invited(name, admin, password, &fresh);
    match context.act(|actor| context.store.add_person(context.now, actor, &person))? {
        Change::Made => Ok(fresh.show_invitation(&format!("added {name}"), &person, asked, context)),
        Change::Unchanged => {
            let mut outcome = acted(Change::Unchanged, asked.json, "");
            if known(name, context)?.invited_until.is_none() {
                // who was invited may have enrolled meanwhile: the same command again is no fault
                let said = format!("{name} needs no invitation any more; user reset {name} gives a new one");
                outcome.reply.stderr = voice::note(&said);
            }
            Ok(outcome)
        }
    }
}

fn invited(name: &UserName, admin: bool, password: Password, fresh: &Fresh) -> NewPerson {
    let invitation = Some(fresh.handout.clone());
    NewPerson { name: name.clone(), admin, password, code: None, recovery: Vec::new(), invitation }
}

/// The old password and secret are dead at once; a password that is kept elsewhere stays there.
fn invite_again(name: &UserName, good_for: Option<Interval>, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let known = known(name, context)?;
    if known.disabled {
        return Err(Failure::new(Exit::Failed, format!("{name} is disabled: an invitation would let nobody in"))
            .hint(format!("wgmfa-bastion user enable {name}")));
    }
    let fresh = Fresh::invitation(name, good_for, context.now)?;
    let password = if known.password == PasswordKind::System { Password::System } else { Password::Unset };
    let person = invited(name, known.admin, password, &fresh);
    context.act(|actor| context.store.reset_person(context.now, actor, &person))?;
    let mut outcome = fresh.show_invitation(&format!("reset {name}"), &person, asked, context);
    outcome.orders.push(Order::HangUpUser(name.clone()));
    Ok(outcome)
}

/// A person who is there already has the password that was given now.
fn same_password(
    name: &UserName,
    source: &PasswordSource,
    asked: &Asked<'_>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let known = context.store.credentials(name)?.map(|credentials| credentials.password);
    match known {
        Some(Password::Hashed(hash)) if source.password_stdin => {
            let given = SecretText::new(first_line(asked.stdin()).to_owned());
            if verify_password(&given, Some(&hash)) == PasswordVerdict::Right {
                return Ok(());
            }
            Err(Failure::new(Exit::Failed, format!("user {name} is there already, with another password"))
                .hint(format!("wgmfa-bastion user reset {name} --password-stdin gives new secrets")))
        }
        _ => Ok(()),
    }
}

fn reset(name: &UserName, source: &PasswordSource, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let known = known(name, context)?;
    let password = password(source, asked)?;
    let credentials = Credentials::random(&machine_name(), name);
    let person = credentials.person(name, known.admin, password);
    context.act(|actor| context.store.reset_person(context.now, actor, &person))?;
    let mut outcome = once(credentials.show(&format!("reset {name}"), name, asked.json));
    outcome.orders.push(Order::HangUpUser(name.clone()));
    Ok(outcome)
}

fn once(stdout: SecretText) -> Outcome {
    let mut outcome = shown("");
    outcome.reply.stdout = stdout;
    outcome
}

fn password(source: &PasswordSource, asked: &Asked<'_>) -> Result<Password, Failure> {
    match source {
        PasswordSource { system_password: true, .. } => Ok(Password::System),
        PasswordSource { password_stdin: true, .. } => password_from(asked.stdin()),
        _ => Err(Failure::new(Exit::Usage, "no password").hint("give --password-stdin or --system-password")),
    }
}

fn known(name: &UserName, context: &Context<'_>) -> Result<Person, Failure> {
    context.store.person(name)?.ok_or_else(|| no_such("user", name))
}

/// Besides: the person's connections and their hosts' agents are hung up on.
fn hang_up(mut outcome: Outcome, name: &UserName, context: &Context<'_>) -> Answer {
    let hosts = context.store.hosts()?.into_iter().filter(|host| host.owner.as_ref() == Some(name));
    outcome.orders.extend(hosts.map(|host| Order::HangUpHost(host.name)));
    outcome.orders.push(Order::HangUpUser(name.clone()));
    Ok(outcome)
}

fn render(people: &[Person], asked: &Asked<'_>, context: &Context<'_>) -> Outcome {
    if asked.json {
        let objects: Vec<_> = people.iter().map(object).collect();
        return list("users", &objects);
    }
    let when = context.when();
    let mut table = Table::new(&["NAME", "ROLE", "PASSWORD", "CODES", "LAST LOGIN", "STATE"], asked.colour);
    for person in people {
        let mut codes = match (person.has_code, person.recovery_left) {
            (true, left) => format!("app, {left} recovery"),
            (false, left) => format!("no app, {left} recovery"),
        };
        if let Some(until) = person.telephone_until.filter(|until| context.now < *until) {
            codes.push_str(&format!(", one by telephone until {}", when.clock(until)));
        }
        let last_login = match (person.last_login_at, &person.last_login_from) {
            (Some(at), Some(from)) => format!("{} from {from}", when.ago(at)),
            (Some(at), None) => when.ago(at),
            (None, _) => "never".to_owned(),
        };
        table.row([
            (&person.name).into(),
            (if person.admin { "admin" } else { "-" }).into(),
            password_or_keys(person).into(),
            codes.into(),
            last_login.into(),
            state(person, context).into(),
        ]);
    }
    shown(table.render("no users"))
}

fn state(person: &Person, context: &Context<'_>) -> String {
    match person.invited_until {
        _ if person.disabled => "disabled".to_owned(),
        Some(until) if context.now < until => format!("invited until {}", context.when().clock(until)),
        Some(until) => format!("invitation expired {}", context.when().ago(until)),
        None => "enabled".to_owned(),
    }
}

fn object(person: &Person) -> UserJson {
    UserJson {
        name: person.name.to_string(),
        admin: person.admin,
        disabled: person.disabled,
        password: password_kind(person.password),
        has_code: person.has_code,
        recovery_codes_left: person.recovery_left,
        ssh_keys: person.ssh_keys,
        invited_until: person.invited_until,
        telephone_code_until: person.telephone_until,
        added_at: person.added_at,
        last_login_at: person.last_login_at,
        last_login_from: person.last_login_from.clone(),
    }
}

fn password_or_keys(person: &Person) -> String {
    let password = password_kind(person.password);
    match person.ssh_keys {
        0 => password.to_owned(),
        1 => format!("{password}, 1 SSH key"),
        keys => format!("{password}, {keys} SSH keys"),
    }
}

fn password_kind(kind: PasswordKind) -> &'static str {
    match kind {
        PasswordKind::Hashed => "own",
        PasswordKind::System => "system",
        PasswordKind::Unset => "none",
    }
}
