//! The endpoints, and their OpenAPI description, which is generated from them.

use super::app::App;
use super::refusal::Refusal;
use super::serve::Peer;
use crate::api::{
    ApiError, Applied, ApplyQuery, Drops, Flows, ListQuery, MAX_LIST, MAX_POLICY_BYTES, Rules,
    Status, TopFlows, TopQuery,
};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::{Extension, Json, Router};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Records listed when the client does not say how many.
const DEFAULT_LIST: usize = 100;
/// For a whole policy to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(OpenApi)]
#[openapi(info(
    title = "Bulkhead control socket",
    description = "HTTP/1.1 over a Unix socket: `curl --unix-socket \
                   /run/bulkhead/control.sock http://localhost/v1/status`. Every answer that is \
                   not a success is an `ApiError`."
))]
struct Description;

/// The endpoints without their state, and their description.
fn endpoints() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(status))
        .routes(routes!(rules))
        .routes(routes!(flows))
        .routes(routes!(top_flows))
        .routes(routes!(drops))
        .routes(routes!(apply))
        .routes(routes!(openapi))
}

/// The OpenAPI description of the control socket.
pub fn description() -> utoipa::openapi::OpenApi {
    endpoints().into_openapi()
}

/// Everything the control socket serves.
pub(super) fn router(app: Arc<App>) -> Router {
    let (router, _) = endpoints().split_for_parts();
    router.fallback(not_found).method_not_allowed_fallback(wrong_method).with_state(app)
}

/// The gateway as a whole: ports, workers, policy, warnings, conservation.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
async fn status(State(app): State<Arc<App>>) -> Result<Json<Status>, Refusal> {
    read(app, |app| app.status()).await
}

/// The rules in force, in order, with their hits.
#[utoipa::path(get, path = "/v1/rules", responses((status = 200, body = Rules)))]
async fn rules(State(app): State<Arc<App>>) -> Result<Json<Rules>, Refusal> {
    read(app, |app| app.rules()).await
}

/// Open flows.
#[utoipa::path(get, path = "/v1/flows", params(ListQuery), responses(
    (status = 200, body = Flows),
    (status = 400, description = "A parameter is wrong", body = ApiError),
))]
async fn flows(
    State(app): State<Arc<App>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Flows>, Refusal> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = limit(query.limit)?;
    read(app, move |app| app.flows(limit)).await
}

/// The sources that opened most of the open flows, or the rules that allow most of them.
#[utoipa::path(get, path = "/v1/flows/top", params(TopQuery), responses(
    (status = 200, body = TopFlows),
    (status = 400, description = "A parameter is wrong", body = ApiError),
))]
async fn top_flows(
    State(app): State<Arc<App>>,
    query: Result<Query<TopQuery>, QueryRejection>,
) -> Result<Json<TopFlows>, Refusal> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = limit(query.limit)?;
    read(app, move |app| app.top_flows(query.by, limit)).await
}

/// What was dropped, by port and reason, and the last packets that were.
#[utoipa::path(get, path = "/v1/drops", params(ListQuery), responses(
    (status = 200, body = Drops),
    (status = 400, description = "A parameter is wrong", body = ApiError),
))]
async fn drops(
    State(app): State<Arc<App>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Drops>, Refusal> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = limit(query.limit)?;
    read(app, move |app| app.drops(limit)).await
}

/// Puts a policy in force: the body is its YAML.
///
/// It is compiled beside the traffic and published whole; the answer comes when every worker
/// judges by it, and tells which of its rules could be left out. A policy that is invalid changes
/// nothing.
#[utoipa::path(post, path = "/v1/apply", params(ApplyQuery),
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 200, body = Applied),
        (status = 400, description = "A parameter is wrong", body = ApiError),
        (status = 408, description = "The policy did not arrive in time", body = ApiError),
        (status = 409, description = "`if_generation` is not in force", body = ApiError),
        (status = 413, description = "The policy is larger than 64 MiB", body = ApiError),
        (status = 422, description = "The policy is invalid", body = ApiError),
        (status = 504, description = "A worker did not take the table in time", body = ApiError),
    ))]
async fn apply(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<ApplyQuery>, QueryRejection>,
    body: Body,
) -> Result<Json<Applied>, Refusal> {
    let Query(query) = query.map_err(bad_query)?;
    let body = tokio::time::timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_elapsed| {
        let message = format!("the policy did not arrive within {BODY_TIMEOUT:?}");
        Refusal::new(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    app.apply(peer, query, body).await.map(Json)
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "OpenAPI 3.1 document", content_type = "application/json")
))]
async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}

async fn not_found(method: Method, uri: Uri) -> Refusal {
    let message = format!("there is no {method} {}; see GET /openapi.json", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, message)
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{} does not take {method}; see GET /openapi.json", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

fn bad_query(rejection: QueryRejection) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

fn limit(asked: Option<usize>) -> Result<usize, Refusal> {
    let limit = asked.unwrap_or(DEFAULT_LIST);
    if limit > MAX_LIST {
        let message = format!("limit {limit} is more than {MAX_LIST}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(limit)
}

/// Runs `make` where it may take its time: other connections go on.
async fn read<T: Send + 'static>(
    app: Arc<App>,
    make: impl FnOnce(&App) -> T + Send + 'static,
) -> Result<Json<T>, Refusal> {
    let made = tokio::task::spawn_blocking(move || make(&app)).await;
    made.map(Json).map_err(|_panicked| Refusal::internal())
}

/// The whole body, if it is no larger than [`MAX_POLICY_BYTES`].
///
/// What is over the limit is read and thrown away, up to as much again: a client that is still
/// sending when its connection closes would not see why.
async fn collect(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= MAX_POLICY_BYTES {
            kept.extend_from_slice(&data);
        } else if seen > 2 * MAX_POLICY_BYTES {
            break;
        }
    }
    if seen > MAX_POLICY_BYTES {
        let message = format!("the policy is larger than {} MiB", MAX_POLICY_BYTES >> 20);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_the_description_is_the_crates() {
        let info = description().info;
        assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    }

    #[tokio::test]
    async fn a_body_is_kept_up_to_the_limit_and_refused_beyond() {
        let body = |bytes| Body::from(vec![b' '; bytes]);
        assert_eq!(collect(body(MAX_POLICY_BYTES)).await.unwrap().len(), MAX_POLICY_BYTES);
        assert!(collect(body(MAX_POLICY_BYTES + 1)).await.is_err());
    }
}
