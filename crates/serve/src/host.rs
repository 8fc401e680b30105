use std::net::IpAddr;

use http::Request;
use http::header::HOST;

/// Whether a request to a listener without credentials was meant for it: its host is an address, `localhost`, or one of
/// `names`. A page in a browser that points a name of its own at this address sends that name, and so gives itself away;
/// probes and scrapers ask by address.
pub fn is_addressed_here<B>(request: &Request<B>, names: &[String]) -> bool {
    let uri = request.uri().host();
    let header = || request.headers().get(HOST).and_then(|value| value.to_str().ok()).map(name_of);
    // HTTP/1.0 has no Host, and no browser speaks it.
    let Some(host) = uri.or_else(header) else { return true };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok()
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_not_answered() {
        let names = ["gateway.example".to_owned()];
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("10.1.2.3:8080", true),
            ("[::1]:8080", true),
            ("[fd00::1]", true),
            ("gateway.example", true),
            ("Gateway.Example:8080", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let request = Request::get("/healthz").header(HOST, host).body(()).unwrap();
            assert_eq!(is_addressed_here(&request, &names), expected, "{host}");
        }
        let request = Request::get("http://evil.example/healthz").header(HOST, "localhost").body(()).unwrap();
        assert!(!is_addressed_here(&request, &names), "the request line counts before the header");
    }
}
