//! Which connection a place belongs to, and who may come in there, by what is registered now.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Params};
use wgmfa_core::connection::{ConnectionName, InterfaceRef, Other};
use wgmfa_core::key::PublicKey;

use super::column::{Text, text};
use super::{Place, StoreError};

/// Who stands at the far ends of places.
pub struct Names(HashMap<PublicKey, Other>);

impl Names {
    /// The name of a place's connection; between two hosts the end that sorts first is written first.
    pub fn of(&self, place: &Place) -> ConnectionName {
        let here = place.server_side.clone();
        match self.0.get(&place.public_key) {
            Some(Other::Interface(there)) if *there < here => {
                ConnectionName { one: there.clone(), other: Other::Interface(here) }
            }
            Some(other) => ConnectionName { one: here, other: other.clone() },
            None => ConnectionName { one: here, other: Other::Unmonitored(place.public_key) },
        }
    }
}

/// Who has the public keys for which this condition holds.
pub fn names(connection: &Connection, condition: &str, parameters: impl Params + Clone) -> Result<Names, StoreError> {
    let mut names = HashMap::new();
    let mut interfaces = connection
        .prepare_cached(&format!("SELECT public_key, host, name FROM interfaces WHERE public_key {condition}"))?;
    let found = interfaces.query_map(parameters.clone(), |row| {
        let there = InterfaceRef { host: text(row, "host")?, interface: text(row, "name")? };
        Ok((text(row, "public_key")?, Other::Interface(there)))
    })?;
    for found in found {
        names.extend([found?]);
    }
    let mut devices =
        connection.prepare_cached(&format!("SELECT public_key, name FROM devices WHERE public_key {condition}"))?;
    let found = devices.query_map(parameters, |row| Ok((text(row, 0)?, Other::Device(text(row, 1)?))))?;
    for found in found {
        names.extend([found?]);
    }
    Ok(Names(names))
}

/// The name of one place's connection.
pub fn name(connection: &Connection, place: &Place) -> Result<ConnectionName, StoreError> {
    Ok(names(connection, "= ?1", (place.public_key.to_string(),))?.of(place))
}

/// The interface that has a public key.
pub fn interface(connection: &Connection, key: &PublicKey) -> Result<Option<InterfaceRef>, StoreError> {
    let sql = "SELECT host, name FROM interfaces WHERE public_key = ?1";
    let found = connection
        .prepare_cached(sql)?
        .query_row([Text(key)], |row| Ok(InterfaceRef { host: text(row, "host")?, interface: text(row, "name")? }));
    Ok(found.optional()?)
}

/// Why nobody may come in at a place: a host, the device or the person was disabled or removed.
pub fn cut_off(connection: &Connection, place: &Place) -> Result<Option<String>, StoreError> {
    let sql = "
        SELECT 'host ' || name || ' is disabled' FROM hosts WHERE name = ?1 AND disabled
        UNION ALL
        SELECT kept_locked FROM places WHERE host = ?1 AND interface = ?2 AND peer = ?3 AND kept_locked IS NOT NULL
        UNION ALL
        SELECT 'device ' || name || ' is disabled' FROM devices WHERE public_key = ?3 AND disabled
        UNION ALL
        SELECT 'host ' || hosts.name || ' is disabled' FROM interfaces JOIN hosts ON hosts.name = interfaces.host
            WHERE interfaces.public_key = ?3 AND hosts.disabled
        UNION ALL
        SELECT 'user ' || people.name || ' is disabled' FROM people WHERE disabled AND name IN (
            SELECT owner FROM devices WHERE public_key = ?3
            UNION ALL SELECT owner FROM hosts WHERE name = ?1
            UNION ALL SELECT owner FROM interfaces JOIN hosts ON hosts.name = interfaces.host
                WHERE interfaces.public_key = ?3)
        LIMIT 1";
    let InterfaceRef { host, interface } = &place.server_side;
    let parameters = (host.as_str(), interface.as_str(), Text(place.public_key));
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?)
}
