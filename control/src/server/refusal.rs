//! Answers that are not a success: a status code and an [`ApiError`].

use crate::api::ApiError;
use crate::diagnostic::Diagnostics;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::fmt;

/// Why a request was not served.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    document: ApiError,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let document = ApiError { error: error.into(), diagnostics: Vec::new() };
        Refusal { status, document }
    }

    /// The policy is wrong.
    pub(super) fn invalid(Diagnostics(diagnostics): Diagnostics) -> Self {
        let error = match diagnostics.len() {
            1 => "the policy is invalid: 1 error; nothing was changed".into(),
            n => format!("the policy is invalid: {n} errors; nothing was changed"),
        };
        let document = ApiError { error, diagnostics };
        Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, document }
    }

    /// A bug: the task that served the request panicked.
    pub(super) fn internal() -> Self {
        let message = "internal error; the gateway's standard error has the details";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl fmt::Display for Refusal {
    /// One line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.document.error)?;
        match self.document.diagnostics.first() {
            Some(first) => write!(f, "; first: {first}"),
            None => Ok(()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.document)).into_response()
    }
}
