//! No identity, credential or framing of a caller enters the tunnel, and none of a build cluster leaves it.
#![no_main]

use arbitrary::Arbitrary;
use buildplane_wire::{AgentHello, forward_request, forward_response, forward_trailers};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    headers: Vec<(Name<'a>, &'a [u8])>,
}

/// Mostly names that mean something, so that the fuzzer need not guess them.
#[derive(Arbitrary, Debug)]
enum Name<'a> {
    Authorization,
    Cookie,
    ImpersonateUser,
    ImpersonateGroup,
    ImpersonateExtra(&'a str),
    RemoteUser,
    OpenChoreo(&'a str),
    Connection,
    TransferEncoding,
    ContentLength,
    Upgrade,
    Location,
    SetCookie,
    Agent(bool),
    Any(&'a [u8]),
}

const FORBIDDEN: [&str; 13] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "location",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "te",
    "trailer",
    "host",
];

fuzz_target!(|input: Input<'_>| {
    let mut headers = HeaderMap::new();
    for (name, value) in &input.headers {
        let name = match name {
            Name::Authorization => "Authorization".to_owned(),
            Name::Cookie => "Cookie".to_owned(),
            Name::ImpersonateUser => "Impersonate-User".to_owned(),
            Name::ImpersonateGroup => "impersonate-group".to_owned(),
            Name::ImpersonateExtra(rest) => format!("Impersonate-Extra-{rest}"),
            Name::RemoteUser => "X-Remote-User".to_owned(),
            Name::OpenChoreo(rest) => format!("x-openchoreo-{rest}"),
            Name::Connection => "Connection".to_owned(),
            Name::TransferEncoding => "Transfer-Encoding".to_owned(),
            Name::ContentLength => "Content-Length".to_owned(),
            Name::Upgrade => "Upgrade".to_owned(),
            Name::Location => "Location".to_owned(),
            Name::SetCookie => "Set-Cookie".to_owned(),
            Name::Agent(true) => "x-openchoreo-agent-planes".to_owned(),
            Name::Agent(false) => "x-openchoreo-agent-instance".to_owned(),
            Name::Any(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        else {
            continue;
        };
        headers.append(name, value);
    }
    for kept in [forward_request(&headers), forward_response(&headers), forward_trailers(&headers)] {
        for (name, value) in &kept {
            let name = name.as_str();
            assert!(!FORBIDDEN.contains(&name), "{name}");
            assert!(!name.starts_with("impersonate-") && !name.starts_with("x-remote-"), "{name}");
            assert!(!name.starts_with("x-openchoreo-") && !name.starts_with("x-forwarded-"), "{name}");
            assert!(value.to_str().is_ok(), "{name}: {value:?}");
        }
    }
    if let Ok(hello) = AgentHello::read(&headers) {
        assert_eq!(AgentHello::read(&hello.headers()), Ok(hello), "what is written is read");
    }
});
