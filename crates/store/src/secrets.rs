//! The table `secrets`: values encrypted with the key of the store, each with a nonce of its own. The service's id and
//! the secret's name are bound in, so that a row moved to another service or name does not decrypt.

use crate::columns::Id;
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use crate::key::SecretKey;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use myagent_core::ServiceId;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

const NONCE: usize = 24;

impl Store {
    /// The secrets of a service, decrypted; empty if it has none or does not exist.
    pub fn secrets(&self, id: ServiceId) -> Result<BTreeMap<String, String>, StoreError> {
        self.read(&format!("read the secrets of service {id}"), |connection| {
            let sql = "SELECT name, nonce, ciphertext FROM secrets WHERE service_id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([Id(id.0)])?;
            let mut secrets = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let (name, nonce, ciphertext): (String, Vec<u8>, Vec<u8>) = row.try_into()?;
                let value = decrypt(&self.key, id, &name, &nonce, &ciphertext);
                let value = value.ok_or_else(|| StoreError::SecretUnreadable { name: name.clone() })?;
                secrets.insert(name, value);
            }
            Ok(secrets)
        })
    }
}

/// Makes these the only secrets of a service.
pub(crate) fn replace(
    connection: &Connection,
    key: &SecretKey,
    id: ServiceId,
    secrets: &BTreeMap<String, String>,
) -> Result<(), Fault> {
    connection.execute("DELETE FROM secrets WHERE service_id = ?1", [Id(id.0)])?;
    let sql = "INSERT INTO secrets (service_id, name, nonce, ciphertext) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = connection.prepare_cached(sql)?;
    for (name, value) in secrets {
        let (nonce, ciphertext) = encrypt(key, id, name, value)?;
        insert.execute(params![Id(id.0), name, nonce, ciphertext])?;
    }
    Ok(())
}

/// Removes the secrets whose names are not among `names`.
pub(crate) fn keep_only(
    connection: &Connection,
    id: ServiceId,
    names: &BTreeSet<String>,
) -> Result<(), Fault> {
    for name in stored_names(connection, id)?.difference(names) {
        connection
            .execute("DELETE FROM secrets WHERE service_id = ?1 AND name = ?2", params![Id(id.0), name])?;
    }
    Ok(())
}

/// The names of a service's secrets.
pub(crate) fn stored_names(connection: &Connection, id: ServiceId) -> Result<BTreeSet<String>, Fault> {
    let mut statement = connection.prepare_cached("SELECT name FROM secrets WHERE service_id = ?1")?;
    let names = statement.query_map([Id(id.0)], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn bound_to(id: ServiceId, name: &str) -> Vec<u8> {
    format!("{id}\0{name}").into_bytes()
}

fn encrypt(
    key: &SecretKey,
    id: ServiceId,
    name: &str,
    value: &str,
) -> Result<([u8; NONCE], Vec<u8>), StoreError> {
    let failed =
        |detail: String| StoreError::Crypto { operation: format!("encrypt the secret {name}"), detail };
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| failed(error.to_string()))?;
    let payload = Payload { msg: value.as_bytes(), aad: &bound_to(id, name) };
    let ciphertext = XChaCha20Poly1305::new(key.bytes().into()).encrypt(&XNonce::from(nonce), payload);
    Ok((nonce, ciphertext.map_err(|error| failed(error.to_string()))?))
}

fn decrypt(key: &SecretKey, id: ServiceId, name: &str, nonce: &[u8], ciphertext: &[u8]) -> Option<String> {
    let nonce: [u8; NONCE] = nonce.try_into().ok()?;
    let payload = Payload { msg: ciphertext, aad: &bound_to(id, name) };
    let value = XChaCha20Poly1305::new(key.bytes().into()).decrypt(&XNonce::from(nonce), payload).ok()?;
    String::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_value_decrypts_only_where_it_was_put() {
        let key = SecretKey::from_bytes([1; 32]);
        let (id, other) = (ServiceId(Uuid::from_u128(1)), ServiceId(Uuid::from_u128(2)));
        let (nonce, ciphertext) = encrypt(&key, id, "TOKEN", "s3cret").unwrap();
        let (second, _) = encrypt(&key, id, "TOKEN", "s3cret").unwrap();
        assert_ne!(nonce, second);
        assert_eq!(decrypt(&key, id, "TOKEN", &nonce, &ciphertext).as_deref(), Some("s3cret"));
        assert_eq!(decrypt(&key, other, "TOKEN", &nonce, &ciphertext), None);
        assert_eq!(decrypt(&key, id, "OTHER", &nonce, &ciphertext), None);
        assert_eq!(decrypt(&key, id, "TOKEN", &second, &ciphertext), None);
        assert_eq!(decrypt(&key, id, "TOKEN", b"short", &ciphertext), None);
        let wrong = SecretKey::from_bytes([2; 32]);
        assert_eq!(decrypt(&wrong, id, "TOKEN", &nonce, &ciphertext), None);
    }
}
