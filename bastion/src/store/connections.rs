//! Which connection a place belongs to, and who may come in there, by what is registered now.

use rusqlite::{Connection, OptionalExtension};
use wgmfa_core::connection::{ConnectionName, InterfaceRef, Other};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::DeviceName;

use super::column::{Text, text};
use super::{Place, StoreError};

/// The name of a place's connection; between two hosts the end that sorts first is written first.
pub fn name(connection: &Connection, place: &Place) -> Result<ConnectionName, StoreError> {
    let here = place.server_side.clone();
    Ok(match interface(connection, &place.public_key)? {
        Some(there) if there < here => ConnectionName { one: there, other: Other::Interface(here) },
        Some(there) => ConnectionName { one: here, other: Other::Interface(there) },
        None => {
            let device = device(connection, &place.public_key)?;
            let other = device.map_or(Other::Unmonitored(place.public_key), Other::Device);
            ConnectionName { one: here, other }
        }
    })
}

/// The device that has a public key.
pub fn device(connection: &Connection, key: &PublicKey) -> Result<Option<DeviceName>, StoreError> {
    let sql = "SELECT name FROM devices WHERE public_key = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([Text(key)], |row| text(row, "name")).optional()?)
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
