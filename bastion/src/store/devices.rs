//! Devices: people's WireGuard keys.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::{DeviceName, HostName, UserName};

use super::column::{Repeated, Text, text, time};
use super::{Actor, Change, CutOff, Event, Note, Store, StoreError, Writing, hosts};

/// A device as the bastion knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its name.
    pub name: DeviceName,
    /// The person who owns it.
    pub owner: UserName,
    /// Its public key.
    pub public_key: PublicKey,
    /// Reported lost, or cut off by an administrator.
    pub disabled: bool,
    /// Its owner is cut off, and the device with them.
    pub owner_disabled: bool,
    /// When it was added.
    pub added_at: Timestamp,
}

impl Store {
    /// Adds a device. The same again is `Unchanged`; the same name with other values, or a public key that belongs to
    /// another device or an interface, is refused, audited, and the first is named.
    pub fn add_device(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &DeviceName,
        owner: &UserName,
        public_key: &PublicKey,
    ) -> Result<Change, StoreError> {
        // a refusal is an answer here, so that its audit line stays
        self.write(now, |w| {
            if let Some(found) = find(w.tx, name)? {
                return if found.owner == *owner && found.public_key == *public_key {
                    Ok(Ok(Change::Unchanged))
                } else {
                    Err(StoreError::refused(format!("device {name} is there already, with another key or owner"))
                        .hint(format!("`device remove {name}` first")))
                };
            }
            w.must_be_free("host", name.as_str())?;
            w.must_exist(owner)?;
            if let Some(holder) = hosts::holder(w.tx, public_key)? {
                let reason = format!("{public_key} belongs to {holder}");
                w.audit(Note::new(Event::RegistrationRefused).user(owner).device(name).actor(actor).reason(&reason))?;
                let hint = "each device has a key of its own: make one with `wg genkey`";
                return Ok(Err(StoreError::refused(reason).hint(hint)));
            }
            w.execute(
                "INSERT INTO devices (name, owner, public_key, added_at) VALUES (?1, ?2, ?3, ?4)",
                (name.as_str(), owner.as_str(), Text(public_key), w.now),
            )?;
            w.registered(public_key)?;
            w.inventory_changed()?;
            let note = Note::new(Event::DeviceAdded).user(owner).device(name).actor(actor);
            w.audit(note.reason(public_key.to_string()))?;
            Ok(Ok(Change::Made))
        })?
    }

    /// All devices, sorted by name.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT} ORDER BY devices.name"))?;
        let mut owners = Repeated::default();
        Ok(statement.query_map([], |row| record(row, &mut owners))?.collect::<Result<_, _>>()?)
    }

    /// The devices that are peers of a host's interfaces, sorted by name.
    pub fn devices_that_are_peers(&self, host: &HostName) -> Result<Vec<DeviceRecord>, StoreError> {
        let cut_off = self.disabled_people()?;
        // one by one from the host's peers on: there may be very many
        let sql = "SELECT devices.name, owner, public_key, disabled, FALSE, added_at
                   FROM relations CROSS JOIN devices ON public_key = peer WHERE host = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut owners = Repeated::default();
        let found = statement.query_map([host.as_str()], |row| record(row, &mut owners))?;
        let mut devices = found.collect::<Result<Vec<_>, _>>()?;
        // two interfaces may have the same peer
        devices.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        devices.dedup_by(|one, other| one.name == other.name);
        for device in &mut devices {
            device.owner_disabled = cut_off.contains(&device.owner);
        }
        Ok(devices)
    }

    /// The devices that fulfil a condition, sorted by name.
    pub(super) fn devices_where(
        &self,
        condition: &str,
        parameters: impl Params,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let sql = format!("{SELECT} WHERE {condition} ORDER BY devices.name");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut owners = Repeated::default();
        Ok(statement.query_map(parameters, |row| record(row, &mut owners))?.collect::<Result<_, _>>()?)
    }

    /// One device.
    pub fn device(&self, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
        find(&self.connection, name)
    }

    /// Cuts a device off, or lets it in again.
    pub fn set_device_disabled(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &DeviceName,
        disabled: bool,
    ) -> Result<CutOff, StoreError> {
        self.write(now, |w| {
            let Some(device) = find(w.tx, name)? else {
                let hint = "`device list` shows which there are";
                return Err(StoreError::refused(format!("no such device: {name}")).hint(hint));
            };
            let sql = "UPDATE devices SET disabled = ?2 WHERE name = ?1 AND disabled <> ?2";
            if w.execute(sql, (name.as_str(), disabled))? == 0 {
                return Ok(CutOff::nothing());
            }
            let event = if disabled { Event::DeviceDisabled } else { Event::DeviceEnabled };
            w.audit(Note::new(event).user(&device.owner).device(name).actor(actor))?;
            w.inventory_changed()?;
            let places = w.places_of_key(&device.public_key)?;
            let reason = format!("device {name} was disabled");
            let cut = CutOff::made(w.cut_or_let_in(places, disabled, &reason)?);
            w.close_or_tell(cut, disabled, "peer = ?1", [Text(&device.public_key)], &reason)
        })
    }

    /// Removes a device; an unknown name is `Unchanged`. Its connections stay locked until its key is registered again.
    pub fn remove_device(&self, now: Timestamp, actor: Actor<'_>, name: &DeviceName) -> Result<CutOff, StoreError> {
        self.write(now, |w| match find(w.tx, name)? {
            Some(_) => w.remove_device(actor, name),
            None => Ok(CutOff::nothing()),
        })
    }
}

impl Writing<'_> {
    /// Removes a device if it exists; its places stay locked until its key is registered again.
    pub(super) fn remove_device(&self, actor: Actor<'_>, name: &DeviceName) -> Result<CutOff, StoreError> {
        let Some(device) = find(self.tx, name)? else { return Ok(CutOff::nothing()) };
        let reason = format!("device {name} was removed");
        let cut = CutOff::made(self.keep_locked(&self.places_of_key(&device.public_key)?, &reason)?);
        let cut = self.close_or_tell(cut, true, "peer = ?1", [Text(&device.public_key)], &reason)?;
        self.audit(Note::new(Event::DeviceRemoved).user(&device.owner).device(name).actor(actor))?;
        self.execute("DELETE FROM devices WHERE name = ?1", [name.as_str()])?;
        self.inventory_changed()?;
        Ok(cut)
    }
}

/// There may be very many rows, so columns are found by their numbers.
const SELECT: &str = "
    SELECT devices.name, owner, public_key, devices.disabled, people.disabled, devices.added_at
    FROM devices JOIN people ON people.name = devices.owner";

fn find(connection: &Connection, name: &DeviceName) -> Result<Option<DeviceRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE devices.name = ?1"))?;
    Ok(statement.query_row([name.as_str()], |row| record(row, &mut Repeated::default())).optional()?)
}

fn record(row: &Row<'_>, owners: &mut Repeated<UserName>) -> rusqlite::Result<DeviceRecord> {
    Ok(DeviceRecord {
        name: text(row, 0)?,
        owner: owners.text(row, 1)?,
        public_key: text(row, 2)?,
        disabled: row.get(3)?,
        owner_disabled: row.get(4)?,
        added_at: time(row, 5)?,
    })
}
