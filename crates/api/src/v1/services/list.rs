//! `GET /api/v1/services?status=&tags=&search=&sort=&limit=&offset=`: a page of the services.

use crate::Ctx;
use crate::error::{ApiError, Result};
use crate::extract::Params;
use crate::paging;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use myagent_core::Code;
use myagent_core::instance::InstanceState;
use myagent_core::view::{Page, ServiceView};
use serde::Deserialize;
use std::cmp::Ordering;
use std::io::Write;
use std::sync::Arc;
use utoipa::IntoParams;

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// States, separated by commas.
    status: Option<String>,
    /// Tags, separated by commas; a service must have all of them.
    tags: Option<String>,
    /// A part of the name, the description or a tag, in any case.
    search: Option<String>,
    /// A field; `-` before it: backwards.
    sort: Option<String>,
    /// Items of the page, at most 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    #[serde(deserialize_with = "paging::up_to::<_, 1000>")]
    limit: Option<u32>,
    /// Items before it.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0)]
    offset: Option<u32>,
    /// In place of `offset`: only what comes after the service of this name, whether there is still one or not. So no service is left
    /// out or comes twice while others come and go; only in the order by `name`.
    after: Option<String>,
}

/// Lists services.
///
/// Sorted by name, or by what `sort` says; those that are equal by name.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "list_services",
    tag = "services",
    params(ListQuery),
    responses((status = 200, description = "A page of services.", body = Page<ServiceView>))
)]
pub(crate) async fn get(State(shared): Ctx, Params(query): Params<ListQuery>) -> Result<Response> {
    let all = shared.control.services();
    let page = select(all.clone(), &query)?;
    let mut body = Vec::with_capacity(64 + page.items.len() * 2048);
    body.extend_from_slice(b"{\"items\":[");
    let defect = |error: String| ApiError::new(Code::Internal, error);
    shared.fragments.write(&mut body, &page.items, &all).map_err(|error| defect(error.to_string()))?;
    let Page { total, limit, offset, has_more, .. } = page;
    let rest = format!("],\"total\":{total},\"limit\":{limit},\"offset\":{offset},\"has_more\":{has_more}}}");
    body.write_all(rest.as_bytes()).map_err(|error| defect(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The page of `all` (sorted by name) that is asked for.
fn select(mut all: Vec<Arc<ServiceView>>, query: &ListQuery) -> Result<Page<Arc<ServiceView>>> {
    let (limit, offset) = paging::page(query.limit, query.offset);
    if let Some(status) = &query.status {
        let wanted = states(status)?;
        all.retain(|view| wanted.contains(&view.status));
    }
    if let Some(tags) = &query.tags {
        let wanted: Vec<&str> = words(tags).collect();
        all.retain(|view| wanted.iter().all(|tag| view.tags.contains(*tag)));
    }
    if let Some(search) = &query.search {
        let wanted = search.to_lowercase();
        let has = |text: &String| text.to_lowercase().contains(&wanted);
        all.retain(|view| has(&view.name) || has(&view.description) || view.tags.iter().any(has));
    }
    let (field, backwards) = match &query.sort {
        None => ("name", false),
        Some(sort) => sort.strip_prefix('-').map_or((sort.as_str(), false), |field| (field, true)),
    };
    let order = order(field)?;
    // Stable, so that equal ones stay sorted by name.
    all.sort_by(|a, b| if backwards { order(b, a) } else { order(a, b) });
    let Some(after) = &query.after else { return Ok(Page::cut(all, limit, offset)) };
    if offset != 0 || field != "name" {
        return Err(ApiError::field("after", "goes with the order by name, and without offset"));
    }
    let total = all.len();
    all.retain(|view| if backwards { view.name < *after } else { view.name > *after });
    let offset = total - all.len();
    let has_more = all.len() > limit;
    all.truncate(limit);
    Ok(Page { items: all, total, limit, offset, has_more })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn states(text: &str) -> Result<Vec<InstanceState>> {
    let state = |word: &str| {
        InstanceState::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
            let known = InstanceState::ALL.map(InstanceState::as_str).join(", ");
            ApiError::field("status", format!("{word:?} is not one of {known}"))
        })
    };
    words(text).map(state).collect()
}

type Order = fn(&Arc<ServiceView>, &Arc<ServiceView>) -> Ordering;

fn order(field: &str) -> Result<Order> {
    Ok(match field {
        "name" => |a, b| a.name.cmp(&b.name),
        "status" => |a, b| a.status.cmp(&b.status),
        "created_at" => |a, b| a.created_at.cmp(&b.created_at),
        "started_at" => |a, b| a.started_at.cmp(&b.started_at),
        "replicas" => |a, b| a.replicas.cmp(&b.replicas),
        "restart_count" => |a, b| a.restart_count.cmp(&b.restart_count),
        "active_connections" => |a, b| a.stats.active_connections.cmp(&b.stats.active_connections),
        _ => {
            return Err(ApiError::field(
                "sort",
                format!(
                    "{field:?} is not one of name, status, created_at, started_at, replicas, restart_count, \
                     active_connections"
                ),
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;

    fn fleet() -> Vec<Arc<ServiceView>> {
        let mut views: Vec<_> = ["alpha", "beta", "gamma", "delta"]
            .into_iter()
            .zip(1..)
            .map(|(name, number)| view(name, number))
            .collect();
        views[0].status = InstanceState::Running;
        views[1].tags = ["chat".to_owned(), "eu".to_owned()].into();
        views[2].tags = ["chat".to_owned()].into();
        views[3].description = "Knows the Alps".to_owned();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views.into_iter().map(Arc::new).collect()
    }

    /// The names of the page, and whether there are more; or the message.
    fn check(query: &str, expected: &str) {
        let uri: axum::http::Uri = format!("/?{query}").parse().unwrap();
        let query: ListQuery = axum::extract::Query::try_from_uri(&uri).unwrap().0;
        let found = match select(fleet(), &query) {
            Ok(page) => {
                let names: Vec<&str> = page.items.iter().map(|view| view.name.as_str()).collect();
                format!("{} of {}{}", names.join(" "), page.total, if page.has_more { "+" } else { "" })
            }
            Err(error) => error.0.detail,
        };
        assert_eq!(found, expected, "{uri}");
    }

    #[test]
    fn pages_filters_and_orders_do_what_they_say() {
        check("", "alpha beta delta gamma of 4");
        check("limit=2", "alpha beta of 4+");
        check("limit=2&offset=2", "delta gamma of 4");
        check("offset=9", " of 4");
        check("status=running", "alpha of 1");
        check("status=running,stopped&limit=1&offset=1", "beta of 4+");
        check("tags=chat", "beta gamma of 2");
        check("tags=chat,eu", "beta of 1");
        check("search=ALP", "alpha delta of 2");
        check("search=chat", "beta gamma of 2");
        check("sort=-name", "gamma delta beta alpha of 4");
        check("limit=2&after=beta", "delta gamma of 4");
        check("limit=1&after=beta", "delta of 4+");
        check("after=c&tags=chat", "gamma of 2");
        check("after=delta&sort=-name", "beta alpha of 4");
        check("after=zebra", " of 4");
        check("after=beta&sort=status", "after: goes with the order by name, and without offset");
        check("after=beta&offset=1", "after: goes with the order by name, and without offset");
        check("sort=created_at", "alpha beta gamma delta of 4");
        check("sort=-status", "alpha beta delta gamma of 4");
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        check(
            "status=up",
            "status: \"up\" is not one of stopped, stopping, error, unhealthy, starting, running",
        );
        check(
            "sort=colour",
            "sort: \"colour\" is not one of name, status, created_at, started_at, replicas, restart_count, \
             active_connections",
        );
    }
}
