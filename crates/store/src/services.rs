//! The table `services`: what users registered. The names of a service's secrets come from the table `secrets`.

use crate::columns::{Count, Id, Json, Time, Wanted};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use crate::idempotency::{self, Creation};
use crate::{peaks, secrets};
use jiff::Timestamp;
use myagent_core::ServiceId;
use myagent_core::service::{Desired, Service};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, named_params, params};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const COLUMNS: &str = "service_id, name, description, source, host, port, tags, replicas, config, environment, \
                       desired, version, created_at, updated_at, restart_version";

impl Store {
    /// All services, by name.
    pub fn services(&self) -> Result<Vec<Service>, StoreError> {
        self.read("list services", |connection| {
            let mut names: BTreeMap<Uuid, BTreeSet<String>> = BTreeMap::new();
            let mut statement = connection.prepare_cached("SELECT service_id, name FROM secrets")?;
            for row in statement.query_map([], |row| Ok((row.get::<_, Id>(0)?.0, row.get(1)?)))? {
                let (id, name) = row?;
                names.entry(id).or_default().insert(name);
            }
            let sql = format!("SELECT {COLUMNS} FROM services ORDER BY name");
            let mut statement = connection.prepare_cached(&sql)?;
            let services = statement.query_map([], |row| {
                let service = service(row)?;
                Ok(Service {
                    secret_names: names.remove(&service.service_id.0).unwrap_or_default(),
                    ..service
                })
            })?;
            Ok(services.collect::<Result<_, _>>()?)
        })
    }

    /// The service of that id, else of that name.
    pub fn service(&self, name_or_id: &str) -> Result<Option<Service>, StoreError> {
        self.read(&format!("look up service {name_or_id}"), |connection| {
            let find = |column: &str, value: &str| {
                let sql = format!("SELECT {COLUMNS} FROM services WHERE {column} = ?1");
                connection.prepare_cached(&sql)?.query_row([value], service).optional()
            };
            // A name may look like an id; an id is the surer word.
            let by_id = match Uuid::try_parse(name_or_id) {
                Ok(id) => find("service_id", &id.to_string())?,
                Err(_) => None,
            };
            let found = match by_id {
                Some(found) => Some(found),
                None => find("name", name_or_id)?,
            };
            let Some(found) = found else { return Ok(None) };
            let secret_names = secrets::stored_names(connection, found.service_id)?;
            Ok(Some(Service { secret_names, ..found }))
        })
    }

    /// Stores a new service with its secrets (`secret_names` of the service is not looked at), and that `creation` made it.
    /// [`StoreError::Duplicate`] if the name is taken.
    pub fn insert_service(
        &self,
        service: &Service,
        secrets: &BTreeMap<String, String>,
        creation: Option<&Creation>,
    ) -> Result<(), StoreError> {
        self.write(&format!("store service {}", service.name), |transaction| {
            let sql = format!(
                "INSERT INTO services ({COLUMNS}) VALUES (:service_id, :name, :description, :source, :host, :port, \
                 :tags, :replicas, :config, :environment, :desired, :version, :created_at, :updated_at, \
                 :restart_version)"
            );
            put(transaction, &sql, service)?;
            idempotency::note(transaction, creation)?;
            secrets::replace(transaction, &self.key, service.service_id, secrets)
        })
    }

    /// Stores a changed service; false if it does not exist. With `secrets`, those become its only ones; without, the
    /// stored values stay, but those whose names are not in `secret_names` are removed.
    /// [`StoreError::Duplicate`] if its new name is taken.
    pub fn update_service(
        &self,
        service: &Service,
        secrets: Option<&BTreeMap<String, String>>,
    ) -> Result<bool, StoreError> {
        self.write(&format!("store service {}", service.name), |transaction| {
            let sql = "UPDATE services SET name = :name, description = :description, source = :source, host = :host, \
                       port = :port, tags = :tags, replicas = :replicas, config = :config, \
                       environment = :environment, desired = :desired, version = :version, \
                       created_at = :created_at, updated_at = :updated_at, \
                       restart_version = :restart_version WHERE service_id = :service_id";
            if put(transaction, sql, service)? == 0 {
                return Ok(false);
            }
            match secrets {
                Some(values) => secrets::replace(transaction, &self.key, service.service_id, values)?,
                None => secrets::keep_only(transaction, service.service_id, &service.secret_names)?,
            }
            Ok(true)
        })
    }

    /// Stores what the user wants; false if the service does not exist. Does not count as a change of the service: its
    /// version stays.
    pub fn set_desired(&self, id: ServiceId, desired: Desired, now: Timestamp) -> Result<bool, StoreError> {
        self.write(&format!("store that service {id} is to be {desired}"), |transaction| {
            let sql = "UPDATE services SET desired = ?2, updated_at = ?3 WHERE service_id = ?1";
            Ok(transaction.execute(sql, params![Id(id.0), Wanted(desired), Time(now)])? > 0)
        })
    }

    /// Removes a service with its secrets, health checks and totals; false if it does not exist. Its events stay, and so
    /// do its instances: they are removed one by one when nothing of them runs any more.
    pub fn delete_service(&self, id: ServiceId) -> Result<bool, StoreError> {
        self.write(&format!("remove service {id}"), |transaction| {
            peaks::delete(transaction, id)?;
            Ok(transaction.execute("DELETE FROM services WHERE service_id = ?1", [Id(id.0)])? > 0)
        })
    }
}

fn put(connection: &Connection, sql: &str, service: &Service) -> Result<usize, Fault> {
    let result = connection.prepare_cached(sql)?.execute(named_params! {
        ":service_id": Id(service.service_id.0),
        ":name": service.name,
        ":description": service.description,
        ":source": Json(&service.source),
        ":host": service.host,
        ":port": service.port,
        ":tags": Json(&service.tags),
        ":replicas": service.replicas,
        ":config": Json(&service.config),
        ":environment": Json(&service.environment),
        ":desired": Wanted(service.desired),
        ":version": Count(service.version),
        ":created_at": Time(service.created_at),
        ":updated_at": Time(service.updated_at),
        ":restart_version": Count(service.restart_version),
    });
    match result {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::Duplicate { name: service.name.clone() }.into())
        }
        other => Ok(other?),
    }
}

fn service(row: &Row<'_>) -> rusqlite::Result<Service> {
    Ok(Service {
        service_id: ServiceId(row.get::<_, Id>(0)?.0),
        name: row.get(1)?,
        description: row.get(2)?,
        source: row.get::<_, Json<_>>(3)?.0,
        host: row.get(4)?,
        port: row.get(5)?,
        tags: row.get::<_, Json<_>>(6)?.0,
        replicas: row.get(7)?,
        config: row.get::<_, Json<_>>(8)?.0,
        environment: row.get::<_, Json<_>>(9)?.0,
        secret_names: BTreeSet::new(),
        desired: row.get::<_, Wanted>(10)?.0,
        version: row.get::<_, Count>(11)?.0,
        created_at: row.get::<_, Time>(12)?.0,
        updated_at: row.get::<_, Time>(13)?.0,
        restart_version: row.get::<_, Count>(14)?.0,
    })
}
