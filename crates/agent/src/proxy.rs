//! Forward proxies on the way to the gateway, as the environment names them. What goes through one is the TLS connection to the
//! gateway: a proxy sees where to, and nothing else.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use buildplane_tls::{Alpn, ClientIdentity, TrustAnchors, connect};

use crate::connect::{Connect, ConnectFailure, Connecting, Direct, Io, tcp};

mod except;

use except::Except;

/// A proxy's answer to CONNECT.
const ANSWER_BYTES: usize = 16 * 1024;
const ANSWER_HEADERS: usize = 64;
/// A proxy's own TLS handshake; the whole way is bounded by who dials.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// The way to the gateway through the proxy that the environment names, or past it.
#[derive(Debug, Clone)]
pub struct Proxied {
    proxy: ProxyUrl,
    except: Except,
    /// What the proxy's own certificate must verify under, where it is spoken to over TLS.
    anchors: Option<TrustAnchors>,
}

/// Why the proxy that is named cannot be used. Never repeats the address, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// The text is no proxy's address.
    #[error("the proxy in {variable} is not of the form http[s]://[user:password@]host[:port]")]
    Url {
        /// Where it stands.
        variable: &'static str,
    },
    /// It is spoken to over TLS, and nothing is trusted for that.
    #[error(
        "the proxy in {variable} is spoken to over TLS, and there is no CA to verify it under; name one with --extra-ca"
    )]
    NoAnchors {
        /// Where it stands.
        variable: &'static str,
    },
}

/// Variables that name a proxy, the first that is set counts. The connection is TLS, so `HTTPS_PROXY` is meant; a network that
/// names one way out only, names it in `HTTP_PROXY`.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"];

impl Proxied {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (also in lower case, which comes first); none where no proxy is named.
    /// A variable that is set to nothing means no proxy.
    ///
    /// `anchors` verify the proxy's own certificate, and nothing else: a gateway is believed under its configured CA alone,
    /// so that a proxy which breaks TLS open is noticed and not believed.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        anchors: Option<TrustAnchors>,
    ) -> Result<Option<Self>, InvalidProxy> {
        let named = VARIABLES.iter().find_map(|name| Some((*name, variable(name)?)));
        let Some((name, text)) = named.filter(|(_, text)| !text.trim().is_empty()) else { return Ok(None) };
        let proxy = ProxyUrl::parse(text.trim()).ok_or(InvalidProxy::Url { variable: name })?;
        if proxy.is_tls && anchors.is_none() {
            return Err(InvalidProxy::NoAnchors { variable: name });
        }
        let except = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variable(name)).unwrap_or_default();
        Ok(Some(Self { proxy, except: Except::parse(&except), anchors }))
    }
}

impl Connect for Proxied {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        if self.except.covers(host, port) {
            return Direct.connect(host, port);
        }
        Box::pin(async move {
            let proxy = tcp(&self.proxy.address()).await?;
            let Some(anchors) = self.anchors.as_ref().filter(|_anchors| self.proxy.is_tls) else {
                return self.proxy.tunnel(Box::new(proxy), (host, port)).await;
            };
            let failed = |source: Box<dyn std::error::Error + Send + Sync>| ConnectFailure::ProxyTls {
                proxy: self.proxy.to_string(),
                source,
            };
            let tls = ClientIdentity::anonymous().client_config(anchors, &[Alpn::Http1]);
            let tls = tls.map_err(|error| failed(Box::new(error)))?;
            let stream = connect(tls, &self.proxy.host, proxy, HANDSHAKE).await;
            self.proxy.tunnel(Box::new(stream.map_err(|error| failed(Box::new(error)))?), (host, port)).await
        })
    }
}

/// A proxy's address. Shown without the login.
#[derive(Clone)]
struct ProxyUrl {
    is_tls: bool,
    host: String,
    port: u16,
    login: Option<HeaderValue>,
}

impl ProxyUrl {
    fn parse(text: &str) -> Option<Self> {
        let (is_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return None,
            None => (false, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, authority) = match rest.rsplit_once('@') {
            Some((login, authority)) => (Some(login), authority),
            None => (None, rest),
        };
        let authority: http::uri::Authority = authority.parse().ok()?;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() != authority.host() => return None,
            None if is_tls => 443,
            None => 80,
        };
        if authority.host().is_empty() {
            return None;
        }
        let login = login.map(basic).map_or(Ok(None), |login| login.map(Some).ok_or(())).ok()?;
        Some(Self { is_tls, host: authority.host().to_owned(), port, login })
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Asks for a connection to the gateway, and becomes it.
    async fn tunnel(
        &self,
        io: Box<dyn Io>,
        (host, port): (&str, u16),
    ) -> Result<Box<dyn Io>, ConnectFailure> {
        let failed = |source: hyper::Error| ConnectFailure::Proxy { proxy: self.to_string(), source };
        let target = format!("{host}:{port}");
        let mut request = Request::connect(&target)
            .header(header::HOST, &target)
            .body(Empty::<Bytes>::new())
            .map_err(|source| ConnectFailure::Target { target, source })?;
        if let Some(login) = &self.login {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, login.clone());
        }
        let (mut send, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(ANSWER_BYTES)
            .max_headers(ANSWER_HEADERS)
            .handshake(TokioIo::new(io))
            .await
            .map_err(failed)?;
        let asked = async move {
            let response = send.send_request(request).await.map_err(failed)?;
            if response.status() != StatusCode::OK {
                return Err(ConnectFailure::ProxyRefused {
                    proxy: self.to_string(),
                    status: response.status(),
                });
            }
            hyper::upgrade::on(response).await.map_err(failed)
        };
        let mut asked = std::pin::pin!(asked);
        let upgraded = tokio::select! {
            upgraded = &mut asked => upgraded?,
            // It ends by itself once it has handed over what it read.
            _ended = connection.with_upgrades() => asked.await?,
        };
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `user:password`, percent-encoded as in URLs, as a header that no debug output shows.
fn basic(login: &str) -> Option<HeaderValue> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let login = [decoded(user)?, b":".to_vec(), decoded(password)?].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(login))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece.get(..2).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    Some(bytes)
}

/// An address as a URL's host may write it.
fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Proxied>, InvalidProxy> {
        let variable =
            |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Proxied::from_variables(variable, None)
    }

    #[test]
    fn the_environment_names_a_proxy_or_none() {
        let shown = |pairs: &[(&str, &str)]| read(pairs).unwrap().map(|proxied| proxied.proxy.to_string());
        for (pairs, expected) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://proxy:3128")][..], Some("http://proxy:3128")),
            (&[("HTTPS_PROXY", "proxy:3128/")][..], Some("http://proxy:3128")),
            (&[("HTTPS_PROXY", "http://proxy")][..], Some("http://proxy:80")),
            (&[("HTTPS_PROXY", "http://[::1]:3128")][..], Some("http://[::1]:3128")),
            (&[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b")][..], Some("http://b:80")),
            (&[("HTTP_PROXY", "http://a"), ("HTTPS_PROXY", "http://b")][..], Some("http://b:80")),
            (&[("HTTP_PROXY", "http://a")][..], Some("http://a:80")),
            (&[("HTTP_PROXY", "http://a"), ("HTTPS_PROXY", "")][..], None),
        ] {
            assert_eq!(shown(pairs).as_deref(), expected, "{pairs:?}");
        }
        for text in [
            "socks5://proxy:1080",
            "http://",
            "http://proxy:99999",
            "http://u:%zz@proxy",
            "a b",
            "http://proxy:",
        ] {
            let invalid = InvalidProxy::Url { variable: "HTTPS_PROXY" };
            assert_eq!(read(&[("HTTPS_PROXY", text)]).unwrap_err(), invalid, "{text}");
        }
        let unverified = InvalidProxy::NoAnchors { variable: "HTTPS_PROXY" };
        assert_eq!(read(&[("HTTPS_PROXY", "https://proxy")]).unwrap_err(), unverified);
    }

    #[test]
    fn a_login_is_sent_and_never_shown() {
        let proxied = read(&[("HTTPS_PROXY", "http://us%40er:p%3Aa@ss@proxy:1")]).unwrap().unwrap();
        let expected = format!("Basic {}", STANDARD.encode("us@er:p:a@ss"));
        assert_eq!(proxied.proxy.login.as_ref().unwrap(), expected.as_str());
        let shown = format!("{proxied:?} {}", proxied.proxy);
        assert!(!shown.contains("ss@") && !shown.contains("us@") && !shown.contains("Basic"), "{shown}");
        let refused = read(&[("HTTPS_PROXY", "ftp://user:secret@proxy")]).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }
}
