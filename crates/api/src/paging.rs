//! Pages of lists: how many items, and how many before them.

use crate::error::ApiError;
use myagent_core::FieldError;

/// Items of a page where nothing else is asked for.
pub(crate) const DEFAULT_LIMIT: u32 = 100;
/// Most items of a page.
pub(crate) const MAX_LIMIT: u32 = 1000;

/// Checks the number of items that is asked for.
pub(crate) fn limit(given: Option<u32>, default: u32, most: u32) -> Result<usize, ApiError> {
    match given.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit as usize),
        _ => Err(ApiError::from(vec![FieldError::new("limit", format!("must be from 1 to {most}"))])),
    }
}

/// The two together, for lists that are cut from all there is.
pub(crate) fn page(limit: Option<u32>, offset: Option<u32>) -> Result<(usize, usize), ApiError> {
    Ok((self::limit(limit, DEFAULT_LIMIT, MAX_LIMIT)?, offset.unwrap_or(0) as usize))
}
