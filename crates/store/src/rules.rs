//! The table `routing_rules`: by which rules clients get to instances. The order in which they are tried is not stored: it
//! follows from priority and age.

use crate::columns::{Count, Id, Json, Time};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use crate::idempotency::{self, Creation};
use myagent_core::RuleId;
use myagent_core::routing::Rule;
use rusqlite::{Connection, ErrorCode, Row, named_params};

impl Store {
    /// All rules, by name.
    pub fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        self.read("list rules", |connection| {
            let sql =
                "SELECT rule_id, spec, version, created_at, updated_at FROM routing_rules ORDER BY name";
            let mut statement = connection.prepare_cached(sql)?;
            let rules = statement.query_map([], rule)?;
            Ok(rules.collect::<Result<_, _>>()?)
        })
    }

    /// Stores a new rule, and that `creation` made it. [`StoreError::DuplicateRule`] if the name is taken.
    pub fn insert_rule(&self, rule: &Rule, creation: Option<&Creation>) -> Result<(), StoreError> {
        self.write(&format!("store rule {:?}", rule.spec.name), |transaction| {
            let sql = "INSERT INTO routing_rules (rule_id, name, spec, version, created_at, updated_at) \
                       VALUES (:rule_id, :name, :spec, :version, :created_at, :updated_at)";
            put(transaction, sql, rule)?;
            idempotency::note(transaction, creation)
        })
    }

    /// Stores a changed rule; false if it does not exist. [`StoreError::DuplicateRule`] if its new name is taken.
    pub fn update_rule(&self, rule: &Rule) -> Result<bool, StoreError> {
        self.write(&format!("store rule {:?}", rule.spec.name), |transaction| {
            let sql = "UPDATE routing_rules SET name = :name, spec = :spec, version = :version, \
                       created_at = :created_at, updated_at = :updated_at WHERE rule_id = :rule_id";
            Ok(put(transaction, sql, rule)? > 0)
        })
    }

    /// Removes a rule; false if it does not exist.
    pub fn delete_rule(&self, id: RuleId) -> Result<bool, StoreError> {
        self.write(&format!("remove rule {id}"), |transaction| {
            Ok(transaction.execute("DELETE FROM routing_rules WHERE rule_id = ?1", [Id(id.0)])? > 0)
        })
    }
}

fn put(connection: &Connection, sql: &str, rule: &Rule) -> Result<usize, Fault> {
    let result = connection.prepare_cached(sql)?.execute(named_params! {
        ":rule_id": Id(rule.rule_id.0),
        ":name": rule.spec.name,
        ":spec": Json(&rule.spec),
        ":version": Count(rule.version),
        ":created_at": Time(rule.created_at),
        ":updated_at": Time(rule.updated_at),
    });
    match result {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::DuplicateRule { name: rule.spec.name.clone() }.into())
        }
        other => Ok(other?),
    }
}

fn rule(row: &Row<'_>) -> rusqlite::Result<Rule> {
    Ok(Rule {
        rule_id: RuleId(row.get::<_, Id>(0)?.0),
        spec: row.get::<_, Json<_>>(1)?.0,
        version: row.get::<_, Count>(2)?.0,
        created_at: row.get::<_, Time>(3)?.0,
        updated_at: row.get::<_, Time>(4)?.0,
    })
}
