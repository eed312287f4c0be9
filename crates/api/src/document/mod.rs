//! The OpenAPI document: made from the endpoints, completed with what is the same for all of them, and shown at `/docs`.

mod bodies;
mod complete;
mod examples;

pub(crate) use bodies::{ChangesBody, DryRunBody, NewServiceBody, RuleBody, RuleChangesBody, ServiceBody};

use crate::error::ApiError;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use myagent_core::Code;
use std::sync::{Arc, LazyLock};
use utoipa::openapi::{ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

/// What is said of the whole.
pub(crate) fn base() -> OpenApi {
    let licence =
        LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("MyAgent Manager")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(include_str!("description.md")))
        .license(Some(licence))
        .contact(None::<ContactBuilder>.map(ContactBuilder::build))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// The document of the public API, as JSON.
pub fn openapi_json() -> String {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let document = complete::complete(crate::public_routes().into_openapi());
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to write the OpenAPI document");
            "{}".to_owned()
        });
        text.push('\n');
        text
    });
    JSON.clone()
}

/// `/openapi.json` and `/docs`, a page that tries it out; everything it needs is in the binary.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let json = get(async || ([(header::CONTENT_TYPE, "application/json")], openapi_json()));
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none"));
    let page = move |file: String| {
        let config = Arc::clone(&config);
        async move { asset(&file, config) }
    };
    let index = page.clone();
    Router::new()
        .route("/openapi.json", json)
        .route("/docs", get(async || axum::response::Redirect::permanent("/docs/")))
        .route("/docs/", get(move || index("index.html".to_owned())))
        .route(
            "/docs/errors/{code}",
            get(|axum::extract::Path(code): axum::extract::Path<String>| async move { about(&code) }),
        )
        .route("/docs/{file}", get(move |axum::extract::Path(file): axum::extract::Path<String>| page(file)))
}

/// What a problem's `type` leads to: what the code means, and what to do about it.
fn about(code: &str) -> Result<String, ApiError> {
    let known = Code::ALL.iter().find(|known| known.to_string() == code);
    let known = known.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no code {code:?}")))?;
    Ok(format!(
        "{known} (HTTP {})\n\nWhat it means: {}.\nWhat to do: {}.\n",
        known.status(),
        known.meaning(),
        known.remedy()
    ))
}

fn asset(file: &str, config: Arc<utoipa_swagger_ui::Config<'static>>) -> axum::response::Response {
    use axum::response::IntoResponse;
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(file)) => {
            ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response()
        }
        Ok(None) => {
            ApiError::new(Code::NotFound, format!("there is nothing at /docs/{file}")).into_response()
        }
        Err(error) => ApiError::new(Code::Internal, error.to_string()).into_response(),
    }
}
