//! How our types stand in columns: times as nanoseconds, ids as text, structures as JSON, counters as integers.

use jiff::Timestamp;
use myagent_core::service::Desired;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// A point in time; those outside the years 1677 to 2262 become the nearest inside.
pub(crate) struct Time(pub(crate) Timestamp);

impl Time {
    /// The column's value of a point that lies `age` before `now`.
    pub(crate) fn before(now: Timestamp, age: Duration) -> i64 {
        let age = i128::try_from(age.as_nanos()).unwrap_or(i128::MAX);
        nanoseconds(now.as_nanosecond().saturating_sub(age))
    }
}

fn nanoseconds(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(nanoseconds(self.0.as_nanosecond())))
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let at = Timestamp::from_nanosecond(i128::from(value.as_i64()?));
        at.map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// An id.
pub(crate) struct Id(pub(crate) Uuid);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_string()))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Uuid::try_parse(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// A structure, as JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        text.map(ToSqlOutput::from).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// A path, as it is typed.
pub(crate) struct FilePath<P>(pub(crate) P);

impl<P: AsRef<Path>> ToSql for FilePath<P> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = self.0.as_ref().to_str().map(ToSqlOutput::from);
        let refused = || format!("{} is not UTF-8", self.0.as_ref().display());
        text.ok_or_else(|| rusqlite::Error::ToSqlConversionFailure(refused().into()))
    }
}

impl FromSql for FilePath<PathBuf> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(value.as_str()?.into()))
    }
}

/// A counter. SQLite's integers end at 2^63 - 1, and so do ours then.
pub(crate) struct Count(pub(crate) u64);

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// What the user wants of a service.
pub(crate) struct Wanted(pub(crate) Desired);

impl ToSql for Wanted {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_string()))
    }
}

impl FromSql for Wanted {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "running" => Ok(Self(Desired::Running)),
            "stopped" => Ok(Self(Desired::Stopped)),
            other => Err(FromSqlError::Other(format!("{other:?} is neither running nor stopped").into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds_and_never_wrap() {
        let now: Timestamp = "2026-05-01T10:00:00.123456789Z".parse().unwrap();
        assert_eq!(Time::before(now, Duration::ZERO), 1_777_629_600_123_456_789);
        assert_eq!(Time::before(now, Duration::from_nanos(789)), 1_777_629_600_123_456_000);
        assert_eq!(Time::before(now, Duration::MAX), i64::MIN);
        assert_eq!(nanoseconds(Timestamp::MAX.as_nanosecond()), i64::MAX);
    }

    #[test]
    fn values_that_are_not_ours_are_errors_and_not_guesses() {
        assert!(Id::column_result(ValueRef::Text(b"weather")).is_err());
        assert!(Count::column_result(ValueRef::Integer(-1)).is_err());
        assert!(Json::<Vec<String>>::column_result(ValueRef::Text(b"{")).is_err());
        assert!(Wanted::column_result(ValueRef::Text(b"paused")).is_err());
        assert!(Time::column_result(ValueRef::Null).is_err());
    }
}
