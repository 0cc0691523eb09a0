//! The other end of the control socket.

use crate::api::{
    ApiError, Applied, ApplyQuery, Drops, Flows, ListQuery, MAX_POLICY_BYTES, Rules, Status, TopBy,
    TopFlows, TopQuery,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// For a question about the running gateway.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For a policy to be compiled and swapped in, those that came before it included.
const APPLY_TIMEOUT: Duration = Duration::from_secs(600);

/// Why the gateway did not do what it was asked.
#[derive(Debug)]
pub enum ClientError {
    /// Nothing listens on the socket.
    NoGateway(PathBuf),
    /// The socket is there and cannot be used.
    Connect(PathBuf, io::Error),
    /// The gateway answered, and not with success.
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        error: ApiError,
    },
    /// The gateway did not answer in this time.
    Timeout(Duration),
    /// The connection broke, or the answer is not what this program understands.
    Exchange(String),
    /// The policy is larger than a gateway takes, bytes.
    TooLarge(usize),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NoGateway(path) => write!(
                f,
                "no gateway is listening on {}; start one with `bulkhead run --config \
                 gateway.yaml` or name its socket with --socket",
                path.display()
            ),
            ClientError::Connect(path, error) => {
                write!(f, "control socket {}: {error}", path.display())?;
                if error.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str("; only its owner and group may use it: try with sudo")?;
                }
                Ok(())
            }
            ClientError::Refused { error, .. } => f.write_str(&error.error),
            ClientError::Timeout(limit) => {
                write!(f, "the gateway did not answer within {limit:?}")
            }
            ClientError::Exchange(what) => write!(f, "talking to the gateway: {what}"),
            ClientError::TooLarge(bytes) => write!(
                f,
                "the policy has {bytes} bytes; a gateway takes up to {} MiB",
                MAX_POLICY_BYTES >> 20
            ),
        }
    }
}

impl std::error::Error for ClientError {}

/// Asks the gateway behind one control socket; each question is a connection of its own.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
}

impl Client {
    /// A client of the gateway at `socket`; connects when asked something.
    ///
    /// # Errors
    /// If the system gives no resources for it.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Client { socket: socket.into(), runtime })
    }

    /// The gateway as a whole.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status")
    }

    /// The rules in force.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn rules(&self) -> Result<Rules, ClientError> {
        self.get("/v1/rules")
    }

    /// Up to `limit` open flows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn flows(&self, limit: Option<usize>) -> Result<Flows, ClientError> {
        self.get(&target("/v1/flows", &ListQuery { limit })?)
    }

    /// Up to `limit` of the sources or rules with most open flows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn top_flows(&self, by: TopBy, limit: Option<usize>) -> Result<TopFlows, ClientError> {
        self.get(&target("/v1/flows/top", &TopQuery { by, limit })?)
    }

    /// What was dropped, and up to `limit` of the last packets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn drops(&self, limit: Option<usize>) -> Result<Drops, ClientError> {
        self.get(&target("/v1/drops", &ListQuery { limit })?)
    }

    /// Puts the policy `text` in force, on condition that `if_generation` is, if given; `file` is
    /// what messages call it.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientError::Refused) with the diagnostics if the policy is
    /// invalid.
    pub fn apply(
        &self,
        file: &str,
        text: String,
        if_generation: Option<u64>,
    ) -> Result<Applied, ClientError> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(ClientError::TooLarge(text.len()));
        }
        let query = ApplyQuery { if_generation, file: Some(file.into()) };
        let target = target("/v1/apply", &query)?;
        self.exchange(Method::POST, &target, text.into(), APPLY_TIMEOUT)
    }

    fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.exchange(Method::GET, target, Bytes::new(), READ_TIMEOUT)
    }

    fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let exchange = self.send(method, target, body);
        let timed = self.runtime.block_on(async { tokio::time::timeout(limit, exchange).await });
        let (status, answer) = timed.map_err(|_elapsed| ClientError::Timeout(limit))??;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| {
                ClientError::Exchange(format!(
                    "its answer is not understood ({error}); is it of another version?"
                ))
            });
        }
        match serde_json::from_slice(&answer) {
            Ok(error) => Err(ClientError::Refused { status, error }),
            Err(_) => Err(ClientError::Exchange(format!("it answered {status}"))),
        }
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error: hyper::Error| ClientError::Exchange(error.to_string());
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoGateway(self.socket.clone())
                }
                _ => ClientError::Connect(self.socket.clone(), error),
            })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its errors reach us through the request's.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/yaml")
            .body(Full::new(body))
            .map_err(|error| ClientError::Exchange(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let answer = response.into_body().collect().await.map_err(broken)?;
        Ok((status, answer.to_bytes()))
    }
}

/// `path?query`, escaped.
fn target(path: &str, query: &impl Serialize) -> Result<String, ClientError> {
    let query = serde_urlencoded::to_string(query)
        .map_err(|error| ClientError::Exchange(error.to_string()))?;
    Ok(if query.is_empty() { path.into() } else { format!("{path}?{query}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_absent_parameters_left_out() {
        let query = ApplyQuery { if_generation: Some(3), file: Some("a b&c=ü.yaml".into()) };
        let target = target("/v1/apply", &query).unwrap();
        assert_eq!(target, "/v1/apply?if_generation=3&file=a+b%26c%3D%C3%BC.yaml");
        assert_eq!(super::target("/v1/flows", &ListQuery { limit: None }).unwrap(), "/v1/flows");
        let query = TopQuery { by: TopBy::Rule, limit: Some(7) };
        let target = super::target("/v1/flows/top", &query).unwrap();
        assert_eq!(target, "/v1/flows/top?by=rule&limit=7");
    }
}
