//! `GET /api/v1/routing/rules?enabled=&search=&limit=&offset=`: a page of the rules, in the order in which they are tried.

use crate::Ctx;
use crate::extract::Params;
use crate::paging;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::{Page, RuleView};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only those that are tried, or only those that are not.
    enabled: Option<bool>,
    /// A part of the name or the description, in any case.
    search: Option<String>,
    /// Items of the page, at most 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    #[serde(deserialize_with = "paging::up_to::<_, 1000>")]
    limit: Option<u32>,
    /// Items before it.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0)]
    offset: Option<u32>,
}

/// Lists the rules in the order in which they are tried.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "list_rules",
    tag = "routing",
    params(ListQuery),
    responses((status = 200, description = "A page of rules.", body = Page<RuleView>))
)]
pub(crate) async fn get(State(shared): Ctx, Params(query): Params<ListQuery>) -> Json<Page<RuleView>> {
    Json(select(shared.control.rules(), &query))
}

fn select(mut all: Vec<RuleView>, query: &ListQuery) -> Page<RuleView> {
    let (limit, offset) = paging::page(query.limit, query.offset);
    if let Some(enabled) = query.enabled {
        all.retain(|view| view.rule.spec.enabled == enabled);
    }
    if let Some(search) = &query.search {
        let wanted = search.to_lowercase();
        let has = |text: &String| text.to_lowercase().contains(&wanted);
        all.retain(|view| has(&view.rule.spec.name) || has(&view.rule.spec.description));
    }
    Page::cut(all, limit, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, enabled: bool) -> RuleView {
        serde_json::from_value(serde_json::json!({
            "rule_id": uuid::Uuid::nil(), "name": name, "enabled": enabled, "description": "For The Few",
            "created_at": "1970-01-01T00:00:00Z", "updated_at": "1970-01-01T00:00:00Z", "version": 1,
        }))
        .unwrap()
    }

    #[test]
    fn the_order_stays_and_filters_narrow() {
        let check = |query: &str, expected: &str| {
            let uri: axum::http::Uri = format!("/?{query}").parse().unwrap();
            let query: ListQuery = axum::extract::Query::try_from_uri(&uri).unwrap().0;
            let all = vec![view("vip", true), view("mobile", false), view("all", true)];
            let page = select(all, &query);
            let names: Vec<_> = page.items.iter().map(|view| view.rule.spec.name.as_str()).collect();
            assert_eq!(format!("{} of {}", names.join(" "), page.total), expected, "{uri}");
        };
        check("", "vip mobile all of 3");
        check("enabled=true", "vip all of 2");
        check("enabled=false", "mobile of 1");
        check("search=VIP", "vip of 1");
        check("search=few&limit=1&offset=1", "mobile of 3");
    }
}
