//! `device …`: people's WireGuard keys.

use serde::Serialize;
use wgmfa_core::connection::{Connection, Other};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::DeviceName;

use super::answer::{Answer, acted, cut_off, let_in, list, name_left_locked, no_such, rounds, shown};
use super::cuts::remember;
use super::site::Site;
use super::table::Table;
use super::{Asked, Context};
use crate::cli::words::DeviceCommand;
use crate::store::{Change, DeviceRecord, Place};

const PUBLIC_KEY_HINT: &str = "on the device: wg show INTERFACE public-key";

#[derive(Debug, Serialize)]
struct DeviceJson {
    name: String,
    owner: String,
    public_key: PublicKey,
    disabled: bool,
    added_at: jiff::Timestamp,
}

/// Carries out one of these commands.
///
/// # Errors
/// It cannot be done; nothing was changed.
pub fn run(command: &DeviceCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (store, now, json) = (context.store, context.now, asked.json);
    match command {
        DeviceCommand::Add { name, owner, public_key } => {
            let key: PublicKey = public_key
                .parse()
                .map_err(|error| Failure::new(Exit::Usage, format!("--public-key: {error}")).hint(PUBLIC_KEY_HINT))?;
            let its = |place: &Place| place.public_key == key;
            let kept = Site::read(store)?.take_records().into_values().filter(|record| record.kept_locked.is_some());
            let kept: Vec<Place> = kept.map(|record| record.place).filter(its).collect();
            let change = context.act(|actor| store.add_device(now, actor, name, owner, &key))?;
            let mut outcome = acted(change, json, &format!("added {name}"));
            if change == Change::Made {
                outcome.reply.stderr = name_left_locked(&kept, context)?;
                let connections = Site::read(store)?.connections;
                let here = connections.into_iter().filter(|connection| connection.other_public_key == key);
                outcome.orders = rounds(here.map(|connection| connection.name.one.host), &format!("{name} was added"));
            }
            Ok(outcome)
        }
        DeviceCommand::List => Ok(render(&store.devices()?, asked, context)),
        DeviceCommand::Show { name } => {
            let device = store.device(name)?.ok_or_else(|| no_such("device", name))?;
            Ok(render(&[device], asked, context))
        }
        DeviceCommand::Disable { name } => {
            store.device(name)?.ok_or_else(|| no_such("device", name))?;
            remember(context, |connection| is_end(connection, name))?;
            let cut = context.act(|actor| store.set_device_disabled(now, actor, name, true))?;
            Ok(cut_off(&cut, (json, context), &format!("disabled {name}"), &format!("{name} is disabled")))
        }
        DeviceCommand::Enable { name } => {
            store.device(name)?.ok_or_else(|| no_such("device", name))?;
            remember(context, |connection| is_end(connection, name))?;
            let cut = context.act(|actor| store.set_device_disabled(now, actor, name, false))?;
            let_in(cut, (json, context), &format!("enabled {name}"), &format!("{name} is enabled again"))
        }
        DeviceCommand::Remove { name } => {
            remember(context, |connection| is_end(connection, name))?;
            let cut = context.act(|actor| store.remove_device(now, actor, name))?;
            Ok(cut_off(&cut, (json, context), &format!("removed {name}"), &format!("{name} was removed")))
        }
    }
}

fn is_end(connection: &Connection, device: &DeviceName) -> bool {
    matches!(&connection.name.other, Other::Device(name) if name == device)
}

fn render(devices: &[DeviceRecord], asked: &Asked<'_>, context: &Context<'_>) -> super::Outcome {
    if asked.json {
        let objects: Vec<_> = devices
            .iter()
            .map(|device| DeviceJson {
                name: device.name.to_string(),
                owner: device.owner.to_string(),
                public_key: device.public_key,
                disabled: device.disabled || device.owner_disabled,
                added_at: device.added_at,
            })
            .collect();
        return list("devices", &objects);
    }
    let when = context.when();
    let mut table = Table::new(&["NAME", "OWNER", "PUBLIC KEY", "STATE", "ADDED"], asked.colour);
    for device in devices {
        let state = match (device.disabled, device.owner_disabled) {
            (true, _) => "disabled",
            (false, true) => "owner disabled",
            (false, false) => "enabled",
        };
        let added = when.clock(device.added_at);
        table.row([
            (&device.name).into(),
            (&device.owner).into(),
            device.public_key.into(),
            state.into(),
            added.into(),
        ]);
    }
    shown(table.render("no devices"))
}
