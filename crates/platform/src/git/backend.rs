//! Runs git's own HTTP backend as a CGI program, streaming both ways.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use futures::TryStreamExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::task::AbortOnDropHandle;

use super::repository::{Access, RequestPath};

/// How long git may take to begin its answer.
const FIRST_BYTE: Duration = Duration::from_mins(2);
/// The headers of a CGI answer; git's are a few short lines.
const MAX_HEADERS: usize = 32;

/// A git that knows nothing of the machine's or the user's configuration and runs no hooks.
pub(super) fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", "-c", "gc.auto=0"])
        .current_dir(root)
        .kill_on_drop(true);
    command
}

/// Passes one request to git and its answer back.
pub(super) async fn run(
    root: &Path,
    path: &RequestPath,
    request: Request<Body>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let text = |name: HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
    };
    let mut command = git(root);
    command
        .args([
            "-c",
            if path.needs() == Access::Write { "http.receivepack=true" } else { "http.receivepack=false" },
        ])
        // Builds name a commit, and it need not be the tip of a branch.
        .args(["-c", "uploadpack.allowAnySHA1InWant=true"])
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{}/{}", path.repository(), path.endpoint()))
        .env("QUERY_STRING", path.query())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")))
        .env("REMOTE_USER", if path.needs() == Access::Write { "developer" } else { "builds" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("git has no pipes"));
    };
    let mut upload = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    // The upload goes on while git thinks, and may go on while it answers; it ends with the answer.
    let feed = AbortOnDropHandle::new(tokio::spawn(async move {
        // git closes its input early when it has heard enough; its answer tells the rest.
        let _ = tokio::io::copy(&mut upload, &mut stdin).await;
    }));
    let mut stdout = BufReader::new(stdout);
    let mut response = tokio::time::timeout(FIRST_BYTE, read_head(&mut stdout))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "git did not answer in time"))??;
    *response.body_mut() = stream(stdout, (child, feed));
    Ok(response)
}

/// The answer's body; the process and the upload live as long as somebody reads it, and not longer.
fn stream(stdout: BufReader<tokio::process::ChildStdout>, held: (Child, AbortOnDropHandle<()>)) -> Body {
    let body = ReaderStream::with_capacity(stdout, 64 * 1024);
    Body::from_stream(futures::stream::unfold((body, held), |(mut body, held)| async move {
        let next = futures::StreamExt::next(&mut body).await?;
        Some((next, (body, held)))
    }))
}

async fn read_head<R: tokio::io::AsyncBufRead + Unpin>(output: &mut R) -> io::Result<Response<Body>> {
    let mut response = Response::new(Body::empty());
    let mut line = Vec::new();
    for _ in 0..MAX_HEADERS {
        line.clear();
        if output.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "git ended without an answer"));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            return Ok(response);
        }
        let Some((name, value)) = text.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse::<u16>().ok());
            *response.status_mut() =
                code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Err(io::Error::other("git answered with too many headers"))
}
