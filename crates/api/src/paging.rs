//! Pages of lists: how many items, and how many before them; and times in queries. They are checked when the query is read, so that
//! everything that is wrong with it is told at once.

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Items of a page where nothing else is asked for.
pub(crate) const DEFAULT_LIMIT: u32 = 100;

/// Reads a number of items, from 1 to `MOST`.
pub(crate) fn up_to<'de, D: Deserializer<'de>, const MOST: u32>(from: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(from)? {
        limit if (1..=MOST).contains(&limit) => Ok(Some(limit)),
        _ => Err(D::Error::custom(format!("must be from 1 to {MOST}"))),
    }
}

/// Reads a time.
pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(from)?;
    let time = text.parse().map_err(|_| D::Error::custom("must be a time as 2026-01-31T12:00:00Z"))?;
    Ok(Some(time))
}

/// The two together, for lists that are cut from all there is.
pub(crate) fn page(limit: Option<u32>, offset: Option<u32>) -> (usize, usize) {
    (limit.unwrap_or(DEFAULT_LIMIT) as usize, offset.unwrap_or(0) as usize)
}
