//! What a request to a registry asks for, and whose it is. Pure.
//!
//! Whose a repository is stands in the first part of its name, up to the first dot or slash: that is a namespace, and no
//! namespace has either in its name. However the rest of a path is read, the first part stays the first.

use axum::http::Method;

/// Images for everybody, which no build may change.
const SHARED: &str = "library";
const MAX_NAME: usize = 255;

/// Who asks, proven by a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Who runs the platform.
    Administrator,
    /// The builds of a namespace.
    Namespace(String),
}

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is nothing that a registry answers.
    Unknown,
    /// This login may not.
    Denied,
    /// Nobody may.
    Method,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Nothing,
    Pull,
    Push,
}

impl Caller {
    fn access(&self, repository: &str) -> Access {
        let Self::Namespace(namespace) = self else { return Access::Push };
        let first = repository.split('/').next().unwrap_or_default();
        if first == SHARED {
            return Access::Pull;
        }
        if first.split('.').next() == Some(namespace) { Access::Push } else { Access::Nothing }
    }
}

/// Judges a request and says what to ask the registry instead: its path with the query that it may have.
pub(super) fn judge(
    caller: &Caller,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Result<String, Refusal> {
    let pulls = matches!(*method, Method::GET | Method::HEAD);
    if !pulls && !matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
        return Err(Refusal::Method);
    }
    let rest = path.strip_prefix("/v2/").or_else(|| path.strip_prefix("/v2")).ok_or(Refusal::Unknown)?;
    if rest.is_empty() {
        return if pulls { Ok("/v2/".to_owned()) } else { Err(Refusal::Method) };
    }
    if rest == "_catalog" {
        let allowed = pulls && *caller == Caller::Administrator;
        return if allowed { Ok(joined(path, query)) } else { Err(Refusal::Denied) };
    }
    let (repository, uploads) = repository(rest).ok_or(Refusal::Unknown)?;
    let needed = if pulls { Access::Pull } else { Access::Push };
    if caller.access(repository) < needed {
        return Err(Refusal::Denied);
    }
    if uploads && *method == Method::POST {
        let query = query.map(|query| begun(caller, query)).transpose()?;
        return Ok(joined(path, query.as_deref().filter(|query| !query.is_empty())));
    }
    Ok(joined(path, query))
}

fn joined(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// The repository that a path below `/v2/` names, and whether the path is where uploads begin.
fn repository(rest: &str) -> Option<(&str, bool)> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:=+".contains(&byte);
    if !rest.trim_end_matches('/').split('/').all(|part_| !part_.is_empty() && part_.bytes().all(part)) {
        return None;
    }
    if rest.split('/').any(|part| matches!(part, "." | "..")) {
        return None;
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
        return is_name(name).then_some((name, true));
    }
    let (before, last) = rest.rsplit_once('/')?;
    let name = match last {
        "" => return None,
        "list" if before.ends_with("/tags") => before.strip_suffix("/tags"),
        _ => ["/blobs/uploads", "/blobs", "/manifests", "/referrers"]
            .iter()
            .find_map(|kind| before.strip_suffix(kind)),
    }?;
    is_name(name).then_some((name, false))
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(plain);
    name.len() <= MAX_NAME && name.split('/').all(part)
}

/// The query with which an upload may begin. A blob is taken over from a repository that the caller may pull from alone; of
/// any other the caller has to bring the bytes, as of one that does not exist, so that nothing is learned by asking.
fn begun(caller: &Caller, query: &str) -> Result<String, Refusal> {
    let (mut mount, mut from, mut digest) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "mount" => &mut mount,
            "from" => &mut from,
            "digest" => &mut digest,
            // Others mean nothing here, or nothing good.
            _ => continue,
        };
        // Of two, the registry might take the other one.
        if slot.replace(decoded(value).ok_or(Refusal::Unknown)?).is_some() {
            return Err(Refusal::Unknown);
        }
    }
    let mut kept = Vec::new();
    if let (Some(mount), Some(from)) = (mount, from)
        && is_digest(&mount)
        && is_name(&from)
        && caller.access(&from) >= Access::Pull
    {
        kept.push(format!("mount={mount}&from={from}"));
    }
    if let Some(digest) = digest {
        if !is_digest(&digest) {
            return Err(Refusal::Unknown);
        }
        kept.push(format!("digest={digest}"));
    }
    Ok(kept.join("&"))
}

fn is_digest(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte);
    text.split_once(':').is_some_and(|(kind, hex)| {
        !kind.is_empty() && kind.bytes().all(plain) && !hex.is_empty() && hex.bytes().all(plain)
    })
}

/// Percent decoding; nothing for what is no text.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice(method: &str, target: &str) -> Result<String, Refusal> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let Ok(method) = method.parse::<Method>() else { unreachable!("{method} is a method") };
        judge(&Caller::Namespace("alice".to_owned()), &method, path, query)
    }

    #[test]
    fn a_namespace_has_its_own_images_and_reads_the_shared_ones() {
        for (method, target) in [
            ("GET", "/v2/"),
            ("GET", "/v2/alice.p.app/manifests/v1"),
            ("HEAD", "/v2/alice.p.app/blobs/sha256:00ff"),
            ("GET", "/v2/alice/app/tags/list?n=5"),
            ("GET", "/v2/alice.app/referrers/sha256:00ff"),
            ("PUT", "/v2/alice.p.app/manifests/v1"),
            ("DELETE", "/v2/alice.p.app/manifests/sha256:00ff"),
            ("POST", "/v2/alice.p.app/blobs/uploads/"),
            ("PATCH", "/v2/alice.p.app/blobs/uploads/1b-2?_state=x%3D"),
            ("PUT", "/v2/alice.p.app/blobs/uploads/1b-2?_state=x&digest=sha256%3A00ff"),
            ("GET", "/v2/library/busybox/manifests/latest"),
            ("HEAD", "/v2/library/busybox/blobs/sha256:00ff"),
        ] {
            assert_eq!(alice(method, target), Ok(target.to_owned()), "{method} {target}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (method, target, refusal) in [
            ("GET", "/v2/_catalog", Refusal::Denied),
            ("GET", "/v2/bob.p.app/manifests/v1", Refusal::Denied),
            ("HEAD", "/v2/bob.p.app/blobs/sha256:00ff", Refusal::Denied),
            ("GET", "/v2/bob/app/tags/list", Refusal::Denied),
            ("GET", "/v2/alice-2.p.app/manifests/v1", Refusal::Denied),
            ("GET", "/v2/alic/manifests/v1", Refusal::Denied),
            ("PUT", "/v2/alice-/manifests/v1", Refusal::Denied),
            ("PUT", "/v2/library/busybox/manifests/latest", Refusal::Denied),
            ("POST", "/v2/library/busybox/blobs/uploads/", Refusal::Denied),
            ("DELETE", "/v2/library/busybox/manifests/latest", Refusal::Denied),
            ("PATCH", "/v2/bob.p.app/blobs/uploads/1b-2?_state=x", Refusal::Denied),
            ("GET", "/v2/bob.p.app/blobs/uploads/1b-2", Refusal::Denied),
            // Ways around the first part.
            ("GET", "/v2/alice/../bob.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/alice/%2e%2e/bob.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/alice%2f..%2fbob.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2//bob.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/./bob.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/alice//manifests/v1", Refusal::Unknown),
            ("GET", "//v2/bob.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/Alice.app/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/.alice/manifests/v1", Refusal::Unknown),
            ("GET", "/v2/alice.app", Refusal::Unknown),
            ("GET", "/v2/alice.app/manifests/", Refusal::Unknown),
            ("GET", "/debug/pprof", Refusal::Unknown),
            ("GET", "/", Refusal::Unknown),
            ("POST", "/v2/", Refusal::Method),
            ("OPTIONS", "/v2/alice.app/manifests/v1", Refusal::Method),
            ("CONNECT", "/v2/alice.app/manifests/v1", Refusal::Method),
        ] {
            assert_eq!(alice(method, target), Err(refusal), "{method} {target}");
        }
        let get = |path: &str| judge(&Caller::Administrator, &Method::GET, path, None);
        assert!(get("/v2/_catalog").is_ok() && get("/v2/bob.p.app/manifests/v1").is_ok());
    }

    #[test]
    fn blobs_are_taken_over_from_where_the_caller_may_pull_alone() {
        const BEGIN: &str = "/v2/alice.p.app/blobs/uploads/";
        for (query, asked) in [
            ("mount=sha256:00ff&from=alice.p.other", "?mount=sha256:00ff&from=alice.p.other"),
            ("from=library%2Fbusybox&mount=sha256%3A00ff", "?mount=sha256:00ff&from=library/busybox"),
            ("mount=sha256:00ff&from=bob.p.app", ""),
            ("mount=sha256:00ff&from=bob%2ep.app", ""),
            ("mount=sha256:00ff&from=alice%2f..%2fbob.app", ""),
            ("mount=sha256:00ff", ""),
            ("from=bob.p.app", ""),
            ("mount=sha256:00ff;x&from=alice.app", ""),
            ("digest=sha256:00ff", "?digest=sha256:00ff"),
            ("_state=x&mount=sha256:00ff&from=bob.p.app&digest=sha256:00ff", "?digest=sha256:00ff"),
        ] {
            assert_eq!(alice("POST", &format!("{BEGIN}?{query}")), Ok(format!("{BEGIN}{asked}")), "{query}");
        }
        for query in [
            "mount=sha256:00ff&from=alice.app&from=bob.app",
            "mount=sha256:00ff&mount=sha256:01&from=alice.app",
            "digest=x",
            "from=%ff%zz",
        ] {
            assert_eq!(alice("POST", &format!("{BEGIN}?{query}")), Err(Refusal::Unknown), "{query}");
        }
    }
}
