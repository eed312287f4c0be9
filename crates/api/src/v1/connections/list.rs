//! `GET /api/v1/connections?service=&instance=&status=&rule=&client_ip=&session_id=&search=&sort=&limit=&offset=`: a page of the
//! open connections, the newest first.

use crate::error::{ApiError, Result};
use crate::extract::Params;
use crate::paging;
use crate::{Ctx, Shared};
use axum::extract::State;
use axum::response::Json;
use myagent_core::ConnectionId;
use myagent_core::connections::{Filter, Order};
use myagent_core::view::{ConnectionStatus, ConnectionView, Page};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// A service, by name or id.
    pub(crate) service: Option<String>,
    instance: Option<String>,
    /// States, separated by commas.
    status: Option<String>,
    rule: Option<String>,
    client_ip: Option<String>,
    session_id: Option<String>,
    /// A part of an id, the address, the user agent, the instance or the rule, in any case.
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
    /// In place of `offset`: only what comes after the connection with this id, whether it is still open or not. So no connection is
    /// left out or comes twice while others open and close; only in the order by `connection_id`.
    after: Option<String>,
}

/// Lists open connections, the newest first.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "list_connections",
    tag = "connections",
    params(ListQuery),
    responses((status = 200, description = "A page of connections.", body = Page<ConnectionView>), (status = 404))
)]
pub(crate) async fn get(
    State(shared): Ctx,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<ConnectionView>>> {
    page(&shared, query)
}

/// The page that is asked for.
pub(crate) fn page(shared: &Shared, query: ListQuery) -> Result<Json<Page<ConnectionView>>> {
    let service = query.service.as_deref().map(|name| shared.control.service(name)).transpose()?;
    let (mut filter, order, page) = read(query)?;
    filter.service = service.map(|service| service.service_id);
    Ok(Json(shared.control.connections(&filter, order, page)))
}

/// What is asked for, but for the service.
fn read(query: ListQuery) -> Result<(Filter, Order, (usize, usize))> {
    let (limit, offset) = paging::page(query.limit, query.offset);
    let sort = query.sort.as_deref().map(Order::parse).transpose();
    let order = sort.map_err(|message| ApiError::field("sort", message))?.unwrap_or_default();
    let ip = query.client_ip.map(|text| {
        text.parse().map_err(|_| ApiError::field("client_ip", format!("{text:?} is not an IP address")))
    });
    let after = query.after.as_deref().map(str::parse::<ConnectionId>).transpose();
    let after =
        after.map_err(|_| ApiError::field("after", "must be the id of a connection, the whole of it"))?;
    if after.is_some() && (offset != 0 || !order.is_by_id()) {
        return Err(ApiError::field("after", "goes with the order by connection_id, and without offset"));
    }
    let filter = Filter {
        service: None,
        after,
        instance: query.instance,
        status: query.status.as_deref().map(states).transpose()?,
        rule: query.rule,
        client_ip: ip.transpose()?,
        session_id: query.session_id,
        search: query.search,
    };
    Ok((filter, order, (limit, offset)))
}

fn states(text: &str) -> Result<Vec<ConnectionStatus>> {
    let state = |word: &str| {
        ConnectionStatus::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
            let known = ConnectionStatus::ALL.map(ConnectionStatus::as_str).join(", ");
            ApiError::field("status", format!("{word:?} is not one of {known}"))
        })
    };
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str) -> std::result::Result<(Filter, Order, (usize, usize)), String> {
        let uri: axum::http::Uri = format!("/?{query}").parse().unwrap();
        let query: ListQuery = axum::extract::Query::try_from_uri(&uri).unwrap().0;
        read(query).map_err(|error| error.0.detail)
    }

    #[test]
    fn a_query_is_read_and_what_is_wrong_with_it_named() {
        assert_eq!(check("").unwrap(), (Filter::default(), Order::default(), (100, 0)));
        let (filter, order, page) =
            check("status=idle,closing&client_ip=::1&sort=-rule&limit=5&offset=7&search=x").unwrap();
        assert_eq!(filter.status, Some(vec![ConnectionStatus::Idle, ConnectionStatus::Closing]));
        assert_eq!((filter.client_ip, filter.search.as_deref()), ("::1".parse().ok(), Some("x")));
        assert_eq!((order, page), (Order::parse("-rule").unwrap(), (5, 7)));
        for (query, message) in [
            ("client_ip=here", "client_ip: \"here\" is not an IP address"),
            ("after=7", "after: must be the id of a connection"),
            (
                "after=00000000-0000-0000-0000-000000000001&sort=rule",
                "after: goes with the order by connection_id",
            ),
            ("status=gone", "status: \"gone\" is not one of active, idle, closing"),
            ("sort=x", "sort: \"x\" is not one of connection_id, connected_at, "),
        ] {
            assert!(check(query).unwrap_err().starts_with(message), "{query}");
        }
    }
}
